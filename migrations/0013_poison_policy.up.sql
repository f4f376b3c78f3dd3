-- Pages that can never be settled: a connection chooses whether they fail their job or are skipped and written down.

create type poison_policy as enum ('fail', 'skip');
alter table connections add column on_poison_page poison_policy not null default 'fail';

-- Why a page was skipped: {"cause", "body"}, as in a job's error. Null for one that was settled. A skipped page has a row
-- of its own, without records, so that the ledger has no gap where it was.
alter table page_log
    add column skipped jsonb,
    add check (skipped is null or (cardinality(keys) = 0 and coalesce(skipped ->> 'cause', '') <> ''));
create index page_log_skipped on page_log (job_id) where skipped is not null;

alter table slices
    -- How many of its pages were skipped.
    add column pages_skipped int not null default 0,
    -- When the first of the current attempts at a page failed; says nothing while there are none.
    add column failing_since timestamptz,
    add check (pages_skipped between 0 and page);
alter table carried
    add column pages_skipped bigint not null default 0,
    add check (pages_skipped between 0 and pages);

-- How many pages of a job were skipped, those of the jobs that it resumes included. While it is not 0, what the job has
-- not seen may be there all the same: nothing is to be deleted for its sake.
create function pages_skipped(job uuid) returns bigint
language sql stable as $$
    select coalesce((select sum(s.pages_skipped) from slices s where s.job_id = job), 0)::bigint
         + coalesce((select sum(c.pages_skipped) from carried c where c.job_id = job), 0)::bigint
$$;

-- As before, but that a job that skipped a page leaves a gap, and moves nothing: the next incremental job looks there
-- again.
create or replace function coverage(job jobs) returns timestamptz
language sql stable as $$
    select case
               when pages_skipped(job.id) > 0 then before.covered_to
               -- It begins where nothing is missing before.
               when job.date_from is null or job.date_from <= before.covered_to
                   -- An upstream's clock may be ahead: what it says of the future moves nothing. The oldest record that
                   -- was not importable is to be met again.
                   then least(greatest(before.covered_to, least(own.newest_at, now())), own.oldest_deferred_at)
               else before.covered_to
           end
      from (select max(newest_at) as newest_at, min(oldest_deferred_at) as oldest_deferred_at
              from slices where job_id = job.id) own
      left join lateral (
            select j.covered_to from jobs j
             where j.connection_id = job.connection_id and j.status = 'completed' and j.id <> job.id
             order by j.created_at desc, j.id desc limit 1) before on true
$$;
