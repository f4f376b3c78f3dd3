-- Incremental jobs: from what is there to now.

alter type job_mode add value 'incremental';

-- How far the connection is known, after a completed job: everything that the upstream created before is stored, but for
-- what could not be read. Written when the job completes, from the one before and from its slices; null while nothing is
-- known without a gap. A cancelled or failed job leaves gaps between its slices, so it moves nothing.
alter table jobs
    add column covered_to timestamptz,
    add check (covered_to is null or status = 'completed');

-- The creation of the newest record that the slice has seen and could store, and of the oldest that was not importable
-- yet. In no index, like everything that a settle writes here.
alter table slices
    add column newest_at timestamptz,
    add column oldest_deferred_at timestamptz;

-- The covered_to of a new job: of its predecessor, the connection's last completed job, and of its own slices.
create function coverage(job jobs) returns timestamptz
language sql stable as $$
    select case
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
