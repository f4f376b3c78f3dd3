-- What happened to a job is told with the state and the counters that it had then: an event that is published late must
-- not lie. They are written in the transaction of the transition. A refused start has neither, and no job to join, so
-- tenant and connection stand here too.
alter table job_events
    add column tenant_id uuid,
    add column connection_id uuid,
    add column status job_status,
    -- {"inserted", "updated", "unchanged", "deferred", "failed", "deleted", "total"}
    add column counters jsonb;
alter table job_events drop constraint if exists job_events_kind_check;
alter table job_events add constraint job_events_kind_check check (kind in
    ('accepted', 'rejected', 'started', 'cancelling', 'paused', 'unpaused', 'completed', 'failed', 'cancelled'));

-- One process at a time publishes events, so that those of a job leave in the order in which they were written, and
-- progress, which is not written down, cannot overtake an end. Whoever holds the row has until held_until; the holder
-- is a random token, so that a late one cannot give back what is not its any more. One row.
create table event_relay (
    one boolean primary key default true check (one),
    holder uuid not null default gen_random_uuid(),
    held_until timestamptz not null default '-infinity',
    -- When progress was last told.
    progressed_at timestamptz not null default '-infinity'
) with (fillfactor = 10);
insert into event_relay default values;
