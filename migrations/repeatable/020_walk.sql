-- What the walk of a job has left out.

-- How many pages of a job were skipped, those of the jobs that it resumes included. While it is not 0, what the job has
-- not seen may be there all the same: nothing is to be deleted for its sake.
create or replace function pages_skipped(job uuid) returns bigint
language sql stable as $$
    select coalesce((select sum(s.pages_skipped) from slices s where s.job_id = job), 0)::bigint
         + coalesce((select sum(c.pages_skipped) from carried c where c.job_id = job), 0)::bigint
$$;

-- What makes a walk incomplete, so that a record which it has not seen may be there all the same; null if nothing does.
-- Every such reason stands here and nowhere else.
create or replace function walk_gap(job uuid) returns text
language sql stable as $$
    select case when sum(pages_skipped) > 0
                then format('%s pages were skipped, and records on them were not seen', sum(pages_skipped))
                when sum(failed) > 0
                then format('%s records could not be read or stored, and may be among those that were not seen', sum(failed))
                when bool_or(whole is false)
                then coalesce(min(walk ->> 'doubt') filter (where whole is false),
                              (select min(w.text) from warnings w
                                where w.job_id = job and w.kind in ('shortfall', 'shortfall_accepted', 'repeated')),
                              'not every walk was whole')
           end
      from slices where job_id = job and kind = 'walk'
$$;
