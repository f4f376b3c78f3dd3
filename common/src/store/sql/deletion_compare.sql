-- A deletion's second stage: the connection's next records, and which of them the pass has not seen.
-- $1 job, $2 connection, $3 the external id after which to go on, $4 how many. Gives the last id (null at the end), and
-- the counts so far.
with next as materialized (
    select r.external_id, r.happened_at, r.deleted_at
      from records r
     where r.connection_id = $2 and r.external_id > $3 collate "C"
     order by r.external_id limit $4
), judged as materialized (
    select n.external_id, s.external_id is null and in_range(j, n.happened_at) as unseen
      from next n
      join jobs j on j.id = $1
      left join lateral (select external_id from seen
                          where seen.job_id = $1 and seen.external_id = n.external_id limit 1) s on true
     where n.deleted_at is null
), found as (
    insert into unseen (job_id, external_id) select $1, external_id from judged where unseen
), counted as (
    update deletions d
       set records = d.records + (select count(*) from judged),
           unseen = d.unseen + (select count(*) from judged where unseen)
     where d.job_id = $1
    returning records, unseen
)
select (select max(external_id) from next) as last, records as "records!", unseen as "unseen!" from counted
