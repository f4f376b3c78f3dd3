-- Settle: the one statement that ends a page. Nothing of it happens unless the fence holds.
-- $1 job, $2 slice, $3 token, $4 page; per record $5 keys, $6 hashes (null unless it is to be stored), $7 payloads, and $8
-- one character each: p storable, = a repeat of an id whose last occurrence is stored, d deferred, f failed; $9 reasons of
-- the failed; $10 next cursor, $11 anchor, $12 whether this was the last page, $13 the upstream's total, $14 the stint goes
-- on, $15 lease in ms, $16 when its newest storable record was created, $17 its oldest deferred one, $18 the connection: as
-- a parameter it lets the plan, which is made once per session, leave out at the start all partitions of records but one;
-- per record $19 when it happened; and $20 filled values.
with fence as materialized (
    select s.job_id, s.slice, s.worker, s.tenant_id
      from slices s
     where s.job_id = $1 and s.slice = $2 and s.lease_token = $3 and s.page = $4
       -- As text, so that no partial index fits: a plan made while the table was small could look through all open
       -- slices of the job in one of those, and the key finds the row.
       and s.status::text = 'ready'
       for no key update of s
), changed as materialized (
    -- Unchanged records go no further: they are not cast, not locked, not written. One look by key for each, whatever
    -- the planner believes about the size of the table: hence the limit, which rules every other join out.
    select i.key, i.hash, i.ord, r.external_id is not null as known
      from fence f
     cross join unnest($5::text[], $6::bytea[]) with ordinality i (key, hash, ord)
      left join lateral (
          select r.external_id, r.hash, r.deleted_at from records r
           where r.connection_id = $18 and r.external_id = i.key limit 1) r on true
     where i.hash is not null and (r.hash is distinct from i.hash or r.deleted_at is not null)
), inserted as (
    -- A record that nobody has is inserted plainly, which costs less than an upsert. If somebody stores it in the same
    -- moment, the statement fails, and is repeated: then it is known. Sorted, so that two pages with the same records
    -- cannot deadlock.
    insert into records (connection_id, external_id, hash, payload, job_id, happened_at)
    select $18, c.key, c.hash, ($7::text[])[c.ord]::jsonb, $1, ($19::timestamptz[])[c.ord]
      from changed c where not c.known order by c.key collate "C"
    returning 1
), updated as (
    -- After all inserts, which is the second half of the order: who waits for an insert has no record that is known.
    insert into records as r (connection_id, external_id, hash, payload, job_id, happened_at)
    select $18, c.key, c.hash, ($7::text[])[c.ord]::jsonb, $1, ($19::timestamptz[])[c.ord]
      from changed c where c.known and (select count(*) from inserted) >= 0 order by c.key collate "C"
        on conflict (connection_id, external_id) do update
       set hash = excluded.hash, payload = excluded.payload, job_id = excluded.job_id, happened_at = excluded.happened_at,
           revision = r.revision + 1, updated_at = now(), deleted_at = null
     where r.hash is distinct from excluded.hash or r.deleted_at is not null
    returning r.external_id
), outcome as materialized (
    -- Every record that was changed has its verdict, so that left joins would do. But the planner, which takes all of these
    -- for few, would look through one for each row of the other; this it cannot.
    select v.ord, case when v.verdict <> 'p' then v.verdict
                       when c.known is null then '='
                       when not c.known then '+'
                       when u.external_id is null then '='
                       else '~' end as outcome
      from unnest(string_to_array($8, null)) with ordinality v (verdict, ord)
      full join changed c on c.ord = v.ord
      full join updated u on u.external_id = c.key
), counted as materialized (
    select (select count(*) from inserted) as inserted, (select count(*) from updated) as updated,
           length($8) as processed, length(replace($8, 'p', '')) as not_stored,
           length($8) - length(replace($8, 'd', ''))::bigint as deferred,
           length($8) - length(replace($8, 'f', ''))::bigint as failed
), tally as materialized (
    select c.*, c.processed - c.inserted - c.updated - c.deferred - c.failed as unchanged,
           -- Mostly all records of a page have the same fate. Only otherwise each is asked for its own.
           case when c.inserted + c.updated = 0 then translate($8, 'p', '=')
                when c.inserted = c.processed - c.not_stored then translate($8, 'p', '+')
                else (select string_agg(o.outcome, '' order by o.ord) from outcome o) end as outcomes
      from counted c
), logged as (
    insert into page_log (job_id, slice, page, keys, outcomes, reasons, worker, filled)
    select f.job_id, f.slice, $4, $5::text[], t.outcomes, $9::text[], f.worker, $20 from fence f, tally t
), gate as materialized (
    -- The next page is claimed here, so every condition of a claim is asked again. This sees the job and the connection
    -- as they were when the statement began: a pause may let one page pass. A cancel cannot: it closes the slice, which
    -- the fence reads under its lock. (Materialized, or each of the eight uses of `open` below would be a copy of it.)
    select $14 and not $12 as goes_on,
           j.status = 'running' and not j.paused and c.deleted_at is null
               and (c.paused_until is null or c.paused_until <= now())
               -- A limit that was lowered: of too many slices under way each makes room.
               and case when c.max_pages_in_flight is null then true else c.max_pages_in_flight >=
                   (select count(*) from slices o
                     where o.tenant_id = f.tenant_id and o.status = 'ready' and o.connection_id = $18) end as open
      from fence f, jobs j, connections c where j.id = $1 and c.id = $18
)
update slices s set
       page = s.page + 1, cursor = $10, anchor = $11, charges = '{}', attempts = 0, last_error = null,
       last_settled_at = now(),
       newest_at = greatest(s.newest_at, $16::timestamptz),
       oldest_deferred_at = least(s.oldest_deferred_at, $17::timestamptz),
       inserted = s.inserted + t.inserted, updated = s.updated + t.updated, unchanged = s.unchanged + t.unchanged,
       deferred = s.deferred + t.deferred, failed = s.failed + t.failed, filled = s.filled + $20,
       -- An upstream's total may be missing, zero with rows there, or shrink; what was processed is a lower bound.
       total = case when $12 then s.inserted + s.updated + s.unchanged + s.deferred + s.failed + t.processed
                    else greatest(coalesce($13, s.total),
                                  case when coalesce($13, s.total) is not null then
                                      s.inserted + s.updated + s.unchanged + s.deferred + s.failed + t.processed end)
               end,
       status = (case when $12 then 'done' when g.open then 'ready' else 'queued' end)::slice_status,
       lease_token = case when g.goes_on and g.open then s.lease_token end,
       leased_ring = case when g.goes_on and g.open then s.leased_ring end,
       worker = case when g.goes_on and g.open then s.worker end,
       leased_until = case when g.goes_on and g.open then now() + $15::float8 * interval '1 ms' end,
       ring = s.ring + case when g.open and not g.goes_on and not $12 then 1 else 0 end,
       rung_at = case when g.open and not g.goes_on and not $12 then now() else s.rung_at end,
       rung_marker = case when g.open and not g.goes_on and not $12 then (select published from markers)
                          else s.rung_marker end
  from gate g, tally t
 where s.job_id = $1 and s.slice = $2
returning 1::bigint as "nth!", s.status as "status!: SliceStatus", s.page as "page!", s.ring as "ring!", s.lease_token is not null as "kept!",
          t.inserted as "inserted!", t.updated as "updated!", t.unchanged as "unchanged!", t.deferred as "deferred!",
          t.failed as "failed!"
