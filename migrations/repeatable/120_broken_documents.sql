-- What must hold of jobs over documents; part of broken_invariants().

create or replace function broken_documents() returns table (invariant int, subject text, problem text)
language sql stable as $$
    -- 3: a job has as many ids as it says, in places without gaps.
    select 3, format('job %s', j.id), format('over %s documents, but it has %s ids', n.ids, count(d.id))
      from jobs j
      -- Stragglers are asked for beside a walk.
     cross join lateral (
            select coalesce(j.documents, (select s.ids_to from slices s where s.job_id = j.id and s.kind = 'stragglers'), 0)
                       as ids) n
      left join documents d on d.job_id = j.id
     where j.started_at is not null or j.documents is not null
     group by j.id, n.ids
    having count(d.id) <> n.ids or max(d.place) <> n.ids - 1
    union all
    -- 3: its slices share the ids out, each to one. (While a deleted connection's rows are removed, slices go.)
    select 3, format('job %s', j.id),
           format('over %s documents, but its slices are over %s', coalesce(j.documents, 0), sum(s.ids_to - s.ids_from))
      from jobs j join slices s on s.job_id = j.id join connections c on c.id = j.connection_id and c.deleted_at is null
     where s.kind <> 'stragglers'
     group by j.id, j.documents
    having coalesce(sum(s.ids_to - s.ids_from), 0) <> coalesce(j.documents, 0)
        or coalesce(max(s.ids_to), 0) <> coalesce(j.documents, 0) or count(s.ids_from) not in (0, count(*))
    union all
    -- 3: a slice over ids that is done has one outcome for each of them.
    select 3, format('job %s slice %s', s.job_id, s.slice),
           format('done with %s of %s documents', s.inserted + s.updated + s.unchanged + s.deferred + s.failed,
                  s.ids_to - s.ids_from)
      from slices s
     where s.status = 'done' and s.kind = 'documents'
       and s.inserted + s.updated + s.unchanged + s.deferred + s.failed <> s.ids_to - s.ids_from
$$;
