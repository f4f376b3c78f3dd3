-- Second third: closes the slices of the jobs whose cancel was not answered before. A settle that is under way is waited for
-- here; the next statement sees what it wrote.
-- Per cancel: $1 jobs, $2 keys of commands (null: none), $3 whether an answer to the command counts. $4 how many.
with open as materialized (
    select g.*
      from unnest($1::uuid[], $2::text[], $3::bool[]) with ordinality g (job, key, counts, nth)
      left join lateral (select c.id as of from commands c where c.id = g.key limit 1) answered on g.counts
     where answered.of is null
     limit $4
), closed as (
    update slices s set status = 'cancelled', not_before = null
      from open o
     where s.job_id = o.job and s.status in ('queued', 'ready', 'waiting')
)
select nth as "nth!" from open
