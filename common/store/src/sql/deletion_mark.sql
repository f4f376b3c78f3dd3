-- The next records that a full sync did not meet: those that are proved gone are marked deleted, the others suspected, unless
-- somebody met them since the pass began. $1 job, $2 connection, $3 the external id after which to go on, $4 how many, $5 one
-- pass is enough. Gives the last id (null at the end), and which records were marked deleted.
with next as materialized (
    select u.external_id, u.fate, u.as_of from unseen u
     where u.job_id = $1 and u.external_id > $3 collate "C"
     order by u.external_id limit $4
), locked as materialized (
    -- In the order of the key, as a settle does.
    select n.external_id, n.fate, coalesce(n.as_of, j.started_at) as as_of
      from (select *, as_of is not null as by_id from next where fate in ('confirmed', 'suspected') order by external_id) n
      join jobs j on j.id = $1
     cross join lateral (select r.deleted_at, r.as_of, r.suspected_by from records r
                          where r.connection_id = $2 and r.external_id = n.external_id
                            for no key update) r
     where r.deleted_at is null and (r.as_of is null or r.as_of < coalesce(n.as_of, j.started_at))
       -- A record that was met since the comparison is suspected no more: also by an answer that was asked for before the pass.
       and case n.fate when 'confirmed' then n.by_id or $5 or r.suspected_by is not null
            else r.suspected_by is null
            or not exists (select from passes p where p.connection_id = $2 and p.stream = j.stream
                              and p.pass = r.suspected_by and p.scope = j.scope and p.ended_at is not null) end
), marked as (
    update records r set deleted_at = now(), as_of = l.as_of, suspected_by = null
      from locked l
     where l.fate = 'confirmed' and r.connection_id = $2 and r.external_id = l.external_id
    returning r.external_id
), suspected as (
    update records r set suspected_by = p.pass
      from locked l, passes p
     where l.fate = 'suspected' and r.connection_id = $2 and r.external_id = l.external_id and p.job_id = $1
), kept as (
    insert into warnings as w (job_id, slice, kind, count, text)
    -- What was to be asked for by its id, and was not, is unconfirmed.
    select $1, s.slice, k.kind, count(*), format('record %s was not met', min(n.external_id))
      from next n
      join slices s on s.job_id = $1 and s.kind = 'deletion'
     cross join lateral (
          select (case n.fate when 'asked' then 'unconfirmed' else n.fate::text end)::warning_kind as kind) k
     where n.fate <> 'confirmed'
     group by s.slice, k.kind
        on conflict (job_id, slice, kind) do update set count = w.count + excluded.count
)
select (select max(external_id) from next) as last,
       (select coalesce(array_agg(external_id order by external_id), '{}') from marked) as "deleted!"
