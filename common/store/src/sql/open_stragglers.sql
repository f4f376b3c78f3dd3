-- Warns of the stragglers that earlier jobs have left. $1 job. A record that is not importable yet is expected, for a day.
insert into warnings (job_id, slice, kind, count, text)
select $1, n.slice, 'stragglers', n.open,
       left(format('record %s, first met on %s: %s', n.first, to_char(n.first_seen_at at time zone 'UTC', 'YYYY-MM-DD'),
                   coalesce(n.reason, 'not importable yet')), 500)
  from (select count(*) as open, (select max(slice) from slices where job_id = $1) as slice,
               (array_agg(t.external_id order by t.first_seen_at, t.external_id))[1] as first,
               min(t.first_seen_at) as first_seen_at,
               (array_agg(t.reason order by t.first_seen_at, t.external_id))[1] as reason
          from jobs j join stragglers t on t.connection_id = j.connection_id and t.stream = j.stream
         where j.id = $1 and j.documents is null and t.closed_at is null and t.scope = j.scope
           and t.first_seen_at < coalesce(j.started_at, now())
           and (t.cause <> 'deferred' or t.first_seen_at < now() - interval '1 day')) n
 where n.open > 0
