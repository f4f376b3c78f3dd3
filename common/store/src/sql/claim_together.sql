-- Claim for several deliveries at once, in the plain case of claim.sql: a message that was not delivered before, for the page
-- that its slice is at, which nobody holds and which killed nobody. A claim costs less than a statement to begin and end, so
-- deliveries that wait for a session share one. Whatever does not come back is asked alone, and told why.
-- Per delivery: $1 jobs, $2 slices, $3 pages, $4 rings, $5 tokens. $6 how many, $7 worker, $8 lease in ms.
with settings as materialized (
    select set_config('synchronous_commit', 'off', true) as off
), asked as materialized (
    select a.*
      from settings, unnest($1::uuid[], $2::int[], $3::int[], $4::int[], $5::uuid[])
                         with ordinality a (job, slice, page, ring, token, nth)
     where settings.off is not null
), free as materialized (
    select a.nth, a.ring as answered, a.token, s.*
      from asked a
     cross join lateral (
          select s.* from slices s
           where s.job_id = a.job and s.slice = a.slice and s.page = a.page and s.lease_token is null
             and cardinality(s.charges) = 0 and s.status::text = 'ready' limit 1
             -- Not waited for: two statements with several slices each could wait for each other.
             for no key update of s skip locked) s
     -- All of them. The planner, which does not know the number, takes it for few, and looks up each by key: below, too.
     limit $6
), open as materialized (
    select f.*, c.source, c.base_url, c.credentials_key, c.credentials_nonce, c.credentials, c.settings,
           c.requests_per_second is not null as limited, c.on_poison_page,
           c.max_pages_in_flight is not null as narrow, j.schema_id, j.mode, j.scope, j.counted,
           -- The last slice of a full sync up to now, of an upstream whose times are those of the last change.
           j.mode = 'full' and coalesce(j.time_is = 'updated', false) and j.date_from is null and j.date_to >= j.created_at
               and f.span_to = j.date_to as open_end,
           case when (v.source, v.base_url, v.settings) is distinct from (c.source, c.base_url, c.settings)
                then jsonb_build_object('source', v.source, 'base_url', v.base_url, 'settings', v.settings) end as planned
      from free f join jobs j on j.id = f.job_id join connections c on c.id = f.connection_id
      left join settings_versions v
        on v.connection_id = j.connection_id and v.stream = j.stream and v.version = j.settings_version
     where j.status = 'running' and not j.paused and c.deleted_at is null
       and (c.paused_until is null or c.paused_until <= now())
)
update slices s set
       lease_token = o.token, leased_ring = o.answered, worker = $7,
       leased_until = now() + $8::float8 * interval '1 ms'
  from open o
 where s.job_id = o.job_id and s.slice = o.slice
returning o.nth as "nth!", 'claimed' as "verdict!: Verdict", o.page as "page!", o.cursor, o.anchor,
          0 as "charges!", false as "taken_over!", o.span_from, o.span_to as "span_to!",
          o.tenant_id as "tenant_id!: TenantId", o.connection_id as "connection_id!: ConnectionId", o.source as "source!",
          o.base_url as "base_url!", o.credentials_key, o.credentials_nonce, o.credentials, o.settings as "settings!",
          o.kind as "kind!: SliceKind", o.walk as "walk!: Json<Walk>", o.mode as "mode!: JobMode", o.scope,
          o.counted as "counted!", o.open_end as "open_end!", o.forbidden_rests as "forbidden_rests!", o.started_over as "started_over!", o.planned as "planned: Json<Planned>", now() as "read_at!", o.limited as "limited!", o.on_poison_page as "on_poison_page!: PoisonPolicy",
          o.narrow as "narrow!",
          case when o.ids_from is not null then
              (select array_agg(d.id order by d.place) from documents d
                where d.job_id = o.job_id and d.place >= o.ids_from and d.place < o.ids_to) end as documents,
          (select h.fields from schemas h where h.id = o.schema_id) as "schema: Json<Fields>"
