-- Closes the stragglers that a full sync would delete if they were stored: those that it did not meet, between the oldest and
-- the newest record that it did. $1 job, $2 one pass is enough, $3 after how many seconds a second pass confirms. Where
-- records can be fetched by their ids, the answer for the id decides; a list that moves while it is read shows no absence.
with reach as (
    select j.connection_id, j.stream, j.scope, j.started_at, p.pass, min(s.oldest_met_at) as oldest, max(s.newest_met_at) as newest
      from jobs j
      join slices s on s.job_id = j.id and s.kind = 'walk'
      join passes p on p.job_id = j.id
     where j.id = $1 and not j.by_id and j.time_is is not null and (j.time_is = 'created' or j.date_from is null)
       and not exists (select from warnings w where w.job_id = j.id and w.kind = 'moving_list')
     group by j.id, p.pass
), missing as (
    select t.stream, t.external_id,
           case when exists (select from passes p
                              where p.connection_id = r.connection_id and p.stream = r.stream and p.pass = t.suspected_by
                                and p.scope = r.scope and p.ended_at is not null)
                then t.suspected_by else r.pass end as suspected_by,
           $2 or exists (select from passes p
                          where p.connection_id = r.connection_id and p.stream = r.stream and p.pass = t.suspected_by
                            and p.scope = r.scope and r.started_at >= p.ended_at + $3::float8 * interval '1 s') as gone
      from reach r
      join stragglers t on t.connection_id = r.connection_id and t.stream = r.stream and t.scope = r.scope
     where t.closed_at is null and t.first_seen_at < r.started_at and t.happened_at > r.oldest and t.happened_at < r.newest
       and not exists (select from seen where seen.job_id = $1 and seen.external_id = t.external_id)
)
update stragglers t
   set suspected_by = m.suspected_by,
       closed_at = case when m.gone then now() end, closed_by = case when m.gone then 'deleted'::straggler_end end
  from missing m, reach r
 where t.connection_id = r.connection_id and t.stream = m.stream and t.external_id = m.external_id
