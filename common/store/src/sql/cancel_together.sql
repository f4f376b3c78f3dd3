-- Last third: the jobs are cancelling, or cancelled where nothing of them is in flight, and whoever repeats the command is
-- answered as now.
-- Per cancel: $1 jobs, $2 reasons, $3 who asked, $4 traces, $5 keys of commands (null: none is kept), $6 identifiers that the
-- sender chose, $7 hashes of requests, $8 answers if something is in flight, and $9 if nothing is. $10 how many.
with given as materialized (
    select g.*
      from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bytea[], $8::text[], $9::text[])
               with ordinality g (job, reason, requested_by, trace, key, id, request, answer, answer_over, nth)
     limit $10
), held as materialized (
    select g.nth, coalesce(sum(s.page), 0)::bigint as pages, count(s.lease_token) > 0 as leased
      from given g
      left join lateral (select s.* from slices s where s.job_id = g.job offset 0) s on true
     group by g.nth
), ended as (
    update jobs j
       set status = case when h.leased then 'cancelling' else 'cancelled' end::job_status, cancel_requested_at = now(),
           cancel_reason = g.reason, cancel_requested_by = g.requested_by, traceparent = coalesce(g.trace, j.traceparent),
           pages_at_fence = h.pages, paused = false, finished_at = case when not h.leased then now() end
      from given g join held h on h.nth = g.nth
     where j.id = g.job
    returning g.nth, h.leased
), kept as (
    insert into commands (id, kind, given, answer, request)
    select g.key, 'cancel', g.id, case when h.leased then g.answer else g.answer_over end::jsonb, g.request
      from given g join held h on h.nth = g.nth where g.key is not null
        on conflict (id) do update set answer = excluded.answer, request = excluded.request, received_at = now()
)
select nth as "nth!", leased as "leased!" from ended order by nth
