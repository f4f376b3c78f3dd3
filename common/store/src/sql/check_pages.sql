-- Pages of a job's walks, in their order, for its check: the pages of the walks that its slices ended with, those of the jobs
-- that it resumes included. $1 job, $2 and $3 the slice and the page to begin with, $4 how many records they may have together
-- (but for the first two). Pages are numbered through all jobs of the chain.
with recursive chain as (
    select id, resumed_from, 0 as back from jobs where id = $1
    union all
    select j.id, j.resumed_from, c.back + 1 from chain c join jobs j on j.id = c.resumed_from
), walks as materialized (
    -- Where each slice's last walk began.
    select s.slice, coalesce(c.pages, 0) + coalesce((s.walk ->> 'first_page')::int, 0) as first_page
      from slices s left join carried c on c.job_id = s.job_id and c.slice = s.slice
     where s.job_id = $1 and s.kind = 'walk' and s.slice >= $2
), pages as (
    select w.slice, coalesce(c.pages, 0) + p.page as page, p.keys, p.outside, p.outcomes, p.reasons, p.times, p.settled_at
      from walks w
     cross join chain
      left join carried c on c.job_id = chain.id and c.slice = w.slice
      join page_log p on p.job_id = chain.id and p.slice = w.slice
     where coalesce(c.pages, 0) + p.page >= w.first_page
       and (w.slice > $2 or coalesce(c.pages, 0) + p.page >= $3)
     order by 1, 2 limit 200
), measured as (
    select p.*, sum(cardinality(p.keys) + cardinality(p.outside)) over (order by p.slice, p.page) as so_far,
           row_number() over (order by p.slice, p.page) as nth
      from pages p
)
select slice as "slice!", page as "page!: i64", keys as "keys!", outside as "outside!", outcomes as "outcomes!",
       reasons as "reasons!", times as "times!: Vec<Option<DateTime<Utc>>>", settled_at as "settled_at!"
  from measured where nth <= 2 or so_far <= $4
 order by slice, page
