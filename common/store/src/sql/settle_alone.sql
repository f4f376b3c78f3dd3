-- Rendered from settle.template.sql: change it there (make sql-templates).
-- Settle: the one statement that ends pages. Of a page nothing happens unless its fence holds.
-- This one settles a page alone, and waits for whatever it has to wait for.
-- Per page: $1 jobs, $2 slices, $3 tokens, $4 pages, $5 connections, $6 next cursors, $7 anchors, $8 whether it was the last
-- page, $9 the upstream's total, $10 the stint goes on, $11 when its newest record in span that is stored happened, $12 and
-- $13 when the oldest and the newest that it met did, $14 filled values, $15 verdicts: one character per record, p storable,
-- = a repeat of an id whose last occurrence is stored, d deferred, f failed, - not there; where its records begin and end,
-- from 1, $16 and $17, its reasons, $18 and $19, and its ids out of span, $20 and $21; $22 when it was asked for, $23 the
-- scope whose list it is of (null: records fetched by id), $24 the walk's state, $25 whether the walk is whole,
-- if it ends here, $26 warnings. $27 how many pages, $28 lease in ms. Per record: $29 the number of its page, from 1, $30 keys,
-- $31 hashes (null unless it is to be stored), $32 payloads, $33 when it happened, $34 versions. $35 reasons of the failed,
-- $36 ids out of span. Of each deferred or failed record, $37 when it happened; of each page, where these begin and end, $38
-- and $39.
with
page as materialized (
    select p.*
      from unnest($1::uuid[], $2::int[], $3::uuid[], $4::int[], $5::uuid[], $6::text[], $7::text[], $8::bool[],
                  $9::bigint[], $10::bool[], $11::timestamptz[], $12::timestamptz[], $13::timestamptz[], $14::bigint[],
                  $15::text[], $16::int[], $17::int[], $18::int[], $19::int[], $20::int[], $21::int[], $22::timestamptz[],
                  $23::int[], $24::text[], $25::bool[], $26::text[], $38::int[], $39::int[])
               with ordinality p (job, slice, token, number, connection, cursor, anchor, last, named, go_on, newest,
                                  oldest_met, newest_met, filled, verdicts, records_from, records_to, reasons_from,
                                  reasons_to, outside_from, outside_to, as_of, scope, walk, whole, warnings, times_from, times_to, nth)
), fence as materialized (
    select p.*, s.worker, s.tenant_id
      from page p
     cross join lateral (
          select s.worker, s.tenant_id from slices s
           where s.job_id = p.job and s.slice = p.slice and s.lease_token = p.token and s.page = p.number
             -- As text, so that no partial index fits: a plan made while the table was small could look through all open
             -- slices of the job in one of those, and the key finds the row.
             and s.status::text = 'ready' limit 1
             for no key update of s) s
     -- All of them. The planner, which does not know the number, takes it for few, and looks up each by key: below, too.
     limit $27
), differing as materialized (
    -- Unchanged records go no further: they are not cast, not locked, not written, except to note that a list of another
    -- scope shows them, that they are not missing after all, or, by its id or beside another job, when they were last seen. One look by
    -- key for each, whatever the planner believes about the size of the table: hence the limit, which rules every other
    -- join out.
    select f.nth, f.job, f.connection, f.as_of, f.scope, i.key, i.hash, i.payload, i.happened_at, i.version,
           i.ord - f.records_from + 1 as ord, r.external_id is not null as known
      from (select f.*, exists (select from jobs o
                                 where o.connection_id = f.connection and o.id <> f.job
                                   and o.status in ('pending', 'running', 'cancelling')) as in_company
              from fence f) f
      join unnest($29::bigint[], $30::text[], $31::bytea[], $32::text[], $33::timestamptz[], $34::bigint[])
               with ordinality i (of, key, hash, payload, happened_at, version, ord) on i.of = f.nth
      left join lateral (
          select r.external_id, r.hash, r.deleted_at, r.scope, r.suspected_by, r.as_of from records r
           where r.connection_id = f.connection and r.external_id = i.key limit 1) r on true
     where i.hash is not null
       and (r.hash is distinct from i.hash or r.deleted_at is not null or r.suspected_by is not null
            or (f.scope is not null and r.scope is distinct from f.scope)
            or ((f.in_company or f.scope is null) and coalesce(r.as_of < f.as_of, true)))
), inserted as (
    -- A record that nobody has is inserted plainly, which costs less than an upsert. If somebody stores it in the same
    -- moment, the statement fails, and is repeated: then it is known. Sorted, so that two pages with the same records
    -- cannot deadlock.
    insert into records (connection_id, external_id, hash, payload, job_id, happened_at, version, as_of, scope)
    select d.connection, d.key, d.hash, d.payload::jsonb, d.job, d.happened_at, d.version, d.as_of, d.scope
      from differing d where not d.known order by d.connection, d.key collate "C"
    returning 1
), locked as materialized (
    -- Those that are known, in the order of their keys. After all inserts, which is the second half of the order: who waits
    -- for an insert has no record that is known. What becomes of a record is decided by the row as it is under its lock.
    -- What was asked for earlier never overwrites what was asked for later, nor revives what was seen to be gone then.
    select d.nth, d.job, d.connection, d.key, d.hash, d.payload, d.happened_at, d.version, d.as_of, d.scope, d.ord,
           case when r.as_of > d.as_of then
                     case when r.deleted_at is not null or r.hash = d.hash or r.payload = d.payload::jsonb then 'kept'
                          else 'overtaken' end
                when r.deleted_at is null and r.hash = d.hash then 'met'
                when d.version < r.version then 'lower'
                -- The same content with its members in another order.
                when r.deleted_at is null and r.payload = d.payload::jsonb then 'met'
                else 'changed' end as fate
      from (select d.* from differing d where d.known and (select count(*) from inserted) >= 0
             order by d.connection, d.key collate "C") d
     cross join lateral (
          select r.hash, r.payload, r.deleted_at, r.as_of, r.version from records r
           where r.connection_id = d.connection and r.external_id = d.key
             for no key update) r
), updated as (
    update records r
       set hash = l.hash, payload = l.payload::jsonb, job_id = l.job, happened_at = l.happened_at,
           version = l.version, as_of = l.as_of, scope = coalesce(l.scope, r.scope), suspected_by = null,
           revision = r.revision + 1, updated_at = now(), deleted_at = null
      from locked l
     where l.fate = 'changed' and r.connection_id = l.connection and r.external_id = l.key
), met as (
    update records r
       set hash = l.hash, as_of = l.as_of, scope = coalesce(l.scope, r.scope), suspected_by = null
      from locked l
     where l.fate = 'met' and r.connection_id = l.connection and r.external_id = l.key
), fate as materialized (
    select d.nth, d.ord, d.key, case when d.known then coalesce(l.fate, 'kept') else 'new' end as fate
      from differing d full join locked l on l.connection = d.connection and l.key = d.key
), outcome as materialized (
    select v.nth, v.ord, case when v.verdict <> 'p' then v.verdict
                              when d.fate = 'new' then '+'
                              when d.fate = 'changed' then '~'
                              else '=' end as outcome
      from (select f.nth, v.verdict, v.ord
              from fence f cross join unnest(string_to_array(f.verdicts, null)) with ordinality v (verdict, ord)) v
      full join fate d on d.nth = v.nth and d.ord = v.ord
), counted as materialized (
    select f.nth, f.verdicts, length(f.verdicts) as logged, length(replace(f.verdicts, 'p', '')) as not_stored,
           length(f.verdicts) - length(replace(f.verdicts, 'd', ''))::bigint as deferred,
           length(f.verdicts) - length(replace(f.verdicts, 'f', ''))::bigint as failed,
           length(replace(f.verdicts, '-', '')) as processed,
           coalesce(n.inserted, 0) as inserted, coalesce(n.updated, 0) as updated,
           coalesce(n.overtaken, 0) as overtaken, n.overtaken_key, coalesce(n.lower, 0) as lower, n.lower_key
      from fence f
      left join (select nth, count(*) filter (where fate = 'new') as inserted,
                        count(*) filter (where fate = 'changed') as updated,
                        count(*) filter (where fate = 'overtaken') as overtaken,
                        min(key) filter (where fate = 'overtaken') as overtaken_key,
                        count(*) filter (where fate = 'lower') as lower,
                        min(key) filter (where fate = 'lower') as lower_key
                   from fate group by nth) n on n.nth = f.nth
), tally as materialized (
    select c.*, c.processed - c.inserted - c.updated - c.deferred - c.failed as unchanged,
           -- Mostly all records of a page have the same fate. Only otherwise each is asked for its own.
           case when c.inserted + c.updated = 0 then translate(c.verdicts, 'p', '=')
                when c.inserted = c.logged - c.not_stored then translate(c.verdicts, 'p', '+')
                else (select string_agg(o.outcome, '' order by o.ord) from outcome o where o.nth = c.nth) end as outcomes
      from counted c
), settled as materialized (
    -- The next page is claimed here, so every condition of a claim is asked again. This sees the job and the connection
    -- as they were when the statement began: a pause may let one page pass. A cancel cannot: it closes the slice, which
    -- the fence reads under its lock.
    select f.*, ($30::text[])[f.records_from:f.records_to] as keys, t.outcomes,
           ($35::text[])[f.reasons_from:f.reasons_to] as reasons, ($36::text[])[f.outside_from:f.outside_to] as outside,
           ($37::timestamptz[])[f.times_from:f.times_to] as times,
           t.inserted, t.updated, t.unchanged, t.deferred, t.failed, t.processed,
           t.overtaken, t.overtaken_key, t.lower, t.lower_key, f.go_on and not f.last as goes_on,
           j.by_id and f.scope is not null as asks_by_id,
           j.status = 'running' and not j.paused and c.deleted_at is null
               and (c.paused_until is null or c.paused_until <= now())
               -- A limit that was lowered: of too many slices under way each makes room.
               and case when c.max_pages_in_flight is null then true else c.max_pages_in_flight >=
                   (select count(*) from slices o
                     where o.tenant_id = f.tenant_id and o.status = 'ready' and o.connection_id = f.connection) end as open
      from fence f
      join tally t on t.nth = f.nth
      join jobs j on j.id = f.job
      join connections c on c.id = f.connection
), logged as (
    insert into page_log (job_id, slice, page, keys, outcomes, reasons, times, outside, worker, filled)
    select job, slice, number, keys, outcomes, reasons, times, outside, worker, filled from settled
), doubtful as (
    -- Two answers that overlapped in time differ: where a record can be fetched by its id, that answer decides.
    insert into stragglers as t (connection_id, external_id, scope, cause, reason, happened_at, first_seen_at)
    select s.connection, f.key, s.scope, 'overtaken', 'two answers that overlapped in time differ', null, now()
      from fate f join settled s on s.nth = f.nth
     where f.fate = 'overtaken' and s.asks_by_id
     order by s.connection, f.key collate "C"
        on conflict (connection_id, stream, external_id) do update
       set cause = excluded.cause, reason = excluded.reason, scope = excluded.scope, first_seen_at = excluded.first_seen_at,
           gone_in = '{}', suspected_by = null, closed_at = null, closed_by = null
), warned as (
    insert into warnings as w (job_id, slice, kind, count, text)
    select s.job, s.slice, g.kind::warning_kind, g.count, left(g.text, 500)
      from settled s
     cross join lateral (
          select g.kind, g.count, g.text from jsonb_to_recordset(s.warnings::jsonb) as g (kind text, count bigint, text text)
          union all
          select 'overtaken', s.overtaken, format('record %s was stored by an answer that was asked for later', s.overtaken_key)
           where s.overtaken > 0 and not s.asks_by_id
          union all
          select 'older_version', s.lower, format('record %s is stored with a higher version', s.lower_key)
           where s.lower > 0) g
        on conflict (job_id, slice, kind) do update set count = w.count + excluded.count
)
update slices s set
       page = s.page + 1, cursor = g.cursor, anchor = g.anchor, walk = g.walk::jsonb, charges = '{}', attempts = 0,
       last_error = null, forbidden_rests = 0, last_settled_at = now(), first_asked_at = coalesce(s.first_asked_at, g.as_of),
       newest_at = greatest(s.newest_at, g.newest),
       oldest_met_at = least(s.oldest_met_at, g.oldest_met), newest_met_at = greatest(s.newest_met_at, g.newest_met),
       inserted = s.inserted + g.inserted, updated = s.updated + g.updated, unchanged = s.unchanged + g.unchanged,
       deferred = s.deferred + g.deferred, failed = s.failed + g.failed, filled = s.filled + g.filled,
       upstream_total = coalesce(g.named, s.upstream_total),
       -- What is processed is a lower bound of the total, and is all of it once a walk has proved whole. A slice over
       -- documents knows its total from the beginning; of what is asked for by id beside a walk, it is what was settled.
       total = case when s.kind = 'documents' then s.total
                    when s.kind in ('stragglers', 'confirm') or (g.last and g.whole)
                    then s.inserted + s.updated + s.unchanged + s.deferred + s.failed + g.processed
                    else greatest(coalesce(g.named, s.upstream_total),
                                  case when g.last or coalesce(g.named, s.upstream_total) is not null then
                                      s.inserted + s.updated + s.unchanged + s.deferred + s.failed + g.processed end)
               end,
       whole = case when g.last and s.kind = 'walk' then g.whole end,
       status = (case when g.last then 'done' when g.open then 'ready' else 'queued' end)::slice_status,
       lease_token = case when g.goes_on and g.open then s.lease_token end,
       leased_ring = case when g.goes_on and g.open then s.leased_ring end,
       worker = case when g.goes_on and g.open then s.worker end,
       leased_until = case when g.goes_on and g.open then now() + $28::float8 * interval '1 ms' end,
       ring = s.ring + case when g.open and not g.goes_on and not g.last then 1 else 0 end,
       rung_at = case when g.open and not g.goes_on and not g.last then now() else s.rung_at end,
       rung_marker = case when g.open and not g.goes_on and not g.last then (select published from markers)
                          else s.rung_marker end
  from settled g
 where s.job_id = g.job and s.slice = g.slice
returning g.nth as "nth!", s.status as "status!: SliceStatus", s.page as "page!", s.ring as "ring!",
          s.lease_token is not null as "kept!", g.inserted as "inserted!", g.updated as "updated!",
          g.unchanged as "unchanged!", g.deferred as "deferred!", g.failed as "failed!", now() as "settled_at!"
