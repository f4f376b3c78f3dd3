-- One page: upsert what is new or changed, count, move the cursor, and say whether the job is cancelled.
-- $1 job, $2 connection, $3 keys, $4 hashes, $5 payloads, $6 next cursor.
with input as materialized (
    select * from unnest($3::text[], $4::bytea[], $5::text[]) as i (key, hash, payload)
), changed as materialized (
    select i.key, i.hash, i.payload
      from input i
      left join lateral (
          select r.hash from records r where r.connection_id = $2 and r.external_id = i.key limit 1) r on true
     where r.hash is distinct from i.hash
), written as (
    insert into records as r (connection_id, external_id, hash, payload)
    select $2, c.key, c.hash, c.payload::jsonb from changed c order by c.key collate "C"
        on conflict (connection_id, external_id) do update
       set hash = excluded.hash, payload = excluded.payload, updated_at = now()
     where r.hash is distinct from excluded.hash
    returning r.xmax = 0 as is_new
), tally as (
    select count(*) filter (where is_new) as inserted, count(*) filter (where not is_new) as updated from written
)
update jobs j set
       page = j.page + 1, cursor = $6, inserted = j.inserted + t.inserted, updated = j.updated + t.updated,
       unchanged = j.unchanged + cardinality($3) - t.inserted - t.updated, last_activity = now()
  from tally t
 where j.id = $1
returning j.cancelled
