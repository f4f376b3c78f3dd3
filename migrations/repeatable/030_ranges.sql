-- What a job's date range says of a record.

-- Whether a record lies in the date range of a job. Without a time it does if the job asks for everything up to now: the
-- end of a range that was not given is the time of the start.
create or replace function in_range(job jobs, happened_at timestamptz) returns boolean
language sql stable as $$
    select case when happened_at is null then job.date_from is null and job.date_to >= job.created_at
                else (job.date_from is null or job.date_from <= happened_at) and happened_at < job.date_to end
$$;
