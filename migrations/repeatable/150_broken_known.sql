-- What must hold of what is known, suspected and warned of; part of broken_invariants().

create or replace function broken_known() returns table (invariant int, subject text, problem text)
language sql stable as $$
    -- 7: a walk that is called whole has no doubt.
    select 7, format('job %s slice %s', s.job_id, s.slice), format('called whole, though %s', s.walk ->> 'doubt')
      from slices s where s.whole and s.walk ? 'doubt'
    union all
    -- 7: a completed job lacks no more of what its upstream named than is tolerated, and stored something if it met much.
    select 7, format('job %s', j.id), format('completed, though %s of %s records are missing', n.missing, n.named)
      from jobs j
     cross join lateral (
            select coalesce(sum(greatest((s.walk ->> 'smallest_total')::bigint - s.distinct_met, 0)), 0) as missing,
                   coalesce(sum((s.walk ->> 'smallest_total')::bigint), 0) as named
              from slices s
             where s.job_id = j.id and s.kind = 'walk' and s.distinct_met is not null
               and (j.total_is = 'exact' or j.total_is = 'unfiltered' and s.span_from is null)) n
     where j.status = 'completed' and n.missing > greatest(10, n.named / 100)
    union all
    select 7, format('job %s', j.id), format('completed, though all %s records failed', sum(s.failed))
      from jobs j join slices s on s.job_id = j.id and s.kind = 'walk'
     where j.status = 'completed'
     group by j.id
    having sum(s.failed) >= 10 and sum(s.inserted + s.updated + s.unchanged + s.deferred) = 0
    union all
    -- 7: a suspicion is a pass's of the record's connection; a deleted record is under none.
    select 7, format('record %s of connection %s', r.external_id, r.connection_id),
           case when r.deleted_at is not null then 'deleted, and suspected'
                else format('suspected by pass %s, which there is not', r.suspected_by) end
      from records r
     where r.suspected_by is not null
       and (r.deleted_at is not null
            or not exists (select from passes p where p.connection_id = r.connection_id and p.pass = r.suspected_by))
    union all
    -- 7: what is warned of has a slice.
    select 7, format('job %s slice %s', w.job_id, w.slice), format('warns of %s, and is not there', w.kind)
      from warnings w
     where not exists (select from slices s where s.job_id = w.job_id and s.slice = w.slice)
$$;
