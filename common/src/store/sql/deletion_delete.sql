-- A deletion's third stage: the next records that the pass has not seen are marked, unless any job has seen them since the
-- pass began. $1 job, $2 connection, $3 the external id after which to go on, $4 how many. Gives the last id (null at
-- the end), and which records were marked.
with next as materialized (
    select u.external_id from unseen u
     where u.job_id = $1 and u.external_id > $3 collate "C"
     order by u.external_id limit $4
), seen_elsewhere as materialized (
    -- A connection has one active job; those that may run beside it ask for a few records by name.
    select distinct k.key
      from jobs j
      join jobs o on o.connection_id = $2 and o.id <> $1 and (o.finished_at is null or o.finished_at >= j.started_at)
      join page_log p on p.job_id = o.id and p.settled_at >= j.started_at
     cross join lateral unnest(p.keys) as k (key)
     where j.id = $1
), locked as materialized (
    -- In the order of the key, as a settle does. What was written since the pass began is spared.
    select r.external_id
      from (select n.external_id from next n
             where not exists (select from seen_elsewhere e where e.key = n.external_id)
             order by n.external_id) n
     cross join lateral (select r.external_id, r.deleted_at, r.updated_at from records r
                          where r.connection_id = $2 and r.external_id = n.external_id
                            for no key update) r
      join jobs j on j.id = $1
     where r.deleted_at is null and r.updated_at < j.started_at
), marked as (
    update records r set deleted_at = now()
      from locked l
     where r.connection_id = $2 and r.external_id = l.external_id
    returning r.external_id
)
select (select max(external_id) from next) as last,
       (select coalesce(array_agg(external_id order by external_id), '{}') from marked) as "deleted!"
