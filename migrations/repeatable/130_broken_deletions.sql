-- What must hold of a full sync and of what it deletes; part of broken_invariants().

create or replace function broken_deletions() returns table (invariant int, subject text, problem text)
language sql stable as $$
    -- 3: a record is deleted only by a full sync that had it in its range, and that had walked everything before.
    select 3, format('record %s of connection %s', r.external_id, r.connection_id),
           'deleted, but by no page of a full sync that had it in its range'
      from records r
      left join (select distinct p.job_id, k.key
                   from slices s
                   join page_log p on p.job_id = s.job_id and p.slice = s.slice
                  cross join lateral unnest(p.keys, string_to_array(p.outcomes, null)) as k(key, outcome)
                  where s.kind = 'deletion' and k.outcome = 'x') x
             join jobs j on j.id = x.job_id and j.mode = 'full'
        on j.connection_id = r.connection_id and x.key = r.external_id and in_range(j, r.happened_at)
     where r.deleted_at is not null and x.key is null
    union all
    select 3, format('job %s slice %s', s.job_id, s.slice),
           case when j.mode <> 'full' then format('deletes, but the job is %s', j.mode)
                else 'deletes, but the walk ' || coalesce('has a gap: ' || walk_gap(s.job_id), 'is not complete') end
      from slices s join jobs j on j.id = s.job_id
     where s.kind = 'deletion'
       and (j.mode <> 'full' or walk_gap(s.job_id) is not null
            or exists (select from slices o where o.job_id = s.job_id and o.kind <> 'deletion' and o.status <> 'done'))
    union all
    select 3, format('job %s slice %s page %s', p.job_id, p.slice, p.page),
           case when s.kind = 'deletion' then 'of a deletion, but with records that it did not delete' else 'deletes, but is of the walk' end
      from page_log p join slices s on s.job_id = p.job_id and s.slice = p.slice
     where (s.kind = 'deletion') <> (p.outcomes like '%x%') and p.outcomes <> '' or p.outcomes ~ 'x' and p.outcomes ~ '[^x]'
    union all
    -- 3: a full sync that is completed has deleted, or says why not.
    select 3, format('job %s', j.id), 'a completed full sync that has neither deleted nor says why'
      from jobs j
      join connections c on c.id = j.connection_id and c.deleted_at is null
     where j.mode = 'full' and j.status = 'completed'
       and (j.deletion_left_out is null) <> exists (select from slices s where s.job_id = j.id and s.kind = 'deletion')
$$;
