-- Warns if a job of new records met none of those that are known where it began, although the connection's credentials or
-- address have changed since: it may be another account. $1 job, before what it makes known is written down.
insert into warnings (job_id, slice, kind, count, text)
select j.id, w.slice, 'other_account', 1,
       'the credentials or the address have changed, and none of the records that are known was met: if this is another account, '
       || 'say so with `backhaul admin connection put --new-account`, else with --same-account'
  from jobs j
  join connections c on c.id = j.connection_id and c.account_doubted_at <= j.started_at
  join streams s on s.connection_id = j.connection_id and s.stream = j.stream and s.scope = j.scope
 cross join lateral (
      select max(slice) as slice, sum(updated + unchanged) as known from slices where job_id = j.id and kind = 'walk') w
 where j.id = $1 and j.mode = 'incremental' and w.known = 0
   and exists (select from records r
                where r.connection_id = j.connection_id and r.deleted_at is null and r.job_id <> j.id
                  and (j.time_is is null
                       or (r.happened_at >= coalesce(j.date_from, '-infinity') and r.happened_at < s.known_to)))
