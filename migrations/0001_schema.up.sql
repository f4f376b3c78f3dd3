-- The truth. A message only says that there is something to look at here.
--
-- Rules that every statement keeps (README, "Locks"): locks are taken in the order connection → job → slice → records;
-- a statement that waits for a lock sees the *other* tables as they were before the wait, so whoever must see what a
-- lock's former holder wrote takes the lock first and looks in a later statement; now() is the only clock.

create type job_status as enum ('pending', 'running', 'cancelling', 'completed', 'failed', 'cancelled');
create type job_mode as enum ('range');
create type slice_status as enum ('queued', 'ready', 'waiting', 'done', 'cancelled', 'failed');

create table tenants (
    id uuid primary key,
    name text not null unique check (name <> ''),
    -- How many slices of the tenant are rung at a time; the rest waits in Postgres, so that a tenant with ten thousand
    -- slices delays another by no more than this.
    max_slices int not null default 16 check (max_slices between 1 and 10000),
    created_at timestamptz not null default now()
);

create table api_keys (
    id uuid primary key,
    tenant_id uuid not null references tenants,
    name text not null check (name <> ''),
    -- Only a hash is kept; the prefix lets a person recognise a key without revealing it.
    hash bytea not null unique check (octet_length(hash) = 32),
    prefix text not null,
    created_at timestamptz not null default now(),
    last_used_at timestamptz,
    revoked_at timestamptz
);

create table connections (
    id uuid primary key,
    tenant_id uuid not null references tenants,
    name text not null check (name <> ''),
    source text not null,
    base_url text not null,
    credentials jsonb not null default '{}',
    settings jsonb not null default '{}',
    -- Set by a 429: no page of the connection is claimed until then, by any process. It stays after the pause, since
    -- the number of slices that may be rung grows with the time that has passed since.
    paused_until timestamptz,
    -- How many pauses without a Retry-After came in a row; they grow.
    pause_streak int not null default 0 check (pause_streak >= 0),
    created_at timestamptz not null default now(),
    deleted_at timestamptz
);
create unique index connections_name on connections (tenant_id, name) where deleted_at is null;

create table jobs (
    id uuid primary key,
    tenant_id uuid not null references tenants,
    connection_id uuid not null references connections,
    status job_status not null default 'pending',
    paused boolean not null default false,
    mode job_mode not null default 'range',
    date_from timestamptz,
    date_to timestamptz not null,
    name text check (char_length(name) <= 200),
    requested_by text,
    -- {"cause", "slice", "page", "body"}: body is the first KiB of the upstream's answer.
    error jsonb,
    created_at timestamptz not null default now(),
    -- When the start command of this row was confirmed by the broker. Until then the row is its own outbox.
    start_confirmed_at timestamptz,
    started_at timestamptz,
    cancel_requested_at timestamptz,
    cancel_reason text,
    cancel_requested_by text,
    -- How many pages were settled when the cancel closed the last slice: no page may follow.
    pages_at_fence bigint check (pages_at_fence >= 0),
    finished_at timestamptz,
    check (date_from < date_to),
    check ((finished_at is not null) = (status in ('completed', 'failed', 'cancelled'))),
    check (started_at is not null or status not in ('running', 'completed')),
    check ((cancel_requested_at is not null) = (status in ('cancelling', 'cancelled'))),
    check ((pages_at_fence is not null) = (status in ('cancelling', 'cancelled'))),
    check ((error is not null) = (status = 'failed'))
) with (fillfactor = 70);
-- One active job per connection. A cancelling job is outside: its fence already holds.
create unique index jobs_one_active on jobs (connection_id) where status in ('pending', 'running');
create index jobs_unfinished on jobs (status, created_at) where status in ('pending', 'running', 'cancelling');
create index jobs_of_tenant on jobs (tenant_id, created_at desc, id desc);
create index jobs_of_connection on jobs (connection_id, created_at desc, id desc);

