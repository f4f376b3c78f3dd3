-- Trouble: what the failure of a page says about the page, and what about its upstream.
-- $1 job, $2 slice, $3 token. No row if the lease is lost.
select s.attempts as "attempts!", case when s.attempts = 0 then 0 else s.faults end as "faults!",
       -- Another page of the connection was settled since this one first failed, and no other has failed since: the
       -- upstream is well.
       coalesce(s.attempts > 0 and o.settled_at > s.failing_since and o.settled_at > coalesce(o.failed_at, '-infinity'), false)
           as "alone!",
       case when s.attempts = 0 then now() else s.failing_since end as "since!",
       -- Neither a pause nor a rest that the upstream asked for is an outage.
       extract(epoch from now() - greatest(case when s.attempts = 0 then now() else s.failing_since end, j.unpaused_at,
               case when c.paused_until <= now() then c.paused_until end))::float8 as "seconds!"
  from slices s
  join jobs j on j.id = s.job_id
  join connections c on c.id = s.connection_id
 cross join lateral (
      select max(o.last_settled_at) as settled_at,
             max(o.failed_at) filter (where o.attempts > 0 and o.status in ('queued', 'ready', 'waiting')) as failed_at
        from jobs k join slices o on o.job_id = k.id
       where k.connection_id = s.connection_id and (k.finished_at is null or k.finished_at > s.failing_since)
         and (o.job_id, o.slice) <> (s.job_id, s.slice)) o
 where s.job_id = $1 and s.slice = $2 and s.lease_token = $3 and s.status = 'ready'
