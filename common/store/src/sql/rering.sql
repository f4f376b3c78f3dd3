-- Doorbells that were lost: two markers that were published after the ring have come back, the ring has not. Two, since
-- a ring may be published a moment after its commit. $1 how many at most.
with lost as materialized (
    select s.job_id, s.slice
      from slices s join jobs j on j.id = s.job_id join connections c on c.id = s.connection_id
     where s.status = 'ready' and s.lease_token is null
       and s.rung_marker + 2 <= (select returned from markers)
       and not j.paused and (c.paused_until is null or c.paused_until <= now())
     order by s.rung_at
     limit $1
       for no key update of s skip locked
)
update slices s set ring = s.ring + 1, rung_at = now(), rung_marker = (select published from markers)
  from lost l
 where s.job_id = l.job_id and s.slice = l.slice
returning s.job_id as "job: JobId", s.slice, s.page, s.ring