-- A slice's row is its checkpoint, its lease and its counters at once. It is written by every page, so no index (and
-- no condition of a partial index) is on a column that a settle changes, and fillfactor leaves room on the page: nearly
-- all updates are then heap-only.
create table slices (
    job_id uuid not null references jobs,
    slice int not null check (slice >= 0),
    tenant_id uuid not null,
    connection_id uuid not null,
    span_from timestamptz,
    span_to timestamptz not null,
    status slice_status not null default 'queued',
    -- The page to be settled next; also how many were settled.
    page int not null default 0 check (page >= 0),
    cursor text,
    -- A cursor seen earlier, renewed at every page number that is a power of two (Brent): meeting it again is a loop.
    anchor text,
    -- How many records the upstream says there are; null while it does not say.
    total bigint check (total >= 0),
    ring int not null default 0 check (ring >= 0),
    rung_at timestamptz,
    rung_marker bigint,
    lease_token uuid,
    leased_ring int,
    worker uuid,
    leased_until timestamptz,
    -- The workers that died while they held the current page.
    charges uuid[] not null default '{}',
    -- Failed attempts at the current page.
    attempts int not null default 0 check (attempts >= 0),
    not_before timestamptz,
    last_error text,
    inserted bigint not null default 0 check (inserted >= 0),
    updated bigint not null default 0 check (updated >= 0),
    unchanged bigint not null default 0 check (unchanged >= 0),
    deferred bigint not null default 0 check (deferred >= 0),
    failed bigint not null default 0 check (failed >= 0),
    deleted bigint not null default 0 check (deleted >= 0),
    last_settled_at timestamptz,
    primary key (job_id, slice),
    check (span_from < span_to),
    -- A lease is whole or not there, and only an open, rung slice or one closed by a cancel may have one.
    check (num_nulls(lease_token, leased_ring, worker, leased_until) in (0, 4)),
    check (lease_token is null or status in ('ready', 'cancelled')),
    check ((not_before is not null) = (status = 'waiting')),
    check (status <> 'ready' or (rung_at is not null and rung_marker is not null))
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
create index slices_wanting on slices (connection_id, slice) where status in ('queued', 'waiting');
create index slices_ready on slices (tenant_id) where status = 'ready';
create index slices_open on slices (job_id) where status in ('queued', 'ready', 'waiting');

-- Partitioned from the start, so that a connection's records can move to another server. No foreign keys: they would
-- lock the connection or the job after the slice.
create table records (
    connection_id uuid not null,
    external_id text collate "C" not null,
    hash bytea not null,
    payload jsonb not null,
    -- 1 when inserted, one more at every change.
    revision int not null default 1,
    -- The job that wrote this content.
    job_id uuid not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz,
    primary key (connection_id, external_id)
) partition by hash (connection_id);
do $$ begin
    for remainder in 0..7 loop
        execute format('create table records_%s partition of records for values with (modulus 8, remainder %s)',
                       remainder, remainder);
    end loop;
end $$;

-- One row per settled page: the ledger behind the counters, and the index of a job's results.
create table page_log (
    job_id uuid not null,
    slice int not null,
    page int not null,
    -- The records in the order of the page; '' where a record has no id.
    keys text[] not null,
    -- One character per record: + inserted, ~ updated, = unchanged, d deferred, f failed.
    outcomes text not null,
    -- Why each failed record failed, in their order.
    reasons text[] not null default '{}',
    worker uuid not null,
    settled_at timestamptz not null default clock_timestamp(),
    primary key (job_id, slice, page),
    check (char_length(outcomes) = cardinality(keys)),
    check (cardinality(reasons) = char_length(outcomes) - char_length(replace(outcomes, 'f', '')))
);

-- Every transition of a job, written in its transaction and published from here.
create table job_events (
    id bigint generated always as identity primary key,
    job_id uuid not null,
    kind text not null check (kind in ('accepted', 'rejected', 'started', 'cancelling', 'completed', 'failed', 'cancelled')),
    at timestamptz not null default now(),
    data jsonb not null default '{}',
    published_at timestamptz
);
create index job_events_of_job on job_events (job_id, id);
create index job_events_unpublished on job_events (id) where published_at is null;

-- One row per boot of a consumer process.
create table workers (
    id uuid primary key,
    host text not null,
    pid int not null,
    started_at timestamptz not null default now(),
    seen_at timestamptz not null default now(),
    stopped_at timestamptz,
    -- The suspect page it holds, if any: should the worker die, this page alone is charged.
    suspect_job uuid,
    suspect_slice int
) with (fillfactor = 50);

-- Commands that were applied, so that a repeat gets the first answer.
create table commands (
    id text primary key,
    kind text not null,
    answer jsonb not null,
    received_at timestamptz not null default now()
);
create index commands_received on commands (received_at);

-- Cancels that came before their start.
create table tombstones (
    job_id uuid primary key,
    reason text,
    requested_by text,
    created_at timestamptz not null default now()
);

-- A numbered marker follows the doorbells through the pages queue: what was rung before a marker that came back, and
-- was not taken, is lost. One row.
create table markers (
    one boolean primary key default true check (one),
    published bigint not null default 0,
    published_at timestamptz not null default '-infinity',
    returned bigint not null default 0,
    check (returned <= published)
);
insert into markers default values;

-- When each duty of the sweeper last ran, and last succeeded.
create table sweeps (
    duty text primary key,
    worker uuid not null,
    ran_at timestamptz not null,
    succeeded_at timestamptz,
    error text
);
