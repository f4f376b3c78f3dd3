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
        "counters (+3 ~0 =0 d0 f0 x0) differ from the page log (+2 ~0 =0 d0 f0 x0)",
    ),
    (
        "update slices set inserted = 1, unchanged = 1 where job_id = $completed and slice = 1",
        "update slices set inserted = 2, unchanged = 0 where job_id = $completed and slice = 1",
        &[3],
        "counters (+1 ~0 =1 d0 f0 x0)",
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
    (
        "update slices set pages_skipped = 1 where job_id = $completed and slice = 0",
        "update slices set pages_skipped = 0 where job_id = $completed and slice = 0",
        &[3],
        "1 pages are counted as skipped, but the page log has 0",
    ),
    (
        "update carried set pages_skipped = 1 where job_id = $rest and slice = 0",
        "update carried set pages_skipped = 0 where job_id = $rest and slice = 0",
        &[3],
        "carries 1 skipped pages, but the slice that it resumes had come to 0",
    ),
    // A page that is missing altogether breaks both.
    (
        "create table kept as select * from page_log where job_id = $completed and slice = 0 and page = 1;
         delete from page_log where job_id = $completed and slice = 0 and page = 1",
        "insert into page_log select * from kept; drop table kept",
        &[2, 3],
        "record 0-b of connection",
    ),
    // 3: what a resumed job carries is what the job before had come to.
    (
        "update slices set inserted = inserted + 1 where job_id = $half and slice = 0",
        "update slices set inserted = inserted - 1 where job_id = $half and slice = 0",
        &[3],
        "counters (+3 ~0 =0 d0 f0 x0) differ from the page log (+1 ~0 =0 d0 f0 x0) on top of what was carried (+1 ~0 =0 d0 f0 x0)",
    ),
    (
        "update carried set pages = 1 where job_id = $rest and slice = 0",
        "update carried set pages = 2 where job_id = $rest and slice = 0",
        &[3],
        "carries 1 pages and (+2 ~0 =0 d0 f0 x0), but the slice that it resumes had come to 2 and (+2 ~0 =0 d0 f0 x0)",
    ),
    (
        "update carried set deleted = 7 where job_id = $rest and slice = 1",
        "update carried set deleted = 0 where job_id = $rest and slice = 1",
        &[3],
        "(+1 ~0 =0 d0 f0 x7), but the slice that it resumes had come to 1 and (+1 ~0 =0 d0 f0 x0)",
    ),
    (
        "update carried set inserted = 0, unchanged = 2 where job_id = $rest and slice = 0;
         update slices set inserted = 0, unchanged = 2 where job_id = $rest and slice = 0",
        "update carried set inserted = 2, unchanged = 0 where job_id = $rest and slice = 0;
         update slices set inserted = 2, unchanged = 0 where job_id = $rest and slice = 0",
        &[3],
        "carries 2 pages and (+0 ~0 =2 d0 f0 x0)",
    ),
    (
        "insert into carried select $completed, slice, pages, 0, 0, 0, 0, 0, 0, 0 from carried where job_id = $rest and slice = 0",
        "delete from carried where job_id = $completed",
        &[3],
        "had come to nothing: it is not there",
    ),
    (
        "create table kept as select * from carried where job_id = $rest and slice = 1;
         delete from carried where job_id = $rest and slice = 1;
         update slices set inserted = 0 where job_id = $rest and slice = 1",
        "update slices set inserted = 1 where job_id = $rest and slice = 1;
         insert into carried select * from kept; drop table kept",
        &[3],
        "slice 1: carries nothing, but the job resumes job",
    ),
    (
        "create table kept as select * from carried where job_id = $rest and slice = 1;
         create table whole as select * from slices where job_id = $rest and slice = 1;
         delete from slices where job_id = $rest and slice = 1",
        "insert into slices select * from whole; insert into carried select * from kept; drop table kept; drop table whole",
        &[3],
        "slice 1: missing, but the job resumes job",
    ),
    (
        "insert into slices (job_id, slice, tenant_id, connection_id, span_to)
         select id, 2, tenant_id, connection_id, now() from jobs where id = $rest",
        "delete from slices where job_id = $rest and slice = 2",
        &[3],
        "slice 2: of its own, but the job resumes job",
    ),
    (
        "update slices set status = 'queued', whole = null where job_id = $rest and slice = 1",
        "update slices set status = 'done', whole = true where job_id = $rest and slice = 1",
        &[3],
        "slice 1: queued, though it was done, but the job resumes job",
    ),
    (
        "update jobs set resumed_from = $failed where id = $pending",
        "update jobs set resumed_from = null where id = $pending",
        &[3],
        "which is of another connection",
    ),
    (
        "update jobs set status = 'completed', started_at = now(), finished_at = now(), cancel_requested_at = null,
                         pages_at_fence = null where id = $half;
         update slices set status = 'done', whole = true where job_id in ($half, $rest)",
        "update slices set status = case slice when 1 then 'done' else 'queued' end::slice_status, whole = case slice when 1 then true end where job_id = $rest;
         update slices set status = case slice when 1 then 'done' else 'cancelled' end::slice_status, whole = case slice when 1 then true end where job_id = $half;
         update jobs set status = 'cancelled', cancel_requested_at = now(), pages_at_fence = 1 where id = $half",
        &[3],
        "which is completed",
    ),
    // 3: a deletion is counted, comes last, and keeps to its range.
    (
        "update slices set deleted = 2 where job_id = $full and kind = 'deletion'",
        "update slices set deleted = 1 where job_id = $full and kind = 'deletion'",
        &[3],
        "counters (+0 ~0 =0 d0 f0 x2) differ from the page log (+0 ~0 =0 d0 f0 x1)",
    ),
    (
        "update records set deleted_at = now() where external_id = '0-a'",
        "update records set deleted_at = null where external_id = '0-a'",
        &[3],
        "deleted, but by no page of a full sync",
    ),
    (
        "update records set happened_at = '2025-01-03' where external_id = 'f-b'",
        "update records set happened_at = '2025-01-01' where external_id = 'f-b'",
        &[3],
        "deleted, but by no page of a full sync that had it in its range",
    ),
    (
        "update slices set status = 'failed', whole = null where job_id = $full and slice = 0",
        "update slices set status = 'done', whole = true where job_id = $full and slice = 0",
        &[3, 5],
        "deletes, but the walk is not complete",
    ),
    (
        "update slices set failed = 1, unchanged = 0 where job_id = $full and slice = 0;
         update page_log set outcomes = 'f', reasons = '{odd}' where job_id = $full and slice = 0",
        "update slices set failed = 0, unchanged = 1 where job_id = $full and slice = 0;
         update page_log set outcomes = '=', reasons = '{}' where job_id = $full and slice = 0",
        &[3],
        "deletes, but the walk has a gap: 1 records could not be read",
    ),
    (
        "update jobs set mode = 'range' where id = $full",
        "update jobs set mode = 'full' where id = $full",
        &[3],
        "deletes, but the job is range",
    ),
    (
        "update jobs set mode = 'full' where id = $completed",
        "update jobs set mode = 'range' where id = $completed",
        &[3],
        "a completed full sync that has neither deleted nor says why",
    ),
    (
        "update page_log set outcomes = 'x' where job_id = $completed and slice = 1 and page = 1",
        "update page_log set outcomes = '+' where job_id = $completed and slice = 1 and page = 1",
        &[3],
        "deletes, but is of the walk",
    ),
    // 3: documents, and filled values.
    (
        "delete from documents where job_id = $documents and place = 1",
        "insert into documents (job_id, place, id) select $documents, 1, 'd-b'",
        &[3],
        "over 2 documents, but it has 1 ids",
    ),
    (
        "update documents set place = 7 where job_id = $documents and place = 1",
        "update documents set place = 1 where job_id = $documents and place = 7",
        &[3],
        "over 2 documents, but it has 2 ids",
    ),
    (
        "update slices set ids_to = 3 where job_id = $documents",
        "update slices set ids_to = 2 where job_id = $documents",
        &[3],
        "but its slices are over 3",
    ),
    (
        "delete from documents where job_id = $documents and place = 1;
         update jobs set documents = 1 where id = $documents;
         update slices set ids_to = 1 where job_id = $documents",
        "insert into documents (job_id, place, id) select $documents, 1, 'd-b';
         update jobs set documents = 2 where id = $documents;
         update slices set ids_to = 2 where job_id = $documents",
        &[3],
        "done with 2 of 1 documents",
    ),
    (
        "update page_log set filled = 1 where job_id = $completed and slice = 0 and page = 0",
        "update page_log set filled = 0 where job_id = $completed and slice = 0 and page = 0",
        &[3],
        "0 filled values differ from the page log's 1",
    ),
    (
        "update carried set filled = 2 where job_id = $rest and slice = 0;
         update slices set filled = 2 where job_id = $rest and slice = 0",
        "update carried set filled = 0 where job_id = $rest and slice = 0;
         update slices set filled = 0 where job_id = $rest and slice = 0",
        &[3],
        "carries 2 filled values, but the slice that it resumes had 0",
    ),
    // 4: one active job per connection, nothing after the fence.
    (
        "drop index jobs_one_active;
         insert into jobs (id, tenant_id, connection_id, date_to, name)
         select gen_random_uuid(), tenant_id, connection_id, now(), 'second' from jobs where id = $running",
        "delete from jobs where name = 'second';
         create unique index jobs_one_active on jobs (connection_id)
             where status in ('pending', 'running') and documents is null",
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
        "update slices set status = 'queued', whole = null where job_id = $failed and slice = 0",
        "update slices set status = 'failed', whole = null where job_id = $failed and slice = 0",
        &[5],
        "queued, unleased, but the job is failed",
    ),
    (
        "update slices set status = 'ready', whole = null where job_id = $cancelled and slice = 0",
        "update slices set status = 'cancelled', whole = null where job_id = $cancelled and slice = 0",
        &[5],
        "ready, unleased, but the job is cancelled",
    ),
    (
        "update slices set status = 'waiting', whole = null, not_before = now() where job_id = $completed and slice = 0",
        "update slices set status = 'done', whole = true, not_before = null where job_id = $completed and slice = 0",
        &[5],
        "waiting, unleased, but the job is completed",
    ),
    (
        "update slices set status = 'failed', whole = null where job_id = $completed and slice = 0",
        "update slices set status = 'done', whole = true where job_id = $completed and slice = 0",
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
        "update slices set status = 'queued', whole = null, lease_token = null, leased_ring = null, worker = null, leased_until = null
          where job_id = $cancelling and slice = 0",
        "update slices set status = 'cancelled', whole = null where job_id = $cancelling and slice = 0",
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
    (
        "update slices set status = 'ready', whole = null, rung_at = now(), rung_marker = 0 where job_id = $rest and slice = 0",
        "update slices set status = 'queued', whole = null where job_id = $rest and slice = 0",
        &[5],
        "open, but the job is pending",
    ),
    (
        "update connections set deleted_at = now() where name = 'running'",
        "update connections set deleted_at = null where name = 'running'",
        &[5],
        "running, but its connection is deleted",
    ),
    // 7: what is called whole has no doubt; what is suspected has a pass; what is warned of is there.
    (
        "update slices set walk = '{\"doubt\": \"page 3 was skipped\"}' where job_id = $completed and slice = 0",
        "update slices set walk = '{}' where job_id = $completed and slice = 0",
        &[7],
        "called whole, though page 3 was skipped",
    ),
    (
        "update records set suspected_by = 77 where external_id = '0-a'",
        "update records set suspected_by = null where external_id = '0-a'",
        &[7],
        "suspected by pass 77, which there is not",
    ),
    (
        "update slices set walk = '{\"smallest_total\": 50}', distinct_met = 2 where job_id = $completed and slice = 0",
        "update slices set walk = '{}', distinct_met = null where job_id = $completed and slice = 0",
        &[7],
        "completed, though 48 of 50 records are missing",
    ),
    (
        "insert into warnings values ($completed, 99, 'failed', 1, 'x')",
        "delete from warnings where slice = 99",
        &[7],
        "warns of failed, and is not there",
    ),
];
