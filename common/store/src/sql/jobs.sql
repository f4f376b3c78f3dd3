-- Jobs with their counters. $1 job, $2 tenant, $3 connection (each null: any), $4 states (none: any), $5 and $6 the
-- created_at and id after which to go on, $7 how many, $8 oldest first, $9 the hash of an API key of the job's tenant
-- whose use was noted in the last minute (null: any). Sessions plan each call anew, so a filter that is not there costs
-- nothing, and neither does an order that is not asked for.
select j.id as "id: JobId", j.tenant_id as "tenant: TenantId", j.connection_id as "connection: ConnectionId", j.name,
       j.status as "status: JobStatus", j.paused, j.mode as "mode: JobMode", j.date_from, j.date_to,
       j.error as "error: Json<JobError>", j.created_at,
       j.started_at, j.cancel_requested_at, j.cancel_reason, j.cancel_requested_by, j.finished_at, j.deletion_left_out,
       greatest(j.created_at, j.started_at, j.cancel_requested_at, s.last_settled_at,
                case when j.status in ('cancelled', 'failed') then j.finished_at end) as "last_activity_at!",
       now() as "read_at!",
       json_build_object('inserted', s.inserted, 'updated', s.updated, 'unchanged', s.unchanged, 'deferred', s.deferred,
                         'failed', s.failed, 'deleted', s.deleted) as "counters!: Json<Counters>",
       json_build_object('total', s.slices, 'queued', s.queued, 'ready', s.ready, 'leased', s.leased,
                         'waiting', s.waiting, 'done', s.done) as "slices!: Json<SliceCounts>",
       s.pages + c.pages as "pages_settled!", s.skipped + c.skipped as "pages_skipped!",
       j.resumed_from as "resumed_from: JobId", c.records as "carried!", s.total,
       (select json_build_object('id', h.id, 'name', h.name, 'fields', jsonb_array_length(h.fields))
          from schemas h where h.id = j.schema_id) as "schema: Json<JobSchema>",
       j.documents, s.filled as "filled!", s.upstream_total, s.whole,
       (select coalesce(json_agg(w), '[]')
          from (select kind, sum(count)::bigint as count, (array_agg(text order by slice))[1] as text
                  from warnings where job_id = j.id group by kind order by kind) w) as "warnings!: Json<Vec<Warning>>"
  from jobs j
 cross join lateral (
        select count(*) as slices,
               count(*) filter (where status = 'queued') as queued,
               count(*) filter (where status = 'ready') as ready,
               count(lease_token) as leased,
               count(*) filter (where status = 'waiting') as waiting,
               count(*) filter (where status = 'done') as done,
               -- Those that fetch nothing are not counted.
               coalesce(sum(page) filter (where kind not in ('check', 'deletion')), 0)::bigint as pages,
               coalesce(sum(pages_skipped), 0)::bigint as skipped,
               coalesce(sum(inserted), 0)::bigint as inserted, coalesce(sum(updated), 0)::bigint as updated,
               coalesce(sum(unchanged), 0)::bigint as unchanged, coalesce(sum(deferred), 0)::bigint as deferred,
               coalesce(sum(failed), 0)::bigint as failed, coalesce(sum(deleted), 0)::bigint as deleted,
               coalesce(sum(filled), 0)::bigint as filled,
               max(last_settled_at) as last_settled_at,
               -- Unknown until every slice knows its own.
               case when count(*) = count(slices.total) and count(*) > 0 then sum(slices.total)::bigint end as total,
               sum(slices.upstream_total) filter (where kind = 'walk')::bigint as upstream_total,
               bool_and(whole) as whole
          from slices where slices.job_id = j.id) s
 cross join lateral (
        -- The counters of a resumed job's slices begin with what was carried; its pages do not.
        select coalesce(sum(pages), 0)::bigint as pages, coalesce(sum(pages_skipped), 0)::bigint as skipped,
               coalesce(sum(inserted + updated + unchanged + deferred + failed), 0)::bigint as records
          from carried where j.resumed_from is not null and carried.job_id = j.id) c
 where ($1::uuid is null or j.id = $1)
   and ($2::uuid is null or j.tenant_id = $2)
   and ($9::bytea is null
        or j.tenant_id = (select k.tenant_id from api_keys k
                           where k.hash = $9 and k.revoked_at is null
                             and k.last_used_at >= now() - interval '1 minute'))
   and ($3::uuid is null or j.connection_id = $3)
   and (cardinality($4::job_status[]) = 0 or j.status = any ($4))
   and ($5::timestamptz is null or ($8 and (j.created_at, j.id) > ($5, $6::uuid))
                                or (not $8 and (j.created_at, j.id) < ($5, $6::uuid)))
 order by case when $8::boolean then j.created_at end, case when $8 then j.id end, j.created_at desc, j.id desc
 limit $7
