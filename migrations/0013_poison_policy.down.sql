create or replace function coverage(job jobs) returns timestamptz
language sql stable as $$
    select case
               when job.date_from is null or job.date_from <= before.covered_to
                   then least(greatest(before.covered_to, least(own.newest_at, now())), own.oldest_deferred_at)
               else before.covered_to
           end
      from (select max(newest_at) as newest_at, min(oldest_deferred_at) as oldest_deferred_at
              from slices where job_id = job.id) own
      left join lateral (
            select j.covered_to from jobs j
             where j.connection_id = job.connection_id and j.status = 'completed' and j.id <> job.id
             order by j.created_at desc, j.id desc limit 1) before on true
$$;
drop function pages_skipped(uuid);
alter table carried drop column pages_skipped;
alter table slices drop column pages_skipped, drop column failing_since;
drop index page_log_skipped;
alter table page_log drop column skipped;
alter table connections drop column on_poison_page;
drop type poison_policy;
