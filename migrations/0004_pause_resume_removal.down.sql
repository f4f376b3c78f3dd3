-- What was paused goes on, and what was resumed stands for itself: its counters then say more than its page log.
alter table job_events drop constraint job_events_kind_check;
delete from job_events where kind in ('paused', 'unpaused');
alter table job_events
    add constraint job_events_kind_check check (kind in ('accepted', 'rejected', 'started', 'cancelling', 'completed',
                                                         'failed', 'cancelled'));
update jobs set paused = false where paused;
alter table jobs drop constraint jobs_paused_while_active, drop column unpaused_at, drop column resumed_from;
drop index connections_deleted;

create or replace function broken_invariants() returns table (invariant int, subject text, problem text)
language sql stable as $$
    -- 2: a page log without gaps, up to each slice's page.
    select 2, format('job %s slice %s', s.job_id, s.slice),
           format('at page %s, but the page log has %s pages, the last one %s', s.page, count(p.page), max(p.page))
      from slices s left join page_log p on p.job_id = s.job_id and p.slice = s.slice
     group by s.job_id, s.slice, s.page
    having count(p.page) <> s.page or (s.page > 0 and (min(p.page) <> 0 or max(p.page) <> s.page - 1))
    union all
    select 2, format('job %s slice %s page %s', p.job_id, p.slice, p.page), 'the page log names a slice that does not exist'
      from page_log p where not exists (select from slices s where s.job_id = p.job_id and s.slice = p.slice)
    union all
    -- 3: counters equal the page log.
    select 3, format('job %s slice %s', s.job_id, s.slice),
           format('counters (+%s ~%s =%s d%s f%s) differ from the page log (+%s ~%s =%s d%s f%s)', s.inserted, s.updated,
                  s.unchanged, s.deferred, s.failed, l.inserted, l.updated, l.unchanged, l.deferred, l.failed)
      from slices s
     cross join lateral (
            select coalesce(sum(cardinality(p.keys)), 0) as records,
                   coalesce(sum(char_length(p.outcomes) - char_length(replace(p.outcomes, '+', ''))), 0) as inserted,
                   coalesce(sum(char_length(p.outcomes) - char_length(replace(p.outcomes, '~', ''))), 0) as updated,
                   coalesce(sum(char_length(p.outcomes) - char_length(replace(p.outcomes, '=', ''))), 0) as unchanged,
                   coalesce(sum(char_length(p.outcomes) - char_length(replace(p.outcomes, 'd', ''))), 0) as deferred,
                   coalesce(sum(char_length(p.outcomes) - char_length(replace(p.outcomes, 'f', ''))), 0) as failed
              from page_log p where p.job_id = s.job_id and p.slice = s.slice) l
     where (s.inserted, s.updated, s.unchanged, s.deferred, s.failed)
           is distinct from (l.inserted, l.updated, l.unchanged, l.deferred, l.failed)
        or l.records <> l.inserted + l.updated + l.unchanged + l.deferred + l.failed
    union all
    -- 3: every record is in the page log of the job that wrote it.
    select 3, format('record %s of connection %s', r.external_id, r.connection_id),
           format('not written by any page of job %s', r.job_id)
      from records r
      left join (select distinct p.job_id, k.key
                   from page_log p
                  cross join lateral unnest(p.keys, string_to_array(p.outcomes, null)) as k(key, outcome)
                  where k.outcome in ('+', '~')) w
        on w.job_id = r.job_id and w.key = r.external_id
     where w.key is null
    union all
    -- 4: one active job per connection, and no page after the fence of a cancel.
    select 4, format('connection %s', connection_id), format('%s active jobs', count(*))
      from jobs where status in ('pending', 'running') group by connection_id having count(*) > 1
    union all
    select 4, format('job %s', j.id),
           format('fenced at %s pages, but the page log has %s', j.pages_at_fence, count(p.page))
      from jobs j left join page_log p on p.job_id = j.id
     where j.pages_at_fence is not null group by j.id having count(p.page) <> j.pages_at_fence
    union all
    -- 5: a job that is over has no open slice and no lease.
    select 5, format('job %s slice %s', s.job_id, s.slice),
           format('%s, %s, but the job is %s', s.status,
                  case when s.lease_token is null then 'unleased' else 'leased' end, j.status)
      from slices s join jobs j on j.id = s.job_id
     where j.status in ('completed', 'failed', 'cancelled')
       and (s.status in ('queued', 'ready', 'waiting') or s.lease_token is not null)
    union all
    select 5, format('job %s slice %s', s.job_id, s.slice), format('%s, but the job is completed', s.status)
      from slices s join jobs j on j.id = s.job_id
     where j.status = 'completed' and s.status <> 'done'
    union all
    select 5, format('job %s slice %s', s.job_id, s.slice), format('open, but the job is %s', j.status)
      from slices s join jobs j on j.id = s.job_id
     where j.status in ('pending', 'cancelling') and s.status in ('queued', 'ready', 'waiting')
$$;

drop table carried;
