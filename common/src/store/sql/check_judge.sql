-- The verdict on a job's walks, after all that they met is collected. $1 job. A walk is not whole if the upstream named more
-- records than it met, or, where the list is read by counting, if ids were met again for no good reason.
with judged as materialized (
    select s.slice, s.span_from, s.inserted + s.updated + s.unchanged + s.deferred + s.failed as processed,
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
), lowered as (
    update slices s
       set whole = false, total = greatest(g.upstream_total, g.processed)
      from judged g
     where s.job_id = $1 and s.slice = g.slice and (g.missing > 0 or g.met_again > 0)
), warned as (
    insert into warnings (job_id, slice, kind, count, text)
    select $1, g.slice, 'shortfall'::warning_kind, g.missing,
           format('the upstream named %s records and served %s', g.named, g.met)
      from judged g where g.missing > 0
    union all
    select $1, g.slice, 'repeated', g.met_again,
           format('%s ids were met again in one walk: the list moved while it was read, or has no stable order', g.met_again)
      from judged g where g.met_again > 0
)
select coalesce(sum(missing), 0)::bigint as "missing!", coalesce(sum(named), 0)::bigint as "named!",
       coalesce(sum(met) filter (where named is not null), 0)::bigint as "met!",
       coalesce(bool_or(met = 0 and missing > 0), false) as "met_nothing!"
  from judged
