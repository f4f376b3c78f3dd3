-- As migration 0004 made it.
create or replace function broken_invariants() returns table (invariant int, subject text, problem text)
language sql stable as $$
    -- 2: a page log without gaps, up to each slice's page.
    select 2, format('job %s slice %s', s.job_id, s.slice),
           format('at page %s, but the page log has %s pages, the last one %s', s.page, count(p.page), max(p.page))
      from slices s left join page_log p on p.job_id = s.job_id and p.slice = s.slice
     group by s.job_id, s.slice, s.page
    having count(p.page) <> s.page or (s.page > 0 and (min(p.page) <> 0 or max(p.page) <> s.page - 1))
    union all
    select 2, format('job %s slice %s page %s', p.job_id, p.slice, p.page), 'the page log names a slice that does not exist'
      from page_log p where not exists (select from slices s where s.job_id = p.job_id and s.slice = p.slice)
    union all
    -- 3: counters equal what was carried and the page log.
    select 3, format('job %s slice %s', s.job_id, s.slice),
           format('counters (+%s ~%s =%s d%s f%s) differ from the page log (+%s ~%s =%s d%s f%s)', s.inserted, s.updated,
                  s.unchanged, s.deferred, s.failed, l.inserted, l.updated, l.unchanged, l.deferred, l.failed)
           || case when c.job_id is not null then format(' on top of what was carried (+%s ~%s =%s d%s f%s)', c.inserted,
                                                         c.updated, c.unchanged, c.deferred, c.failed) else '' end
      from slices s
      left join carried c on c.job_id = s.job_id and c.slice = s.slice
     cross join lateral (
            select coalesce(sum(cardinality(p.keys)), 0) as records,
                   coalesce(sum(char_length(p.outcomes) - char_length(replace(p.outcomes, '+', ''))), 0) as inserted,
                   coalesce(sum(char_length(p.outcomes) - char_length(replace(p.outcomes, '~', ''))), 0) as updated,
                   coalesce(sum(char_length(p.outcomes) - char_length(replace(p.outcomes, '=', ''))), 0) as unchanged,
                   coalesce(sum(char_length(p.outcomes) - char_length(replace(p.outcomes, 'd', ''))), 0) as deferred,
                   coalesce(sum(char_length(p.outcomes) - char_length(replace(p.outcomes, 'f', ''))), 0) as failed
              from page_log p where p.job_id = s.job_id and p.slice = s.slice) l
     where (s.inserted - coalesce(c.inserted, 0), s.updated - coalesce(c.updated, 0),
            s.unchanged - coalesce(c.unchanged, 0), s.deferred - coalesce(c.deferred, 0), s.failed - coalesce(c.failed, 0))
           is distinct from (l.inserted, l.updated, l.unchanged, l.deferred, l.failed)
        or l.records <> l.inserted + l.updated + l.unchanged + l.deferred + l.failed
    union all
    -- 3: what was carried is what the slice of the job before had come to.
    select 3, format('job %s slice %s', c.job_id, c.slice),
           format('carries %s pages and (+%s ~%s =%s d%s f%s x%s), but the slice that it resumes had come to %s', c.pages,
                  c.inserted, c.updated, c.unchanged, c.deferred, c.failed, c.deleted,
                  case when b.job_id is null then 'nothing: it is not there'
                       else format('%s and (+%s ~%s =%s d%s f%s x%s)', b.page + coalesce(bc.pages, 0), b.inserted,
                                   b.updated, b.unchanged, b.deferred, b.failed, b.deleted) end)
      from carried c
      join jobs j on j.id = c.job_id
      left join slices b on b.job_id = j.resumed_from and b.slice = c.slice
      left join carried bc on bc.job_id = b.job_id and bc.slice = b.slice
     where (c.pages, c.inserted, c.updated, c.unchanged, c.deferred, c.failed, c.deleted) is distinct from
           (b.page + coalesce(bc.pages, 0), b.inserted, b.updated, b.unchanged, b.deferred, b.failed, b.deleted)
    union all
    -- 3: a resumed job has the very slices of the job before, and walks nothing again. (While a deleted connection's
    -- rows are removed, slices go one after the other.)
    select 3, format('job %s slice %s', j.id, coalesce(s.slice, s.before)),
           case when s.slice is null then 'missing' when s.before is null then 'of its own' when not s.carries then 'carries nothing'
                else format('%s, though it was done', s.status) end || format(', but the job resumes job %s', j.resumed_from)
      from jobs j
      join connections on connections.id = j.connection_id and connections.deleted_at is null
     cross join lateral (
            select b.slice as before, b.status = 'done' as was_done, s.slice, s.status, c.job_id is not null as carries
              from (select * from slices where job_id = j.resumed_from) b
              full join (select * from slices where job_id = j.id) s on s.slice = b.slice
              left join carried c on c.job_id = s.job_id and c.slice = s.slice) s
     where exists (select from slices where job_id = j.resumed_from)
       and (s.slice is null or s.before is null or not s.carries or (s.was_done and s.status <> 'done'))
    union all
    select 3, format('job %s', j.id),
           format('resumes job %s, which is %s', b.id,
                  case when b.connection_id <> j.connection_id then 'of another connection' else b.status::text end)
      from jobs j join jobs b on b.id = j.resumed_from
     where b.connection_id <> j.connection_id or b.status not in ('failed', 'cancelled')
    union all
    -- 3: every record is in the page log of the job that wrote it.
    select 3, format('record %s of connection %s', r.external_id, r.connection_id),
           format('not written by any page of job %s', r.job_id)
      from records r
      left join (select distinct p.job_id, k.key
                   from page_log p
                  cross join lateral unnest(p.keys, string_to_array(p.outcomes, null)) as k(key, outcome)
                  where k.outcome in ('+', '~')) w
        on w.job_id = r.job_id and w.key = r.external_id
     where w.key is null
    union all
    -- 4: one active job per connection, and no page after the fence of a cancel.
    select 4, format('connection %s', connection_id), format('%s active jobs', count(*))
      from jobs where status in ('pending', 'running') group by connection_id having count(*) > 1
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
