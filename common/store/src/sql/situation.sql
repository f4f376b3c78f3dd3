-- What a job waits for: its connection, its tenant's turn, the fleet, and the open or leased slices that tell most.
-- $1 job, $2 seconds after which a worker that was not seen is not counted, $3 how many slices.
select c.name as connection_name, c.paused_until, c.paused_until > now() as connection_paused,
       c.deleted_at is not null as "connection_deleted!", j.start_confirmed_at is not null as "start_confirmed!",
       t.max_slices as "max_slices!",
       (select count(*) from slices s where s.tenant_id = j.tenant_id and s.status = 'ready') as "rung!",
       c.max_pages_in_flight, j.idle_from, j.idle_to,
       (select count(*) from slices s
         where s.tenant_id = j.tenant_id and s.connection_id = c.id and s.status = 'ready') as "rung_of_connection!",
       (select count(*) from workers w where w.stopped_at is null and w.seen_at > now() - $2::float8 * interval '1 s')
           as "live_workers!",
       (select coalesce(array_agg(distinct trouble), '{}')
          from workers w, unnest(w.troubles) trouble
         where w.stopped_at is null and w.seen_at > now() - $2::float8 * interval '1 s') as "troubles!",
       m.published - m.returned as "markers_out!",
       (select json_build_object('slice', p.slice, 'page', p.page, 'cause', p.skipped ->> 'cause')
          from page_log p where p.job_id = j.id and p.skipped is not null order by p.settled_at limit 1)
           as "skipped?: Json<SkippedPage>",
       (select coalesce(json_agg(s), '[]')
          from (select s.slice, s.page, s.status, s.attempts, s.failing_since, s.last_error, s.not_before, s.rung_at, s.last_settled_at,
                       s.leased_until, s.worker, w.host, w.seen_at, cardinality(s.charges) as deaths
                  from slices s left join workers w on w.id = s.worker
                 where s.job_id = j.id and (s.status in ('queued', 'ready', 'waiting') or s.lease_token is not null)
                 -- What is being worked on, then what waits, then what has not been rung.
                 order by s.lease_token is null, s.status = 'queued', s.rung_at, s.slice
                 limit $3) s) as "slices!: Json<Vec<SliceSituation>>"
  from jobs j
  join connections c on c.id = j.connection_id
  join tenants t on t.id = j.tenant_id
 cross join markers m
 where j.id = $1
