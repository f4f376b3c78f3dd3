-- Ends several leases without a result, in the plain case: nobody else holds the slice for a moment. Whatever does not come
-- back is released alone.
-- Per lease: $1 jobs, $2 slices, $3 tokens. $4 how many.
with settings as materialized (
    -- A release lost in a database crash is harmless: the lease expires. No disk wait.
    select set_config('synchronous_commit', 'off', true) as off
), free as materialized (
    select a.nth, s.job_id, s.slice
      from settings
     cross join unnest($1::uuid[], $2::int[], $3::uuid[]) with ordinality a (job, slice, token, nth)
     cross join lateral (
          select s.job_id, s.slice from slices s
           where s.job_id = a.job and s.slice = a.slice and s.lease_token = a.token limit 1
             for no key update skip locked) s
     where settings.off is not null
     limit $4
)
update slices s set lease_token = null, leased_ring = null, worker = null, leased_until = null
  from free f
 where s.job_id = f.job_id and s.slice = f.slice
returning f.nth as "nth!"
