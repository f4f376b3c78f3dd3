-- Settle: the one statement that ends a page. Nothing of it happens unless the fence holds.
-- $1 job, $2 slice, $3 token, $4 page; per record $5 keys, $6 hashes, $7 payloads, and $8 one character each: p storable,
-- = a repeat of an id whose last occurrence is stored, d deferred, f failed; $9 reasons of the failed; $10 next cursor,
-- $11 anchor, $12 whether this was the last page, $13 the upstream's total, $14 the stint goes on, $15 lease in ms, $16 when
-- its newest storable record was created, and $17 its oldest deferred one.
with fence as materialized (
    select s.job_id, s.slice, s.connection_id, s.worker
      from slices s
     where s.job_id = $1 and s.slice = $2 and s.lease_token = $3 and s.page = $4 and s.status = 'ready'
       for no key update of s
), input as materialized (
    select f.connection_id, i.key, i.hash, i.payload, i.verdict, i.ord
      from fence f,
           unnest($5::text[], $6::bytea[], $7::text[], string_to_array($8::text, null))
               with ordinality i (key, hash, payload, verdict, ord)
), changed as materialized (
    -- Unchanged records go no further: they are not cast, not locked, not written.
    select i.connection_id, i.key, i.hash, i.payload
      from input i
      left join records r on r.connection_id = i.connection_id and r.external_id = i.key
     where i.verdict = 'p' and (r.hash is distinct from i.hash or r.deleted_at is not null)
), written as (
    -- Sorted, so that two pages with the same records cannot deadlock.
    insert into records as r (connection_id, external_id, hash, payload, job_id)
    select c.connection_id, c.key, c.hash, c.payload::jsonb, $1 from changed c order by c.key collate "C"
        on conflict (connection_id, external_id) do update
       set hash = excluded.hash, payload = excluded.payload, job_id = excluded.job_id,
           revision = r.revision + 1, updated_at = now(), deleted_at = null
     where r.hash is distinct from excluded.hash or r.deleted_at is not null
    returning r.external_id, r.revision
), outcome as materialized (
    select i.ord, i.key,
           case when i.verdict <> 'p' then i.verdict
                when w.external_id is null then '='
                when w.revision = 1 then '+'
                else '~' end as outcome
      from input i left join written w on w.external_id = i.key and i.verdict = 'p'
), tally as (
    select coalesce(array_agg(key order by ord), '{}') as keys,
           coalesce(string_agg(outcome, '' order by ord), '') as outcomes,
           count(*) filter (where outcome = '+') as inserted,
           count(*) filter (where outcome = '~') as updated,
           count(*) filter (where outcome = '=') as unchanged,
           count(*) filter (where outcome = 'd') as deferred,
           count(*) filter (where outcome = 'f') as failed,
           count(*) as processed
      from outcome
), logged as (
    insert into page_log (job_id, slice, page, keys, outcomes, reasons, worker)
    select f.job_id, f.slice, $4, t.keys, t.outcomes, $9::text[], f.worker from fence f, tally t
), gate as (
    -- The next page is claimed here, so every condition of a claim is asked again. This sees the job and the connection
    -- as they were when the statement began: a pause may let one page pass. A cancel cannot: it closes the slice, which
    -- the fence reads under its lock.
    select f.job_id, f.slice, $14 and not $12 as goes_on,
           j.status = 'running' and not j.paused and c.deleted_at is null
               and (c.paused_until is null or c.paused_until <= now()) as open
      from fence f join jobs j on j.id = f.job_id join connections c on c.id = f.connection_id
)
update slices s set
       page = s.page + 1, cursor = $10, anchor = $11, charges = '{}', attempts = 0, last_error = null,
       last_settled_at = now(),
       newest_at = greatest(s.newest_at, $16::timestamptz),
       oldest_deferred_at = least(s.oldest_deferred_at, $17::timestamptz),
       inserted = s.inserted + t.inserted, updated = s.updated + t.updated, unchanged = s.unchanged + t.unchanged,
       deferred = s.deferred + t.deferred, failed = s.failed + t.failed,
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
 where s.job_id = g.job_id and s.slice = g.slice
returning s.status as "status!: SliceStatus", s.page as "page!", s.ring as "ring!", s.lease_token is not null as "kept!",
          t.inserted as "inserted!", t.updated as "updated!", t.unchanged as "unchanged!", t.deferred as "deferred!",
          t.failed as "failed!"
