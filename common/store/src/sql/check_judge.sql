-- The verdict on a job's walks, after all that they met is collected. $1 job. A walk is not whole if the upstream named more
-- records than it met, or, where the list is read by counting, if ids were met again for no good reason.
--
-- A shortfall that a second job meets again, within the same bounds, is accepted: the upstream's total counts what it does not
-- serve. A job that goes on where another one stopped is no second one.
with recursive chain as (
    select id, resumed_from from jobs where id = $1
    union all
    select j.id, j.resumed_from from chain c join jobs j on j.id = c.resumed_from
), judged as materialized (
    select j.connection_id, j.stream, j.scope, j.date_from, s.slice, s.span_from,
           s.inserted + s.updated + s.unchanged + s.deferred + s.failed as processed,
           coalesce(s.distinct_met, 0) as met, case when j.counted then s.met_again else 0 end as met_again,
           n.named, greatest(n.named - coalesce(s.distinct_met, 0), 0) as missing, s.whole, s.upstream_total
      from jobs j
      join slices s on s.job_id = j.id and s.kind = 'walk'
     cross join lateral (
          select case j.total_is when 'estimate' then null
                                 when 'unfiltered' then
                                     case when s.span_from is null then (s.walk ->> 'smallest_total')::bigint end
                                 else (s.walk ->> 'smallest_total')::bigint end as named) n
     where j.id = $1
), short as materialized (
    select g.*, exists (select from shortfalls f
                         where f.connection_id = g.connection_id and f.stream = g.stream and f.scope = g.scope
                           and f.job_from is not distinct from g.date_from and f.span_from is not distinct from g.span_from
                           and f.job_id not in (select id from chain)) as again
      from judged g where g.missing > 0
), lowered as (
    update slices s
       set whole = false, total = greatest(g.upstream_total, g.processed),
           -- If nothing else is wrong with the walk: that its last page was empty, despite the total, is the same doubt.
           shortfall_accepted = g.met_again = 0 and exists (select from short h where h.slice = g.slice and h.again)
                                and s.pages_skipped = 0
                                and not exists (select from warnings w
                                                 where w.job_id = $1 and w.slice = g.slice
                                                   and w.kind in ('total_fell', 'overlap_lost', 'same_page'))
      from judged g
     where s.job_id = $1 and s.slice = g.slice and (g.missing > 0 or g.met_again > 0)
), noted as (
    insert into shortfalls (connection_id, stream, scope, job_from, span_from, job_id, missing)
    select connection_id, stream, scope, date_from, span_from, $1, missing from short where scope is not null
        on conflict (connection_id, stream, scope, coalesce(job_from, '-infinity'), coalesce(span_from, '-infinity'))
        do update set missing = excluded.missing, met_at = now()
), healed as (
    delete from shortfalls f
     using judged g
     where g.missing = 0 and f.connection_id = g.connection_id and f.stream = g.stream and f.scope = g.scope
       and f.job_from is not distinct from g.date_from and f.span_from is not distinct from g.span_from
), warned as (
    insert into warnings (job_id, slice, kind, count, text)
    select $1, g.slice, (case when g.again then 'shortfall_accepted' else 'shortfall' end)::warning_kind, g.missing,
           format('the upstream named %s records and served %s', g.named, g.met)
           || case when g.again then ', as it did for a job before' else '' end
      from short g
    union all
    select $1, g.slice, 'repeated', g.met_again,
           format('%s ids were met again in one walk: the list moved while it was read, or has no stable order', g.met_again)
      from judged g where g.met_again > 0
)
select coalesce(sum(missing), 0)::bigint as "missing!", coalesce(sum(named), 0)::bigint as "named!",
       coalesce(sum(met) filter (where named is not null), 0)::bigint as "met!",
       coalesce(bool_or(met = 0 and missing > 0), false) as "met_nothing!"
  from judged
