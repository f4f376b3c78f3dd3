-- Claim: what a delivery of a page message may do, decided and done in one statement.
-- $1 job, $2 slice, $3 page and $4 ring of the delivery, $5 redelivered, $6 worker, $7 token (made before, so that a
-- claim repeated because its answer was lost finds its own lease), $8 lease in ms, $9 this worker has a place for a
-- suspect, null if that was not asked, $10 charges that make a suspect, $11 charges that fail the job.
with settings as materialized (
    -- A claim lost in a database crash is harmless: its token is gone with it, so its settle is fenced. No disk wait.
    select set_config('synchronous_commit', 'off', true) as off
), slice as materialized (
    select s.* from slices s, settings
     where s.job_id = $1 and s.slice = $2 and settings.off is not null
       for no key update of s
), seen as materialized (
    select s.*,
           case
               when s.lease_token = $7 then 'won'
               when s.status = 'done' then 'done'
               -- Closed: the message of the lost holder comes back, so its lease ends here. Without a lease the holder had
               -- released it, and may have died before it saw whether that was the cancel's end.
               when s.status in ('cancelled', 'failed') and $5 and (s.lease_token is null or s.leased_ring = $4)
                   then 'released'
               when s.status <> 'ready' then 'stale'
               when s.lease_token is null and ($5 or s.page = $3) then 'claimed'
               -- Leased: only the very message that the lease answers, come back, says that the holder lost it.
               when s.lease_token is not null and $5 and s.leased_ring = $4 then 'claimed'
               else 'stale'
           end as fate,
           -- A takeover from a worker that did not release is a death, unless that worker held a suspect: then only the
           -- suspect is to blame. The worker that asks is alive, whatever it was charged with.
           array_remove(case
               when s.lease_token <> $7 and not s.worker = any (s.charges)
                    and (w.suspect_job is null or (w.suspect_job, w.suspect_slice) = (s.job_id, s.slice))
                   then s.charges || s.worker
               else s.charges
           end, $6) as charged
      from slice s left join workers w on w.id = s.worker
), decided as materialized (
    select s.*, c.source, c.base_url, c.credentials_key, c.credentials_nonce, c.credentials, c.settings,
           c.requests_per_second is not null as limited, c.on_poison_page,
           c.max_pages_in_flight is not null as narrow, j.schema_id, j.mode, j.scope, j.counted,
           -- The last slice of a full sync up to now, of an upstream whose times are those of the last change.
           j.mode = 'full' and coalesce(j.time_is = 'updated', false) and j.date_from is null and j.date_to >= j.created_at
               and s.span_to = j.date_to as open_end,
           -- What the job was planned with, where that is not what the connection has by now.
           case when (v.source, v.base_url, v.settings) is distinct from (c.source, c.base_url, c.settings)
                then jsonb_build_object('source', v.source, 'base_url', v.base_url, 'settings', v.settings) end as planned,
           case
               when s.fate <> 'claimed' then s.fate
               when j.status <> 'running' or c.deleted_at is not null then 'stale'
               when j.paused or c.paused_until > now() then 'paused'
               when cardinality(s.charged) >= $11 then 'poisoned'
               when cardinality(s.charged) >= $10 and $9::bool is null then 'suspect'
               when cardinality(s.charged) >= $10 and not $9 then 'elsewhere'
               else 'claimed'
           end as verdict
      from seen s join jobs j on j.id = s.job_id join connections c on c.id = s.connection_id
      left join settings_versions v
        on v.connection_id = j.connection_id and v.stream = j.stream and v.version = j.settings_version
), suspect as (
    update workers w set suspect_job = d.job_id, suspect_slice = d.slice
      from decided d
     where w.id = $6 and d.verdict = 'claimed' and cardinality(d.charged) >= $10
), changed as (
    update slices s set
           lease_token = case when d.verdict = 'claimed' then $7 end,
           leased_ring = case when d.verdict = 'claimed' then $4 end,
           worker = case when d.verdict = 'claimed' then $6 end,
           leased_until = case when d.verdict = 'claimed' then now() + $8::float8 * interval '1 ms' end,
           charges = d.charged,
           -- From the row that is locked, never from s: Postgres checks the constraints on what it makes of the row that the
           -- statement began with, before it finds that there is a newer one.
           status = case d.verdict when 'paused' then 'queued' when 'elsewhere' then 'waiting' else d.status end,
           rung_at = d.rung_at, rung_marker = d.rung_marker,
           not_before = case when d.verdict = 'elsewhere' then now() + interval '5 s' end
      from decided d
     where s.job_id = d.job_id and s.slice = d.slice
       and d.verdict in ('claimed', 'paused', 'poisoned', 'elsewhere', 'released')
)
select 1::bigint as "nth!", verdict as "verdict!: Verdict", page as "page!", cursor, anchor,
       cardinality(charged) as "charges!", lease_token is not null as "taken_over!",
       span_from, span_to as "span_to!", tenant_id as "tenant_id!: TenantId",
       connection_id as "connection_id!: ConnectionId", source as "source!", base_url as "base_url!",
       credentials_key, credentials_nonce, credentials, settings as "settings!", kind as "kind!: SliceKind", walk as "walk!: Json<Walk>",
       mode as "mode!: JobMode", scope, counted as "counted!", open_end as "open_end!", forbidden_rests as "forbidden_rests!", started_over as "started_over!", planned as "planned: Json<Planned>", now() as "read_at!",
       limited as "limited!",
       on_poison_page as "on_poison_page!: PoisonPolicy", narrow as "narrow!",
       -- All ids of the slice, for every page of the stint: at most 200.
       case when ids_from is not null and verdict in ('won', 'claimed') then
           (select array_agg(o.id order by o.place) from documents o
             where o.job_id = decided.job_id and o.place >= ids_from and o.place < ids_to) end as documents,
       case when verdict in ('won', 'claimed') then
           (select h.fields from schemas h where h.id = schema_id) end as "schema: Json<Fields>"
  from decided
