-- Second third: closes the slices of the jobs whose cancel was not answered before. A settle that is under way is waited for
-- here; the next statement sees what it wrote.
-- Per cancel: $1 jobs, $2 keys of commands (null: none), $3 whether an answer to the command counts.
with open as materialized (
    select g.* from unnest($1::uuid[], $2::text[], $3::bool[]) with ordinality g (job, key, counts, nth)
     where not (g.counts and exists (select from commands c where c.id = g.key))
), closed as (
    update slices s set status = 'cancelled', not_before = null
      from open o
     where s.job_id = o.job and s.status in ('queued', 'ready', 'waiting')
)
select nth as "nth!" from open
