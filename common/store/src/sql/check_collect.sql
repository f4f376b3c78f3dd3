-- Adds ids that a job's walks have met. $1 job; per id $2 its slice, $3 the id. Of each slice $4 how many records had no
-- readable id, $5 how many ids were met again for a good reason, $6 which slice. Counts of each slice how many ids are
-- new to it, and how many were met again for none.
with given as materialized (
    select i.slice, i.id from unnest($2::int[], $3::text[]) as i (slice, id)
), added as (
    insert into seen (job_id, slice, external_id)
    select distinct $1::uuid, g.slice, g.id from given g
        on conflict do nothing
    returning slice
), counted as (
    select f.slice, f.unreadable, f.excused,
           (select count(*) from added a where a.slice = f.slice) as added,
           (select count(*) from given g where g.slice = f.slice) as given
      from unnest($4::bigint[], $5::bigint[], $6::int[]) as f (unreadable, excused, slice)
)
update slices s
   set distinct_met = coalesce(s.distinct_met, 0) + c.added + c.unreadable,
       met_again = s.met_again + greatest(c.given - c.added - c.excused, 0)
  from counted c
 where s.job_id = $1 and s.slice = c.slice
