-- Full sync: what the upstream no longer has is marked as deleted.

alter type job_mode add value 'full';

-- When the upstream says that the record happened: what decides whether it lies in a job's date range. Null where the
-- source knows no time, and for what was stored before this migration and has not changed since; such a record counts as
-- in range only if the range has no bounds. In no index.
alter table records add column happened_at timestamptz;

alter table slices
    -- The last slice of a full sync. Its pages fetch nothing: they find out what the pass has not seen, and mark it. Its
    -- cursor says how far that is.
    add column deletion boolean not null default false,
    -- It processes no records.
    add check (not deletion or total = 0),
    add check (deletion or deleted = 0);
create unique index slices_deletion on slices (job_id) where deletion;

-- Outcomes of the page log, one character per record: + inserted, ~ updated, = unchanged, d deferred, f failed, and
-- x deleted, which is all that a page of a deletion slice can have. Its pages that only look have no records.

-- Why a full sync deleted nothing although it is completed.
alter table jobs
    add column deletion_left_out text,
    add check (deletion_left_out is null or status = 'completed');

-- What makes a walk incomplete, so that a record which it has not seen may be there all the same; null if nothing does.
-- Every such reason stands here and nowhere else.
create function walk_gap(job uuid) returns text
language sql stable as $$
    select case when sum(pages_skipped) > 0
                then format('%s pages were skipped, and records on them were not seen', sum(pages_skipped))
                when sum(failed) > 0
                then format('%s records could not be read or stored, and may be among those that were not seen', sum(failed))
           end
      from slices where job_id = job and not deletion
$$;

-- Whether a record lies in the date range of a job. Without a time it does if the job asks for everything up to now: the
-- end of a range that was not given is the time of the start.
create function in_range(job jobs, happened_at timestamptz) returns boolean
language sql stable as $$
    select case when happened_at is null then job.date_from is null and job.date_to >= job.created_at
                else (job.date_from is null or job.date_from <= happened_at) and happened_at < job.date_to end
$$;

-- A deletion under way: its counts, and its working tables, which are emptied after the job's end. Each page handles a
-- bounded number of rows, so no statement grows with the connection.
create table deletions (
    job_id uuid primary key,
    -- Of the connection, so far.
    records bigint not null default 0 check (records >= 0),
    -- Of these, how many the pass has not seen.
    unseen bigint not null default 0 check (unseen >= 0 and unseen <= records)
) with (fillfactor = 50);

-- The identifiers that the pass has seen, out of its page log, in an order that a walk over the records can be compared with.
create table seen (
    job_id uuid not null,
    external_id text collate "C" not null,
    primary key (job_id, external_id)
);

-- The records that are to be deleted.
create table unseen (
    job_id uuid not null,
    external_id text collate "C" not null,
    primary key (job_id, external_id)
);
