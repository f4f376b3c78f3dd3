-- Settle several pages at once: what settle.sql does, for each of them, where there is more about it. A page costs less to
-- settle in company than a statement to begin and end, so pages that wait for a session share one. Whoever calls takes care
-- that no two of the pages have a record in common, and settles alone what does not come back.
-- Per page: $1 jobs, $2 slices, $3 tokens, $4 pages, $5 connections, $6 next cursors, $7 anchors, $8 whether it was the last
-- page, $9 the upstream's total, $10 the stint goes on, $11 when its newest storable record was created, $12 its oldest
-- deferred one, $13 filled values, $14 verdicts as in settle.sql; where its records begin and end, from 1, $15 and $16, and
-- its reasons, $17 and $18. $19 how many pages, $20 lease in ms. Per record: $21 the number of its page, from 1, $22 keys,
-- $23 hashes, $24 payloads, $25 when it happened. $26 reasons of the failed.
with settings as materialized (
    -- Whoever has to wait for a record keeps the others waiting. Not for long: then each is settled alone.
    select set_config('lock_timeout', '250', true) as lock_timeout
), page as materialized (
    select p.*
      from settings,
           unnest($1::uuid[], $2::int[], $3::uuid[], $4::int[], $5::uuid[], $6::text[], $7::text[], $8::bool[],
                  $9::bigint[], $10::bool[], $11::timestamptz[], $12::timestamptz[], $13::bigint[], $14::text[], $15::int[], $16::int[],
                  $17::int[], $18::int[])
               with ordinality p (job, slice, token, number, connection, cursor, anchor, last, total, go_on, newest,
                                  oldest_deferred, filled, verdicts, records_from, records_to, reasons_from, reasons_to,
                                  nth)
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
     limit $19
), changed as materialized (
    select f.nth, f.job, f.connection, i.key, i.hash, i.payload, i.happened_at, i.ord - f.records_from + 1 as ord,
           r.external_id is not null as known
      from fence f
      join unnest($21::bigint[], $22::text[], $23::bytea[], $24::text[], $25::timestamptz[])
               with ordinality i (of, key, hash, payload, happened_at, ord) on i.of = f.nth
      left join lateral (
          select r.external_id, r.hash, r.deleted_at from records r
           where r.connection_id = f.connection and r.external_id = i.key limit 1) r on true
     where i.hash is not null and (r.hash is distinct from i.hash or r.deleted_at is not null)
), inserted as (
    insert into records (connection_id, external_id, hash, payload, job_id, happened_at)
    select c.connection, c.key, c.hash, c.payload::jsonb, c.job, c.happened_at
      from changed c where not c.known order by c.connection, c.key collate "C"
    returning 1
), written as (
    insert into records as r (connection_id, external_id, hash, payload, job_id, happened_at)
    select c.connection, c.key, c.hash, c.payload::jsonb, c.job, c.happened_at
      from changed c where c.known and (select count(*) from inserted) >= 0 order by c.connection, c.key collate "C"
        on conflict (connection_id, external_id) do update
       set hash = excluded.hash, payload = excluded.payload, job_id = excluded.job_id, happened_at = excluded.happened_at,
           revision = r.revision + 1, updated_at = now(), deleted_at = null
     where r.hash is distinct from excluded.hash or r.deleted_at is not null
    returning r.connection_id, r.external_id
), fate as materialized (
    select c.nth, c.ord, c.known, w.external_id is not null as updated
      from changed c full join written w on w.connection_id = c.connection and w.external_id = c.key
), outcome as materialized (
    select v.nth, v.ord, case when v.verdict <> 'p' then v.verdict
                              when c.known is null then '='
                              when not c.known then '+'
                              when not c.updated then '='
                              else '~' end as outcome
      from (select f.nth, v.verdict, v.ord
              from fence f cross join unnest(string_to_array(f.verdicts, null)) with ordinality v (verdict, ord)) v
      full join fate c on c.nth = v.nth and c.ord = v.ord
), counted as materialized (
    select f.nth, f.verdicts, length(f.verdicts) as processed, length(replace(f.verdicts, 'p', '')) as not_stored,
           length(f.verdicts) - length(replace(f.verdicts, 'd', ''))::bigint as deferred,
           length(f.verdicts) - length(replace(f.verdicts, 'f', ''))::bigint as failed,
           coalesce(n.inserted, 0) as inserted, coalesce(n.updated, 0) as updated
      from fence f
      left join (select nth, count(*) filter (where not known) as inserted, count(*) filter (where updated) as updated
                   from fate group by nth) n on n.nth = f.nth
), tally as materialized (
    select c.*, c.processed - c.inserted - c.updated - c.deferred - c.failed as unchanged,
           case when c.inserted + c.updated = 0 then translate(c.verdicts, 'p', '=')
                when c.inserted = c.processed - c.not_stored then translate(c.verdicts, 'p', '+')
                else (select string_agg(o.outcome, '' order by o.ord) from outcome o where o.nth = c.nth) end as outcomes
      from counted c
), settled as materialized (
    select f.*, ($22::text[])[f.records_from:f.records_to] as keys, t.outcomes,
           ($26::text[])[f.reasons_from:f.reasons_to] as reasons, t.inserted, t.updated, t.unchanged, t.deferred, t.failed, t.processed,
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
       leased_until = case when g.goes_on and g.open then now() + $20::float8 * interval '1 ms' end,
       ring = s.ring + case when g.open and not g.goes_on and not g.last then 1 else 0 end,
       rung_at = case when g.open and not g.goes_on and not g.last then now() else s.rung_at end,
       rung_marker = case when g.open and not g.goes_on and not g.last then (select published from markers)
                          else s.rung_marker end
  from settled g
 where s.job_id = g.job and s.slice = g.slice
returning g.nth as "nth!", s.status as "status!: SliceStatus", s.page as "page!", s.ring as "ring!",
          s.lease_token is not null as "kept!", g.inserted as "inserted!", g.updated as "updated!",
          g.unchanged as "unchanged!", g.deferred as "deferred!", g.failed as "failed!"
