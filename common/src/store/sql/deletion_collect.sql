-- A deletion's first stage: what the pass has seen, out of its page log, some pages of it at a time.
-- $1 job, $2 and $3 the slice and page after which to go on, $4 how many records the pages may have together (but for the
-- first, which may have more by itself). Gives the last page that was taken; nulls if there is none.
with candidates as materialized (
    select p.slice, p.page, p.keys,
           sum(cardinality(p.keys)) over (order by p.slice, p.page) - cardinality(p.keys) as before
      from (select * from page_log p
             where p.job_id = $1 and (p.slice, p.page) > ($2, $3)
               and p.slice <> (select d.slice from slices d where d.job_id = $1 and d.deletion)
             order by p.slice, p.page limit least($4::bigint, 1000)) p
), taken as materialized (
    select slice, page, keys, before from candidates where before = 0 or before + cardinality(keys) <= $4
), collected as (
    -- A record whose id cannot be read has none.
    insert into seen (job_id, external_id)
    select distinct $1::uuid, k.key from taken cross join lateral unnest(taken.keys) as k (key) where k.key <> ''
        on conflict do nothing
)
select max(slice) as slice, (array_agg(page order by slice desc, page desc))[1] as page from taken
