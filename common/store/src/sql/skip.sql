-- Skip: ends a page that can never be settled, if its connection wants that; else nothing happens. Fenced like a settle,
-- and the page is written down like a settled one, without records.
-- $1 job, $2 slice, $3 token (null: nobody holds the page, since it kills its workers), $4 page, $5 next cursor (null: it
-- is not known, and the slice ends), $6 anchor, $7 for a page that nobody holds, the charges that condemn it, $8 worker,
-- $9 whether the upstream must have been well meanwhile, $10 why, $11 the walk's state after it.
with fence as materialized (
    select s.job_id, s.slice, s.connection_id
      from slices s join connections c on c.id = s.connection_id
     where s.job_id = $1 and s.slice = $2 and s.page = $4 and s.status = 'ready'
       and case when $3::uuid is null then s.lease_token is null and cardinality(s.charges) >= $7::int
                else s.lease_token = $3 end
       and c.on_poison_page = 'skip' and s.kind = 'walk'
       -- (Each document is to have its outcome: without one its job fails.)
       -- A page of another slice that was settled since this one first failed tells that it is not the upstream.
       and (not $9::boolean
            or exists (select from slices o
                        where o.job_id = s.job_id and o.slice <> s.slice and s.attempts > 0
                          and o.last_settled_at > s.failing_since))
       for no key update of s
), logged as (
    insert into page_log (job_id, slice, page, keys, outcomes, worker, skipped)
    select f.job_id, f.slice, $4, '{}', '', $8, $10::jsonb from fence f
), warned as (
    insert into warnings as w (job_id, slice, kind, count, text)
    select f.job_id, f.slice, 'skipped_pages', 1, left(format('page %s: %s', $4, $10::jsonb ->> 'cause'), 500) from fence f
        on conflict (job_id, slice, kind) do update set count = w.count + 1
), gate as (
    -- See settle.sql.
    select f.job_id, f.slice, $5::text is null as last,
           j.status = 'running' and not j.paused and c.deleted_at is null
               and (c.paused_until is null or c.paused_until <= now()) as open
      from fence f join jobs j on j.id = f.job_id join connections c on c.id = f.connection_id
)
update slices s set
       page = s.page + 1, cursor = $5, anchor = $6, charges = '{}', attempts = 0, last_error = null,
       -- What was on the page is not known.
       walk = $11::text::jsonb, whole = case when g.last then false end,
       failing_since = null, pages_skipped = s.pages_skipped + 1, last_settled_at = now(),
       total = case when g.last then greatest(s.upstream_total, s.inserted + s.updated + s.unchanged + s.deferred + s.failed)
                    else s.total end,
       status = (case when g.last then 'done' when g.open then 'ready' else 'queued' end)::slice_status,
       lease_token = null, leased_ring = null, worker = null, leased_until = null,
       ring = s.ring + case when g.open and not g.last then 1 else 0 end,
       rung_at = case when g.open and not g.last then now() else s.rung_at end,
       rung_marker = case when g.open and not g.last then (select published from markers) else s.rung_marker end
  from gate g
 where s.job_id = g.job_id and s.slice = g.slice
returning s.status as "status!: SliceStatus", s.page as "page!", s.ring as "ring!"
