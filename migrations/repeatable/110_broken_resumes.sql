-- What must hold of a job that resumes another; part of broken_invariants().

create or replace function broken_resumes() returns table (invariant int, subject text, problem text)
language sql stable as $$
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
    select 3, format('job %s slice %s', c.job_id, c.slice),
           format('carries %s filled values, but the slice that it resumes had %s', c.filled, b.filled)
      from carried c join jobs j on j.id = c.job_id join slices b on b.job_id = j.resumed_from and b.slice = c.slice
     where c.filled <> b.filled
    union all
    select 3, format('job %s slice %s', c.job_id, c.slice),
           format('carries %s skipped pages, but the slice that it resumes had come to %s', c.pages_skipped,
                  b.pages_skipped + coalesce(bc.pages_skipped, 0))
      from carried c
      join jobs j on j.id = c.job_id
      join slices b on b.job_id = j.resumed_from and b.slice = c.slice
      left join carried bc on bc.job_id = b.job_id and bc.slice = b.slice
     where c.pages_skipped <> b.pages_skipped + coalesce(bc.pages_skipped, 0)
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
              -- What follows the walks is made anew.
              from (select * from slices where job_id = j.resumed_from and kind in ('walk', 'documents', 'stragglers')) b
              full join (select * from slices where job_id = j.id and kind in ('walk', 'documents', 'stragglers')) s
                on s.slice = b.slice
              left join carried c on c.job_id = s.job_id and c.slice = s.slice) s
     where exists (select from slices where job_id = j.resumed_from)
       and (s.slice is null or s.before is null or not s.carries or (s.was_done and s.status <> 'done'))
    union all
    select 3, format('job %s', j.id),
           format('resumes job %s, which is %s', b.id,
                  case when b.connection_id <> j.connection_id then 'of another connection' else b.status::text end)
      from jobs j join jobs b on b.id = j.resumed_from
     where b.connection_id <> j.connection_id or b.status not in ('failed', 'cancelled')
$$;
