-- Jobs with their counters, newest first. $1 job, $2 tenant, $3 connection, $4 status (each null: any), $5 and $6 the
-- created_at and id after which to go on, $7 how many. Sessions plan each call anew, so a null filter costs nothing.
select j.id as "id: JobId", j.tenant_id as "tenant: TenantId", j.connection_id as "connection: ConnectionId", j.name,
       j.status as "status: JobStatus", j.paused, j.mode as "mode: JobMode", j.date_from, j.date_to, j.error, j.created_at,
       j.started_at, j.cancel_requested_at, j.cancel_reason, j.cancel_requested_by, j.finished_at,
       greatest(j.created_at, j.started_at, j.cancel_requested_at, s.last_settled_at,
                case when j.status in ('cancelled', 'failed') then j.finished_at end) as "last_activity_at!",
       now() as "read_at!",
       json_build_object('inserted', s.inserted, 'updated', s.updated, 'unchanged', s.unchanged, 'deferred', s.deferred,
                         'failed', s.failed, 'deleted', s.deleted) as "counters!: Json<Counters>",
       json_build_object('total', s.slices, 'queued', s.queued, 'ready', s.ready, 'leased', s.leased,
                         'waiting', s.waiting, 'done', s.done) as "slices!: Json<SliceCounts>",
       s.pages + c.pages as "pages_settled!", j.resumed_from as "resumed_from: JobId", c.records as "carried!", s.total
  from jobs j
 cross join lateral (
        select count(*) as slices,
               count(*) filter (where status = 'queued') as queued,
               count(*) filter (where status = 'ready') as ready,
               count(lease_token) as leased,
               count(*) filter (where status = 'waiting') as waiting,
               count(*) filter (where status = 'done') as done,
               coalesce(sum(page), 0)::bigint as pages,
               coalesce(sum(inserted), 0)::bigint as inserted, coalesce(sum(updated), 0)::bigint as updated,
               coalesce(sum(unchanged), 0)::bigint as unchanged, coalesce(sum(deferred), 0)::bigint as deferred,
               coalesce(sum(failed), 0)::bigint as failed, coalesce(sum(deleted), 0)::bigint as deleted,
               max(last_settled_at) as last_settled_at,
               -- Unknown until every slice knows its own.
               case when count(*) = count(slices.total) and count(*) > 0 then sum(slices.total)::bigint end as total
          from slices where slices.job_id = j.id) s
 cross join lateral (
        -- The counters of a resumed job's slices begin with what was carried; its pages do not.
        select coalesce(sum(pages), 0)::bigint as pages,
               coalesce(sum(inserted + updated + unchanged + deferred + failed), 0)::bigint as records
          from carried where j.resumed_from is not null and carried.job_id = j.id) c
 where ($1::uuid is null or j.id = $1)
   and ($2::uuid is null or j.tenant_id = $2)
   and ($3::uuid is null or j.connection_id = $3)
   and ($4::job_status is null or j.status = $4)
   and ($5::timestamptz is null or (j.created_at, j.id) < ($5, $6::uuid))
 order by j.created_at desc, j.id desc
 limit $7
