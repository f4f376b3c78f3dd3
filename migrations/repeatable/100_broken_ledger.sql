-- What must hold of the page log and of what it counts; part of broken_invariants().

-- How often an outcome stands in a page's outcomes, one character per record.
create or replace function count_outcome(outcomes text, outcome text) returns int
language sql immutable as $$
    select char_length(outcomes) - char_length(replace(outcomes, outcome, ''))
$$;

create or replace function broken_ledger() returns table (invariant int, subject text, problem text)
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
           format('counters (+%s ~%s =%s d%s f%s x%s) differ from the page log (+%s ~%s =%s d%s f%s x%s)', s.inserted,
                  s.updated, s.unchanged, s.deferred, s.failed, s.deleted, l.inserted, l.updated, l.unchanged, l.deferred,
                  l.failed, l.deleted)
           || case when c.job_id is not null then format(' on top of what was carried (+%s ~%s =%s d%s f%s x%s)', c.inserted,
                                                         c.updated, c.unchanged, c.deferred, c.failed, c.deleted)
                   else '' end
      from slices s
      left join carried c on c.job_id = s.job_id and c.slice = s.slice
     cross join lateral (
            select coalesce(sum(cardinality(p.keys)), 0) as records,
                   coalesce(sum(count_outcome(p.outcomes, '+')), 0) as inserted,
                   coalesce(sum(count_outcome(p.outcomes, '~')), 0) as updated,
                   coalesce(sum(count_outcome(p.outcomes, '=')), 0) as unchanged,
                   coalesce(sum(count_outcome(p.outcomes, 'd')), 0) as deferred,
                   coalesce(sum(count_outcome(p.outcomes, 'f')), 0) as failed,
                   coalesce(sum(count_outcome(p.outcomes, 'x')), 0) as deleted,
                   coalesce(sum(count_outcome(p.outcomes, '-')), 0) as absent
              from page_log p where p.job_id = s.job_id and p.slice = s.slice) l
     where (s.inserted - coalesce(c.inserted, 0), s.updated - coalesce(c.updated, 0),
            s.unchanged - coalesce(c.unchanged, 0), s.deferred - coalesce(c.deferred, 0), s.failed - coalesce(c.failed, 0),
            s.deleted - coalesce(c.deleted, 0))
           is distinct from (l.inserted, l.updated, l.unchanged, l.deferred, l.failed, l.deleted)
        or l.records <> l.inserted + l.updated + l.unchanged + l.deferred + l.failed + l.deleted + l.absent
    union all
    -- 3: filled values equal what was carried and the page log.
    select 3, format('job %s slice %s', s.job_id, s.slice),
           format('%s filled values differ from the page log''s %s on top of %s', s.filled, l.filled, coalesce(c.filled, 0))
      from slices s
      left join carried c on c.job_id = s.job_id and c.slice = s.slice
     cross join lateral (select coalesce(sum(p.filled), 0) as filled from page_log p
                          where p.job_id = s.job_id and p.slice = s.slice) l
     where s.filled <> coalesce(c.filled, 0) + l.filled
    union all
    -- 3: as many pages are counted as skipped as the page log says, and none of a deletion.
    select 3, format('job %s slice %s', s.job_id, s.slice),
           format('%s pages are counted as skipped, but the page log has %s', s.pages_skipped, count(p.page))
      from slices s left join page_log p on p.job_id = s.job_id and p.slice = s.slice and p.skipped is not null
     group by s.job_id, s.slice, s.pages_skipped, s.kind
    having count(p.page) <> s.pages_skipped or s.kind <> 'walk' and s.pages_skipped > 0
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
$$;
