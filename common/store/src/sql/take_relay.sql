-- Takes the relay of events for a while, if nobody has it and there is something to publish. $1 the token, $2 for how
-- long and $3 how often progress is told at most (milliseconds), $4 whether the caller would tell it.
-- A process that waits here for another one's row finds it taken; what it then reads, it reads in a later statement.
with due as (
    select exists (select from job_events where published_at is null and (again_at is null or again_at <= now())) as events,
           $4 and exists (select from jobs where status = 'running') as progress),
 before as (select greatest(progressed_at, now() - interval '1 min') as progressed_at from event_relay),
 taken as (
    update event_relay r
       set holder = $1, held_until = now() + $2::float8 * interval '1 ms',
           progressed_at = case when d.progress and r.progressed_at + $3::float8 * interval '1 ms' <= now() then now()
                                else r.progressed_at end
      from due d
     where r.held_until <= now()
       and (d.events or (d.progress and r.progressed_at + $3::float8 * interval '1 ms' <= now()))
    returning r.progressed_at)
select d.events as "waiting!", exists (select from taken) as "taken!",
       -- If progress is told now: since when, and as of when (what it is told with, so that these are as far apart as the turns).
       p.since as "since?", p.at as "at?"
  from due d
  left join (select b.progressed_at as since, t.progressed_at as at
               from before b, taken t where t.progressed_at > b.progressed_at) p on true
