-- Second half of several starts at once, in the plain cases: nothing is known of the command, and the job is there already,
-- or nothing is known of that either and the connection has no active one. Whatever does not come back is started alone, and
-- told why. In a later statement than the first half, so that it sees what was committed before the locks were had.
-- Per start: $1 jobs, $2 connections, $3 tenants, $4 keys of commands (null: none is kept), $5 identifiers that the sender
-- chose, $6 hashes of requests, $7 whether an answer to the command counts, $8 modes, $9 and $10 spans, $11 names, $12 who
-- asked, $13 schemas, $14 traces, $15 answers if the job is made, and $16 if it was there, $17 whether the broker has
-- confirmed the start. $18 how many.
with given as materialized (
    select g.*, coalesce(g.asked_to, now()) as date_to, there.of as in_connection, active.of as active,
           cancelled.of is not null as cancelled, g.schema is null or shown.of is not null as has_schema
      from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::bytea[], $7::bool[], $8::job_mode[],
                  $9::timestamptz[], $10::timestamptz[], $11::text[], $12::text[], $13::uuid[], $14::text[], $15::text[],
                  $16::text[])
               with ordinality g (job, connection, tenant, key, id, request, counts, mode, date_from, asked_to, name,
                                  requested_by, schema, trace, answer, answer_known, nth)
      -- One look by key for each, whatever the planner believes about the size of the tables: hence the limits, which rule
      -- every other join out.
      left join lateral (select c.id as of from commands c where c.id = g.key limit 1) answered on g.counts
      left join lateral (select j.connection_id as of from jobs j where j.id = g.job limit 1) there on true
      left join lateral (
           select j.connection_id as of from jobs j
            where j.connection_id = g.connection and j.status in ('pending', 'running') and j.documents is null limit 1)
           active on true
      left join lateral (select t.job_id as of from tombstones t where t.job_id = g.job limit 1) cancelled on true
      left join lateral (
           select h.id as of from schemas h where h.id = g.schema and h.tenant_id = g.tenant limit 1) shown on true
     where answered.of is null
     limit $18
), free as materialized (
    select g.nth, g.job, g.key, g.id, g.request, g.answer_known as answer
      from given g
     cross join lateral (
          select from jobs j where j.id = g.job limit 1
             -- Not waited for: others lock several jobs in an order of their own.
             for no key update skip locked) j
     where g.in_connection = g.connection
), known as (
    update jobs j set start_confirmed_at = coalesce(j.start_confirmed_at, case when $17::bool then now() end)
      from free f
     where j.id = f.job
    returning f.nth, f.key, f.id, f.request, f.answer
), open as materialized (
    select g.* from given g
     where g.in_connection is null and g.active is null and not g.cancelled and g.has_schema
       and (g.date_from is null or g.date_from < g.date_to)
), made as (
    insert into jobs (id, tenant_id, connection_id, mode, date_from, date_to, name, requested_by, schema_id, traceparent,
                      start_confirmed_at)
    select job, tenant, connection, mode, date_from, date_to, name, requested_by, schema, trace,
           case when $17::bool then now() end
      from open order by nth
), kept as (
    insert into commands (id, kind, given, answer, request)
    select key, 'start', id, answer::jsonb, request
      from (select key, id, answer, request from open union all select key, id, answer, request from known) k
     where key is not null
        on conflict (id) do update set answer = excluded.answer, request = excluded.request, received_at = now()
)
select nth as "nth!", false as "known!" from open
union all
select nth, true from known
