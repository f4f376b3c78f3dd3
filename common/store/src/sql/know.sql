-- What a completed job makes known. $1 job. It is claimed only up to the newest record that was met, and only what joins on
-- to what is known: everything from the beginning, from the settings' floor, or from within what is known already.
with walked as (
    select j.connection_id, j.stream, j.scope, j.date_from, j.date_to, j.floor, j.time_is, j.by_id, j.straggler_days,
           min(s.first_asked_at) as asked_at, max(s.newest_at) as newest_at,
           coalesce(bool_or((s.walk ->> 'met')::bigint > 0), false) as met_any,
           bool_or(s.whole is false and not s.shortfall_accepted and s.span_from is null) as short_from_the_beginning,
           min(s.span_from) filter (where s.whole is false and not s.shortfall_accepted) as short_from
      from jobs j join slices s on s.job_id = j.id and s.kind = 'walk'
     where j.id = $1 and j.scope is not null
     group by j.id
), held as (
    -- Where records cannot be fetched by their ids, those that could not be stored are met again for some days.
    select min(coalesce(t.happened_at, '-infinity')) as held_at
      from walked w
      join stragglers t on t.connection_id = w.connection_id and t.stream = w.stream and t.scope = w.scope
     where not w.by_id and t.closed_at is null
       and t.first_seen_at > now() - w.straggler_days * interval '1 day'
), reach as (
    select w.*, s.scope = w.scope as same_scope, s.known_from, s.known_to,
           -- An upstream's clock may be ahead: what it says of the future makes nothing known.
           least(w.date_to, w.asked_at, case when w.time_is is not null then coalesce(w.newest_at, '-infinity') end,
                 w.short_from, h.held_at) as reached
      from walked w cross join held h
      left join streams s on s.connection_id = w.connection_id and s.stream = w.stream
     where w.met_any and w.short_from_the_beginning is not true
), joined as (
    select r.*, r.date_from is null or coalesce(r.date_from <= r.floor, false) as from_the_beginning
      from reach r
     where r.reached > '-infinity'
       and (r.date_from is null or r.date_from <= r.floor or (r.same_scope and r.date_from <= r.known_to))
       and (r.floor is null or r.reached >= r.floor)
)
insert into streams as s (connection_id, stream, scope, known_from, known_to)
select connection_id, stream, scope, case when from_the_beginning then floor else known_from end,
       -- It never falls, within a scope.
       case when same_scope then greatest(known_to, reached) else reached end
  from joined
    on conflict (connection_id, stream) do update
   set scope = excluded.scope, known_from = excluded.known_from, known_to = excluded.known_to
