-- The fleet: who works, what was commanded, and what the sweeper remembers.

-- One row per boot of a consumer process.
create table workers (
    id uuid primary key,
    host text not null,
    pid int not null,
    -- What its queues' names begin with, and which keys (by their identifiers) it opens credentials with, the one that it seals
    -- with first: for `backhaul doctor`.
    namespace text not null,
    keys text[] not null,
    started_at timestamptz not null default now(),
    seen_at timestamptz not null default now(),
    stopped_at timestamptz,
    -- The suspect page it holds, if any: should the worker die, this page alone is charged.
    suspect_job uuid,
    suspect_slice int,
    -- What keeps it from consuming, in words; empty if nothing does.
    troubles text[] not null default '{}'
) with (fillfactor = 50);

-- Commands that were applied, so that a repeat gets the first answer.
create table commands (
    -- Its kind, whose it is, and the identifier that its sender chose: two tenants may choose the same one, and so may a
    -- start and a cancel.
    id text primary key,
    kind text not null,
    -- The identifier alone, for its sender, who asks for the answer.
    given text,
    -- A hash of the request that the identifier stands for: another one is refused. An Idempotency-Key holds for a day.
    request bytea check (octet_length(request) = 32),
    answer jsonb not null,
    received_at timestamptz not null default now()
);
create index commands_received on commands (received_at);
create index commands_given on commands (given) where given is not null;

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

-- The files of repeatable/ that were applied: `backhaul migrate` applies those whose text is another one since.
create table repeatable_migrations (
    name text primary key,
    -- BLAKE3 of the text.
    hash bytea not null check (octet_length(hash) = 32),
    applied_at timestamptz not null default now()
);

-- The oldest program that may work on this schema is one that knows the migration of this number. A migration that only adds
-- leaves it as it is; one that changes or takes away what older programs use raises it to its own number.
create table compatibility (
    serves_from bigint not null,
    one_row boolean primary key default true check (one_row)
);
insert into compatibility (serves_from) values (3);
