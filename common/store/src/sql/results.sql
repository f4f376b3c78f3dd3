-- Rows of results, in the order in which their pages were settled. $1 the jobs, the first one first, each of which but the
-- last was resumed by the next; $2 their connection; the place of the last row before: $3 job, $4 settled_by, $5 slice,
-- $6 page, $7 index (null: begin); $8 how many.
with chain as (
    select j.id, j.status in ('completed', 'failed', 'cancelled') as over, c.number
      from unnest($1::uuid[]) with ordinality c (id, number) join jobs j on j.id = c.id
), pages as (
    select c.number, p.*
      from chain c
     cross join lateral (
            -- Pages of whose records at least one may be among the rows.
            select * from (
                select p.*, sum(char_length(replace(p.outcomes, '-', ''))) over (order by p.settled_by, p.slice, p.page)
                            - char_length(replace(p.outcomes, '-', '')) as before
                  from (select p.job_id, p.settled_by, p.slice, p.page, p.keys, p.outcomes, p.reasons
                          from page_log p
                         where p.job_id = c.id and replace(p.outcomes, '-', '') <> ''
                           -- What a full sync deleted it has not met: pages of a deletion have nothing else. And what was
                           -- asked for by its id and is not there is no row.
                           and p.outcomes not like 'x%'
                           -- What no page can come before any more: see page_log in migrations/0001_schema.up.sql.
                           and (c.over or p.settled_by < pg_snapshot_xmin(pg_current_snapshot())::text::bigint)
                           and ($3::uuid is null or c.number > (select h.number from chain h where h.id = $3)
                                or (c.id = $3 and (p.settled_by, p.slice, p.page) >= ($4::bigint, $5::int, $6::int)))
                         order by p.settled_by, p.slice, p.page
                         limit $8) p) p
             where p.before < $8 + coalesce($7::int, -1) + 1) p
), rows as materialized (
    -- Cut to their number before any record is looked up.
    select p.number, p.job_id, p.settled_by, p.slice, p.page, k.ord - 1 as index, k.key, k.outcome,
           case when k.outcome = 'f' then
               p.reasons[char_length(left(p.outcomes, k.ord::int)) - char_length(replace(left(p.outcomes, k.ord::int), 'f', ''))]
           end as reason
      from pages p
     cross join lateral unnest(p.keys, string_to_array(p.outcomes, null)) with ordinality k (key, outcome, ord)
     where k.outcome <> '-'
       and ($3::uuid is null or p.job_id <> $3 or (p.settled_by, p.slice, p.page) <> ($4, $5, $6) or k.ord - 1 > $7)
     order by p.number, p.settled_by, p.slice, p.page, k.ord
     limit $8
)
select w.job_id as "job!: JobId", w.settled_by as "settled_by!", w.slice as "slice!", w.page as "page!",
       w.index::int as "index!", w.key as "key!", w.outcome as "outcome!", w.reason, r.payload::text as payload
  from rows w
  left join lateral (select r.payload from records r
                      where r.connection_id = $2 and r.external_id = w.key and w.outcome in ('+', '~', '=') limit 1) r on true
 order by w.number, w.settled_by, w.slice, w.page, w.index
