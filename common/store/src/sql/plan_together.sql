-- Plans several jobs at once: what plan.rs does for one. Their rows are locked, and the versions of their settings are there.
-- Per job: $1 jobs, $2 fingerprints, $3 sources, $4 base URLs, $5 settings, $6 where they begin, $7 floors, $8 whether they
-- count, $9 what totals and $10 times mean, $11 whether records can be fetched by id, $12 days, $13 and $14 idle spans, and
-- where their slices begin and end, from 1, $15 and $16. Per slice: $17 and $18 spans. $19 how many
-- jobs.
with given as materialized (
    select g.*
      from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[], $8::bool[],
                  $9::total_is[], $10::time_is[], $11::bool[], $12::int[], $13::timestamptz[], $14::timestamptz[], $15::int[],
                  $16::int[])
               with ordinality g (job, fingerprint, source, base_url, settings, date_from, floor, counted, total_is, time_is,
                                  by_id, straggler_days, idle_from, idle_to, first, last, nth)
     limit $19
), planned as (
    update jobs j
       set status = 'running', started_at = now(),
           date_from = g.date_from, settings_version = v.version, scope = v.scope, floor = g.floor, counted = g.counted,
           total_is = g.total_is, time_is = g.time_is, by_id = g.by_id, straggler_days = g.straggler_days,
           idle_from = g.idle_from, idle_to = g.idle_to
      from given g, lateral (
           select v.version, v.scope
             from settings_versions v
             join scopes c on c.connection_id = v.connection_id and c.stream = v.stream and c.scope = v.scope
             join jobs o on o.id = g.job
            where v.connection_id = o.connection_id and v.stream = o.stream and c.fingerprint = g.fingerprint
              and v.source = g.source and v.base_url = g.base_url and v.settings = g.settings::jsonb
            order by v.version desc limit 1) v
     where j.id = g.job
    returning j.id, j.tenant_id, j.connection_id, g.first, g.last, g.nth
), cut as (
    insert into slices (job_id, slice, tenant_id, connection_id, span_from, span_to)
    select p.id, s.slice, p.tenant_id, p.connection_id, ($17::timestamptz[])[p.first + s.slice],
           ($18::timestamptz[])[p.first + s.slice]
      from planned p cross join lateral generate_series(0, p.last - p.first) as s (slice)
)
select id as "job!: JobId", tenant_id as "tenant!: TenantId", (last - first + 1)::bigint as "slices!" from planned order by nth
