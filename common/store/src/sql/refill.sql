-- Refill: rings slices that wait for their tenants' turn, up to each tenant's limit. Run after a commit, idempotent, and
-- a small overshoot (two processes counting at once) is fine. Not of a connection's own limit: its slices are rung by a
-- second run, after a statement that locks these connections.
-- $1 tenants, $2 the time in ms after which a connection that was paused may ring twice as many slices, $3 whether
-- connections with a limit of their own are meant, or those without.
with room as materialized (
    select t.id as tenant,
           greatest(0, t.max_slices - (select count(*) from slices s where s.tenant_id = t.id and s.status = 'ready')) as n
      from tenants t where t.id = any ($1)
), sources as materialized (
    -- After a pause a connection ramps up: 1, 2, 4 … slices, by the time since the pause ended.
    select r.tenant, c.id,
           case when c.paused_until > now() then 0
                when c.paused_until > now() - 14 * $2::float8 * interval '1 ms' then greatest(0,
                    power(2, floor(extract(epoch from now() - c.paused_until) * 1000 / greatest($2::float8, 1)))::bigint
                    - (select count(*) from slices s where s.tenant_id = r.tenant and s.connection_id = c.id and s.status = 'ready'))
                else r.n
           end as most,
           case when $3 then c.max_pages_in_flight
               - (select count(*) from slices s where s.tenant_id = r.tenant and s.connection_id = c.id and s.status = 'ready')
           end as free
      from room r
     cross join lateral (
           select c.* from connections c
            where c.tenant_id = r.tenant and c.deleted_at is null and (c.max_pages_in_flight is not null) = $3
              and r.n > 0
              and exists (select from slices s where s.connection_id = c.id and s.status in ('queued', 'waiting'))
           offset 0) c
), picked as materialized (
    select p.job_id, p.slice
      from room r
     cross join lateral (
            select q.job_id, q.slice
              from sources o
             cross join lateral (
                    select s.job_id, s.slice
                      from slices s join jobs j on j.id = s.job_id
                     where s.connection_id = o.id
                       and (s.status = 'queued' or (s.status = 'waiting' and s.not_before <= now()))
                       and j.status = 'running' and not j.paused
                     order by s.slice
                     limit least(o.most, r.n, greatest(0, coalesce(o.free, o.most)))
                       for update of s skip locked) q
             where o.tenant = r.tenant
             order by q.slice
             limit r.n) p
), rung as (
    update slices s set status = 'ready', not_before = null, ring = s.ring + 1, rung_at = now(),
           rung_marker = (select published from markers)
      from picked p
     where s.job_id = p.job_id and s.slice = p.slice
    returning s.job_id, s.slice, s.page, s.ring
)
select r.job_id as "job?: JobId", r.slice as "slice?", r.page as "page?", r.ring as "ring?", l.limited as "limited!"
  from (select exists (select from connections c
                        where c.tenant_id = any ($1) and c.deleted_at is null and c.max_pages_in_flight is not null) as limited) l
  left join rung r on true
