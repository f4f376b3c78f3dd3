-- What a job's date range says: of a record, and of how far the connection is known.

-- Whether a record lies in the date range of a job. Without a time it does if the job asks for everything up to now: the
-- end of a range that was not given is the time of the start.
create or replace function in_range(job jobs, happened_at timestamptz) returns boolean
language sql stable as $$
    select case when happened_at is null then job.date_from is null and job.date_to >= job.created_at
                else (job.date_from is null or job.date_from <= happened_at) and happened_at < job.date_to end
$$;

-- The covered_to of a new job: of its predecessor, the connection's last completed job, and of its own slices. Jobs over
-- documents neither know anything new nor are anybody's predecessor.
create or replace function coverage(job jobs) returns timestamptz
language sql stable as $$
    select case
               when job.documents is not null then null
               -- A job that skipped a page leaves a gap, and moves nothing: the next incremental job looks there again.
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
               and j.documents is null
             order by j.created_at desc, j.id desc limit 1) before on true
$$;
