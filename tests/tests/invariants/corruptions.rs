//! Each kind of corruption, and how it is undone.

/// What is done to the data, how it is undone, which invariants are broken then, and what must be said of it.
pub(crate) type Corruption = (&'static str, &'static str, &'static [u8], &'static str);

pub(crate) const CORRUPTIONS: &[Corruption] = &[
    // 2: a page log without gaps.
    (
        "update page_log set page = 4 where job_id = $completed and slice = 0 and page = 1",
        "update page_log set page = 1 where job_id = $completed and slice = 0 and page = 4",
        &[2],
        "at page 2, but the page log has 2 pages, the last one 4",
    ),
    (
        "update slices set page = 3 where job_id = $completed and slice = 0",
        "update slices set page = 2 where job_id = $completed and slice = 0",
        &[2],
        "at page 3, but the page log has 2 pages",
    ),
    (
        "insert into page_log (job_id, slice, page, keys, outcomes, worker) values ($completed, 9, 0, '{}', '', $running)",
        "delete from page_log where slice = 9",
        &[2],
        "names a slice that does not exist",
    ),
    // 3: counters, page log and records agree.
    (
        "update slices set inserted = inserted + 1 where job_id = $completed and slice = 1",
        "update slices set inserted = inserted - 1 where job_id = $completed and slice = 1",
        &[3],
        "counters (+3 ~0 =0 d0 f0) differ from the page log (+2 ~0 =0 d0 f0)",
    ),
    (
        "update slices set inserted = 1, unchanged = 1 where job_id = $completed and slice = 1",
        "update slices set inserted = 2, unchanged = 0 where job_id = $completed and slice = 1",
        &[3],
        "counters (+1 ~0 =1 d0 f0)",
    ),
    (
        "update page_log set outcomes = '?' where job_id = $completed and slice = 1 and page = 1",
        "update page_log set outcomes = '+' where job_id = $completed and slice = 1 and page = 1",
        &[3],
        "record 1-b of connection",
    ),
    (
        "insert into records (connection_id, external_id, hash, payload, job_id)
         select connection_id, 'stranger', '', '{}', id from jobs where id = $completed",
        "delete from records where external_id = 'stranger'",
        &[3],
        "record stranger of connection",
    ),
    (
        "update records set job_id = $cancelled where external_id = '0-a'",
        "update records set job_id = $completed where external_id = '0-a'",
        &[3],
        "record 0-a of connection",
    ),
    // A page that is missing altogether breaks both.
    (
        "create table kept as select * from page_log where job_id = $completed and slice = 0 and page = 1;
         delete from page_log where job_id = $completed and slice = 0 and page = 1",
        "insert into page_log select * from kept; drop table kept",
        &[2, 3],
        "record 0-b of connection",
    ),
    // 4: one active job per connection, nothing after the fence.
    (
        "drop index jobs_one_active;
         insert into jobs (id, tenant_id, connection_id, date_to, name)
         select gen_random_uuid(), tenant_id, connection_id, now(), 'second' from jobs where id = $running",
        "delete from jobs where name = 'second';
         create unique index jobs_one_active on jobs (connection_id) where status in ('pending', 'running')",
        &[4],
        "2 active jobs",
    ),
    (
        "insert into page_log (job_id, slice, page, keys, outcomes, worker) values ($cancelled, 0, 1, '{}', '', $running);
         update slices set page = 2 where job_id = $cancelled and slice = 0",
        "delete from page_log where job_id = $cancelled and slice = 0 and page = 1;
         update slices set page = 1 where job_id = $cancelled and slice = 0",
        &[4],
        "fenced at 2 pages, but the page log has 3",
    ),
    (
        "update jobs set pages_at_fence = 1 where id = $cancelling",
        "update jobs set pages_at_fence = 0 where id = $cancelling",
        &[4],
        "fenced at 1 pages, but the page log has 0",
    ),
    // 5: what is over has nothing open and nothing leased.
    (
        "update slices set status = 'queued' where job_id = $failed and slice = 0",
        "update slices set status = 'failed' where job_id = $failed and slice = 0",
        &[5],
        "queued, unleased, but the job is failed",
    ),
    (
        "update slices set status = 'ready' where job_id = $cancelled and slice = 0",
        "update slices set status = 'cancelled' where job_id = $cancelled and slice = 0",
        &[5],
        "ready, unleased, but the job is cancelled",
    ),
    (
        "update slices set status = 'waiting', not_before = now() where job_id = $completed and slice = 0",
        "update slices set status = 'done', not_before = null where job_id = $completed and slice = 0",
        &[5],
        "waiting, unleased, but the job is completed",
    ),
    (
        "update slices set status = 'failed' where job_id = $completed and slice = 0",
        "update slices set status = 'done' where job_id = $completed and slice = 0",
        &[5],
        "failed, but the job is completed",
    ),
    (
        "update slices set lease_token = job_id, leased_ring = 1, worker = job_id, leased_until = now()
          where job_id = $cancelled and slice = 0",
        "update slices set lease_token = null, leased_ring = null, worker = null, leased_until = null
          where job_id = $cancelled and slice = 0",
        &[5],
        "cancelled, leased, but the job is cancelled",
    ),
    (
        "do $$ begin execute (select format('alter table slices drop constraint %I', conname) from pg_constraint
                              where pg_get_constraintdef(oid) like '%lease_token IS NULL) OR%'); end $$;
         update slices set lease_token = job_id, leased_ring = 1, worker = job_id, leased_until = now()
          where job_id = $completed and slice = 0",
        "update slices set lease_token = null, leased_ring = null, worker = null, leased_until = null
          where job_id = $completed and slice = 0;
         alter table slices add check (lease_token is null or status in ('ready', 'cancelled'))",
        &[5],
        "done, leased, but the job is completed",
    ),
    (
        "update slices set status = 'queued', lease_token = null, leased_ring = null, worker = null, leased_until = null
          where job_id = $cancelling and slice = 0",
        "update slices set status = 'cancelled' where job_id = $cancelling and slice = 0",
        &[5],
        "open, but the job is cancelling",
    ),
    (
        "insert into slices (job_id, slice, tenant_id, connection_id, span_to)
         select id, 0, tenant_id, connection_id, now() from jobs where id = $pending",
        "delete from slices where job_id = $pending",
        &[5],
        "open, but the job is pending",
    ),
];
