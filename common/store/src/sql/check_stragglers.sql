-- What the walks met and could not store is asked for again; what they stored is closed. $1 job; per record that was not
-- stored $2 its id, $3 whether it failed, $4 why, $5 when it happened (null: not known), $6 its slice, $7 when it was met;
-- $8 the ids of those that are stored.
with job as (
    select connection_id, stream, scope from jobs where id = $1 and scope is not null
), closed as (
    update stragglers t set closed_at = now(), closed_by = 'stored'
      from job j
     where t.connection_id = j.connection_id and t.stream = j.stream and t.external_id = any ($8::text[])
       and t.closed_at is null
       -- What a list shows of a record about which two answers differ may be one of the two.
       and t.cause <> 'overtaken'
)
insert into stragglers as t (connection_id, stream, external_id, scope, cause, reason, happened_at, first_seen_at)
select distinct on (i.id) j.connection_id, j.stream, i.id, j.scope, case when i.failed then 'failed' else 'deferred' end::straggler_cause,
       left(i.reason, 500), coalesce(i.happened_at, s.span_from), i.met_at
  from job j
 cross join unnest($2::text[], $3::bool[], $4::text[], $5::timestamptz[], $6::int[], $7::timestamptz[])
                as i (id, failed, reason, happened_at, slice, met_at)
  join slices s on s.job_id = $1 and s.slice = i.slice
 where i.id <> '' and not i.id = any ($8::text[])
 order by i.id, i.met_at desc
    on conflict (connection_id, stream, external_id) do update
   set cause = excluded.cause, reason = excluded.reason, happened_at = excluded.happened_at, scope = excluded.scope,
       first_seen_at = case when t.closed_at is null and t.scope = excluded.scope then t.first_seen_at
                            else excluded.first_seen_at end,
       closed_at = null, closed_by = null, suspected_by = null,
       gone_in = case when t.closed_at is null then t.gone_in else '{}' end
