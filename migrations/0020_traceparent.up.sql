-- The trace (W3C, header traceparent) of the command that a job obeys: of its start, then of its cancel. Everything that
-- is published for the command carries it. An event keeps the one that it was written under, since it may be published
-- after the next command has come.
alter table jobs add column traceparent text check (octet_length(traceparent) <= 255);
alter table job_events add column traceparent text;
