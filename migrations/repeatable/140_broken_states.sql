-- What must hold of the states of jobs and slices; part of broken_invariants().

create or replace function broken_states() returns table (invariant int, subject text, problem text)
language sql stable as $$
    -- 4: one active job per connection (those over documents apart), and no page after the fence of a cancel.
    select 4, format('connection %s', connection_id), format('%s active jobs', count(*))
      from jobs where status in ('pending', 'running') and documents is null
     group by connection_id having count(*) > 1
    union all
    select 4, format('job %s', j.id),
           format('fenced at %s pages, but the page log has %s', j.pages_at_fence, count(p.page))
      from jobs j left join page_log p on p.job_id = j.id
     where j.pages_at_fence is not null group by j.id having count(p.page) <> j.pages_at_fence
    union all
    -- 5: a job that is over has no open slice and no lease.
    select 5, format('job %s slice %s', s.job_id, s.slice),
           format('%s, %s, but the job is %s', s.status,
                  case when s.lease_token is null then 'unleased' else 'leased' end, j.status)
      from slices s join jobs j on j.id = s.job_id
     where j.status in ('completed', 'failed', 'cancelled')
       and (s.status in ('queued', 'ready', 'waiting') or s.lease_token is not null)
    union all
    select 5, format('job %s slice %s', s.job_id, s.slice), format('%s, but the job is completed', s.status)
      from slices s join jobs j on j.id = s.job_id
     where j.status = 'completed' and s.status <> 'done'
    union all
    -- A resumed job has its slices from the beginning, but none of them may be rung before it is planned.
    select 5, format('job %s slice %s', s.job_id, s.slice), format('open, but the job is %s', j.status)
      from slices s join jobs j on j.id = s.job_id
     where (j.status = 'cancelling' and s.status in ('queued', 'ready', 'waiting'))
        or (j.status = 'pending' and (s.status in ('ready', 'waiting') or s.status = 'queued' and j.resumed_from is null))
    union all
    -- 5: a deleted connection has no active job.
    select 5, format('job %s', j.id), format('%s, but its connection is deleted', j.status)
      from jobs j join connections c on c.id = j.connection_id
     where j.status in ('pending', 'running') and c.deleted_at is not null
$$;
