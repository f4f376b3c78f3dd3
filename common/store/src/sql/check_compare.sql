-- For a full sync: the connection's next records, and what is to be done about those that the pass did not meet.
-- $1 job, $2 connection, $3 the external id after which to go on, $4 how many, $5 one pass is enough, $6 after how many
-- seconds a second pass confirms. Gives the last id (null at the end), and the counts so far.
with next as materialized (
    select r.external_id, r.happened_at, r.deleted_at, r.scope, r.suspected_by, r.as_of
      from records r
     where r.connection_id = $2 and r.external_id > $3 collate "C"
     order by r.external_id limit $4
), reach as materialized (
    select min(oldest_met_at) as oldest, max(newest_met_at) as newest from slices where job_id = $1 and kind = 'walk'
), judged as materialized (
    select n.external_id, n.as_of, s.external_id is null and in_range(j, n.happened_at) as unseen, in_range(j, n.happened_at) as ranged,
           case when j.by_id then 'asked'
                when n.scope is distinct from j.scope then 'other_scope'
                -- An absence says something only where the list would have shown the record: between what it did show. A cap
                -- may cut among records of one time, so that the oldest and the newest time are not between.
                when j.time_is is null or n.happened_at is null
                     or (j.time_is = 'updated' and j.date_from is not null)
                     or n.happened_at <= reach.oldest or n.happened_at >= reach.newest or reach.oldest is null
                     or coalesce(at.distinct_met, 0) = 0 then 'outside_met'
                -- A list that is read by counting may move while it is read: what it lacks is believed when two passes read
                -- the very same pages.
                when at.moves and not exists (
                     select from passes p
                       join pass_walks w on w.connection_id = p.connection_id and w.stream = p.stream and w.pass = p.pass
                      where p.connection_id = j.connection_id and p.stream = j.stream and p.scope = j.scope
                        and p.pass >= n.suspected_by and j.started_at >= p.ended_at + $6::float8 * interval '1 s'
                        and w.span_from is not distinct from at.span_from and w.pages_hash = at.pages_hash) then 'suspected'
                when $5 or exists (select from passes p
                                    where p.connection_id = j.connection_id and p.stream = j.stream
                                      and p.pass = n.suspected_by and p.scope = j.scope
                                      and j.started_at >= p.ended_at + $6::float8 * interval '1 s') then 'confirmed'
                else 'suspected' end::unseen_fate as fate
      from next n
      join jobs j on j.id = $1
     cross join reach
      left join lateral (
           -- The walk that would have met it.
           select w.span_from, w.distinct_met, (w.walk ->> 'pages_hash')::bigint as pages_hash,
                  exists (select from warnings m where m.job_id = j.id and m.slice = w.slice and m.kind = 'moving_list') as moves
             from slices w
            where w.job_id = j.id and w.kind = 'walk' and (w.span_from is null or w.span_from <= n.happened_at)
              and n.happened_at < w.span_to
            limit 1) at on true
      left join lateral (select external_id from seen
                          where seen.job_id = $1 and seen.external_id = n.external_id limit 1) s on true
     where n.deleted_at is null
), found as (
    insert into unseen (job_id, external_id, fate, last_asked_at)
    select $1, external_id, fate, coalesce(as_of, '-infinity') from judged where unseen
), counted as (
    update checks c
       set records = c.records + (select count(*) from judged where ranged),
           unseen = c.unseen + (select count(*) from judged where unseen)
     where c.job_id = $1
    returning records, unseen
)
select (select max(external_id) from next) as last, records as "records!", unseen as "unseen!" from counted
