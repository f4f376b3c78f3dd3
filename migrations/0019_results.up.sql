-- Results of a job are read from its page log, in pages, while it runs too: no row twice, and none left out.
--
-- For that a page must never appear before one that a reader has passed. Neither its number nor its time says so: pages
-- of different slices are committed in any order. Its transaction does: every transaction older than all that are under way
-- (pg_snapshot_xmin) has ended, so the pages of those come in the order of their transactions, and nothing can come
-- between. A reader of a job that is not over is given those pages alone. What it costs: pages show up once every older
-- writing transaction of the server has ended, which here are short.
--
-- After a dump is restored into another server the numbers mean nothing for jobs that still run: their results may show
-- up only when they are over.
alter table page_log add column settled_by bigint not null default (pg_current_xact_id()::text::bigint);
create index page_log_results on page_log (job_id, settled_by, slice, page);

-- An Idempotency-Key is a command's identity that holds for a day, and for one request only: a hash of that request.
alter table commands add column request bytea check (octet_length(request) = 32);
