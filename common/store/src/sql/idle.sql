-- Up to when a completed job found nothing behind what is known; or nothing at all, if nothing is known. $1 job, after what it
-- makes known is written down. What could not be read or stored is something.
with walked as (
    select j.connection_id, j.stream, j.scope, j.date_from, j.floor, least(j.date_to, min(s.first_asked_at)) as empty_to,
           sum(coalesce((s.walk ->> 'met')::bigint, 0)) as met, max(s.newest_met_at) as newest_met_at
      from jobs j join slices s on s.job_id = j.id and s.kind = 'walk'
     where j.id = $1 and j.scope is not null
     group by j.id
    having bool_and(s.whole or s.shortfall_accepted) and sum(s.failed) = 0
)
update streams s
   set empty_to = case when s.empty_scope = w.scope then greatest(s.empty_to, w.empty_to) else w.empty_to end,
       empty_scope = w.scope
  from walked w
 where s.connection_id = w.connection_id and s.stream = w.stream
   and case when s.scope = w.scope
            then (w.date_from is null or w.date_from <= s.known_to) and (w.met = 0 or w.newest_met_at <= s.known_to)
            else (w.date_from is null or w.date_from <= w.floor) and w.met = 0 end
