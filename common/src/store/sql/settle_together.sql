-- Settle several pages at once: what settle.sql does, for each of them. A small page costs less to settle than a statement
-- to begin and end, so pages that wait for a session share one. Whoever calls takes care that no two of the pages have a
-- record in common, and settles alone what does not come back.
-- Per page: $1 jobs, $2 slices, $3 tokens, $4 pages, $5 connections, $6 next cursors, $7 anchors, $8 whether it was the last
-- page, $9 the upstream's total, $10 the stint goes on, $11 when its newest storable record was created, $12 its oldest
-- deferred one, $13 filled values. $14 how many pages, $15 lease in ms. Per record: $16 the number of its page, from 1, $17
-- keys, $18 hashes, $19 payloads, $20 verdicts as in settle.sql, $21 reasons, $22 when it happened.
with settings as materialized (
    -- Whoever has to wait for a record keeps the others waiting. Not for long: then each is settled alone.
    select set_config('lock_timeout', '250', true) as lock_timeout
), page as materialized (
    select p.*
      from settings,
           unnest($1::uuid[], $2::int[], $3::uuid[], $4::int[], $5::uuid[], $6::text[], $7::text[], $8::bool[],
                  $9::bigint[], $10::bool[], $11::timestamptz[], $12::timestamptz[], $13::bigint[])
               with ordinality p (job, slice, token, number, connection, cursor, anchor, last, total, go_on, newest,
                                  oldest_deferred, filled, nth)
     where settings.lock_timeout is not null
), fence as materialized (
    select p.*, s.worker, s.tenant_id
      from page p
     cross join lateral (
          select s.worker, s.tenant_id from slices s
           where s.job_id = p.job and s.slice = p.slice and s.lease_token = p.token and s.page = p.number
             and s.status::text = 'ready' limit 1
             -- A slice that somebody else has locked is not waited for: two statements with several pages each could
             -- wait for each other.
             for no key update of s skip locked) s
     -- All of them. The planner, which does not know the number, takes it for few, and looks up each by key: below, too.
     limit $14
), input as materialized (
    select f.job, f.connection, i.*, case when i.verdict = 'p' then i.key end as stored
      from fence f
      join unnest($16::bigint[], $17::text[], $18::bytea[], $19::text[], string_to_array($20::text, null), $21::text[],
                  $22::timestamptz[])
               with ordinality i (of, key, hash, payload, verdict, reason, happened_at, ord) on i.of = f.nth
), changed as materialized (
    select i.job, i.connection, i.key, i.hash, i.payload, i.happened_at
      from input i
      left join lateral (
          select r.hash, r.deleted_at from records r
           where r.connection_id = i.connection and r.external_id = i.key limit 1) r on true
     where i.verdict = 'p' and (r.hash is distinct from i.hash or r.deleted_at is not null)
), written as (
    -- In the one order in which everybody writes records.
    insert into records as r (connection_id, external_id, hash, payload, job_id, happened_at)
    select c.connection, c.key, c.hash, c.payload::jsonb, c.job, c.happened_at
      from changed c order by c.connection, c.key collate "C"
        on conflict (connection_id, external_id) do update
       set hash = excluded.hash, payload = excluded.payload, job_id = excluded.job_id, happened_at = excluded.happened_at,
           revision = r.revision + 1, updated_at = now(), deleted_at = null
     where r.hash is distinct from excluded.hash or r.deleted_at is not null
    returning r.connection_id, r.external_id, r.revision
), outcome as materialized (
    select i.of, i.ord, i.key, i.reason,
           case when i.verdict <> 'p' then i.verdict
                when w.external_id is null then '='
                when w.revision = 1 then '+'
                else '~' end as outcome
      from input i
      -- Every row that was written has its input, so that a left join would do. But the planner, which takes both for
      -- few, would look through one for each row of the other; this it cannot.
      full join written w on w.connection_id = i.connection and w.external_id = i.stored
), tally as materialized (
    select f.nth, coalesce(array_agg(o.key order by o.ord) filter (where o.of is not null), '{}') as keys,
           coalesce(string_agg(o.outcome, '' order by o.ord), '') as outcomes,
           coalesce(array_agg(o.reason order by o.ord) filter (where o.outcome = 'f'), '{}') as reasons,
           count(*) filter (where o.outcome = '+') as inserted,
           count(*) filter (where o.outcome = '~') as updated,
           count(*) filter (where o.outcome = '=') as unchanged,
           count(*) filter (where o.outcome = 'd') as deferred,
           count(*) filter (where o.outcome = 'f') as failed,
           count(o.of) as processed
      from fence f left join outcome o on o.of = f.nth
     group by f.nth
), settled as materialized (
    select f.*, t.keys, t.outcomes, t.reasons, t.inserted, t.updated, t.unchanged, t.deferred, t.failed, t.processed,
           f.go_on and not f.last as goes_on,
           j.status = 'running' and not j.paused and c.deleted_at is null
               and (c.paused_until is null or c.paused_until <= now())
               and case when c.max_pages_in_flight is null then true else c.max_pages_in_flight >=
                   (select count(*) from slices o
                     where o.tenant_id = f.tenant_id and o.status = 'ready' and o.connection_id = f.connection) end as open
      from fence f
      join tally t on t.nth = f.nth
      join jobs j on j.id = f.job
      join connections c on c.id = f.connection
), logged as (
    insert into page_log (job_id, slice, page, keys, outcomes, reasons, worker, filled)
    select job, slice, number, keys, outcomes, reasons, worker, filled from settled
)
update slices s set
       page = s.page + 1, cursor = g.cursor, anchor = g.anchor, charges = '{}', attempts = 0, last_error = null,
       last_settled_at = now(),
       newest_at = greatest(s.newest_at, g.newest),
       oldest_deferred_at = least(s.oldest_deferred_at, g.oldest_deferred),
       inserted = s.inserted + g.inserted, updated = s.updated + g.updated, unchanged = s.unchanged + g.unchanged,
       deferred = s.deferred + g.deferred, failed = s.failed + g.failed, filled = s.filled + g.filled,
       total = case when g.last then s.inserted + s.updated + s.unchanged + s.deferred + s.failed + g.processed
                    else greatest(coalesce(g.total, s.total),
                                  case when coalesce(g.total, s.total) is not null then
                                      s.inserted + s.updated + s.unchanged + s.deferred + s.failed + g.processed end)
               end,
       status = (case when g.last then 'done' when g.open then 'ready' else 'queued' end)::slice_status,
       lease_token = case when g.goes_on and g.open then s.lease_token end,
       leased_ring = case when g.goes_on and g.open then s.leased_ring end,
       worker = case when g.goes_on and g.open then s.worker end,
       leased_until = case when g.goes_on and g.open then now() + $15::float8 * interval '1 ms' end,
       ring = s.ring + case when g.open and not g.goes_on and not g.last then 1 else 0 end,
       rung_at = case when g.open and not g.goes_on and not g.last then now() else s.rung_at end,
       rung_marker = case when g.open and not g.goes_on and not g.last then (select published from markers)
                          else s.rung_marker end
  from settled g
 where s.job_id = g.job and s.slice = g.slice
returning g.nth as "nth!", s.status as "status!: SliceStatus", s.page as "page!", s.ring as "ring!",
          s.lease_token is not null as "kept!", g.inserted as "inserted!", g.updated as "updated!",
          g.unchanged as "unchanged!", g.deferred as "deferred!", g.failed as "failed!"
