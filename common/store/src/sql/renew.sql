-- Renews the leases of pages in progress, by token: never "all of this worker's". What does not come back is lost
-- (cancelled, taken over) and its page is to be aborted. $1 jobs, $2 slices, $3 tokens, $4 lease in ms, $5 worker.
with settings as materialized (
    select set_config('synchronous_commit', 'off', true) as off
), alive as (
    update workers set seen_at = now() where id = $5
), mine as materialized (
    select s.job_id, s.slice
      from settings, unnest($1::uuid[], $2::int[], $3::uuid[]) as held (job_id, slice, token)
      join slices s on s.job_id = held.job_id and s.slice = held.slice and s.lease_token = held.token
     where s.status = 'ready' and settings.off is not null
     order by s.job_id, s.slice
       -- A page that is being settled at this moment needs no renewal, and is not waited for.
       for no key update of s skip locked
), renewed as (
    update slices s set leased_until = now() + $4::float8 * interval '1 ms'
      from mine m
     where s.job_id = m.job_id and s.slice = m.slice
)
select held.token as "token!: LeaseToken",
       coalesce(s.lease_token = held.token and s.status = 'ready', false) as "mine!"
  from unnest($1::uuid[], $2::int[], $3::uuid[]) as held (job_id, slice, token)
  left join slices s on s.job_id = held.job_id and s.slice = held.slice
