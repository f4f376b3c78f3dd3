-- Every table of Backhaul. The truth: a message only says that there is something to look at here.
--
-- All of it is in the schema `backhaul`, which `backhaul migrate` makes before this file, and of which PUBLIC has nothing;
-- so what a hosted Postgres grants to its own roles in `public` grants nothing here. Names stand without the schema, here
-- and in every statement of the programs: their sessions have it as their search_path. Functions and views are in
-- repeatable/.
--
-- Rules that every statement keeps (docs/ARCHITECTURE.md, "Locks"): locks are taken in the order connection → job → slice → records;
-- a statement that waits for a lock sees the *other* tables as they were before the wait, so whoever must see what a
-- lock's former holder wrote takes the lock first and looks in a later statement; now() is the only clock.
--
-- A name is shown to everybody, in a terminal or a log, so it has none of the characters that control how text is shown: control
-- characters, ends of lines, marks that turn the direction of reading (protocol::plain::controls_display).
--
-- What has no other limit grows until something else breaks: names are indexed, and a connection's settings and
-- credentials are read by every claim of a page. So each text that comes from outside has a length here, too.

create type job_status as enum ('pending', 'running', 'cancelling', 'completed', 'failed', 'cancelled');
-- range: a span of time, or a list of documents; incremental: from what is there to now; full: what the upstream no
-- longer has is marked as deleted.
create type job_mode as enum ('range', 'incremental', 'full');
create type slice_status as enum ('queued', 'ready', 'waiting', 'done', 'cancelled', 'failed');
-- What a slice is for: walk reads a list, documents fetches the ids of a job, stragglers and confirm fetch ids beside a walk;
-- check and deletion fetch nothing.
create type slice_kind as enum ('walk', 'documents', 'stragglers', 'check', 'confirm', 'deletion');
-- What an upstream's total means, and what the time of a record means.
create type total_is as enum ('exact', 'estimate', 'unfiltered');
create type time_is as enum ('created', 'updated');
create type user_role as enum ('admin', 'member', 'viewer');
-- Pages that can never be settled: a connection chooses whether they fail their job or are skipped and written down.
create type poison_policy as enum ('fail', 'skip');

create table tenants (
    id uuid primary key,
    name text not null unique check (name <> '') constraint tenants_name_length check (char_length(name) <= 200)
        constraint tenants_name_plain
        check (name !~ '[\u0001-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]'),
    -- How many slices of the tenant are rung at a time; the rest waits in Postgres, so that a tenant with ten thousand
    -- slices delays another by no more than this.
    max_slices int not null default 16 check (max_slices between 1 and 10000),
    created_at timestamptz not null default now()
);

create table api_keys (
    id uuid primary key,
    tenant_id uuid not null references tenants,
    name text not null check (name <> '') constraint api_keys_name_length check (char_length(name) <= 200)
        constraint api_keys_name_plain
        check (name !~ '[\u0001-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]'),
    -- Only a hash is kept; the prefix lets a person recognise a key without revealing it.
    hash bytea not null unique check (octet_length(hash) = 32),
    prefix text not null,
    created_at timestamptz not null default now(),
    last_used_at timestamptz,
    revoked_at timestamptz
);

-- People who call the HTTP API with a JSON Web Token.
create table users (
    id uuid primary key,
    -- The token's `sub`: whom the issuer says it is. One issuer is configured, so it is unique.
    subject text not null unique check (subject <> '' and char_length(subject) <= 200)
        constraint users_subject_plain
        check (subject !~ '[\u0001-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]'),
    -- A user without an agency is known, and may do nothing.
    tenant_id uuid references tenants,
    -- A viewer reads; the others start and cancel too.
    role user_role not null default 'member',
    -- A disabled user stays, so that what was requested by it keeps its meaning.
    disabled_at timestamptz,
    created_at timestamptz not null default now()
);
create index users_of_tenant on users (tenant_id);

-- Its row is written by every page (next_request_at), so fillfactor leaves room for heap-only updates.
create table connections (
    id uuid primary key,
    tenant_id uuid not null references tenants,
    name text not null check (name <> '') constraint connections_name_length check (char_length(name) <= 200)
        constraint connections_name_plain
        check (name !~ '[\u0001-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]'),
    source text not null constraint connections_source_length check (char_length(source) <= 100),
    base_url text not null constraint connections_base_url_length check (char_length(base_url) <= 2048),
    settings jsonb not null default '{}'
        constraint connections_settings_size check (octet_length(settings::text) <= 65536),
    -- Callers of the agency contract name no connection: an agency has one that is meant.
    historical_sync boolean not null default false,
    on_poison_page poison_policy not null default 'fail',

    -- Credentials are stored sealed (XChaCha20-Poly1305), so that a dump, a backup or a read-only role does not give them
    -- away. The key is in the configuration of the processes, never here; this says which key opens them: the first bytes
    -- of a hash of the key.
    credentials_key bytea check (octet_length(credentials_key) = 8),
    -- Random, fresh at every sealing; so it also tells whether a row is still the one that was read.
    credentials_nonce bytea check (octet_length(credentials_nonce) = 24),
    -- At least the authentication tag. It covers the connection's id: copied to another row, it does not open.
    credentials bytea check (octet_length(credentials) >= 16)
        constraint connections_credentials_size check (octet_length(credentials) <= 65536),

    -- What the upstream can bear, held over the whole fleet: each process asks here, none counts for itself.
    -- Slices of the connection that are rung or leased at a time; each has at most one page in flight.
    max_pages_in_flight int check (max_pages_in_flight between 1 and 10000),
    requests_per_second real check (requests_per_second between 0.001 and 10000),
    -- When the next page may be asked for. Each page moves it on by the time of one request, and waits for what it was.
    next_request_at timestamptz not null default '-infinity',
    -- Set by a 429: no page of the connection is claimed until then, by any process. It stays after the pause, since
    -- the number of slices that may be rung grows with the time that has passed since.
    paused_until timestamptz,
    -- How many pauses without a Retry-After came in a row; they grow.
    pause_streak int not null default 0 check (pause_streak >= 0),

    created_at timestamptz not null default now(),
    deleted_at timestamptz,
    -- Who gave it its source, address and settings, and when.
    settings_by text check (char_length(settings_by) <= 200),
    settings_at timestamptz not null default now(),
    -- Which account at the upstream it is, counted from 1: what is known of one says nothing about another.
    account int not null default 1 check (account > 0),
    -- Since when its credentials, scheme or port are others, without a word on whether it is still the same account. A job that
    -- meets known records ends the doubt.
    account_doubted_at timestamptz,
    -- Sealed credentials are whole or not there.
    constraint connections_credentials_whole
        check (num_nulls(credentials_key, credentials_nonce, credentials) in (0, 3))
) with (fillfactor = 50);
create unique index connections_name on connections (tenant_id, name) where deleted_at is null;
create unique index connections_historical_sync on connections (tenant_id) where historical_sync and deleted_at is null;
-- What the sweeper has to remove.
create index connections_deleted on connections (deleted_at) where deleted_at is not null;

-- The fields of the rows that a job's results are shown as. They are never changed: a job's rows keep their form.
create table schemas (
    id uuid primary key,
    tenant_id uuid not null references tenants,
    name text not null check (name <> '' and char_length(name) <= 200),
    -- [{"name", "pointer", "type", "required"}], in the order of the columns; checked by whoever writes it.
    fields jsonb not null check (jsonb_typeof(fields) = 'array' and jsonb_array_length(fields) between 1 and 100),
    created_at timestamptz not null default now()
);
create index schemas_of_tenant on schemas (tenant_id, created_at desc, id desc);

create table jobs (
    id uuid primary key,
    tenant_id uuid not null references tenants,
    connection_id uuid not null references connections,
    status job_status not null default 'pending',
    -- A flag, not a status: it holds back a job that is pending or running, and ends with it.
    paused boolean not null default false,
    -- The time of a pause does not count as time that the upstream has failed for.
    unpaused_at timestamptz,
    mode job_mode not null default 'range',
    date_from timestamptz,
    date_to timestamptz not null,
    -- How many ids the job is over, which are in the table of this name; null for a job over a span of time.
    documents int check (documents between 1 and 2000),
    schema_id uuid references schemas,
    -- What it was planned with; null before. A connection has one stream for now: a stream is one list.
    stream text not null default 'main',
    settings_version int,
    scope int,
    -- The lower bound of all that is asked for, by its settings: a job from then on is one from the beginning.
    floor timestamptz,
    -- Whether its list is read by counting.
    counted boolean not null default false,
    total_is total_is not null default 'exact',
    time_is time_is,
    -- Whether its records can be fetched by their ids.
    by_id boolean not null default false,
    -- For how long a record that could not be stored holds back what is known.
    straggler_days int not null default 14 check (straggler_days between 0 and 3650),
    -- The part of its span that earlier jobs found empty, and that is one slice for that. No idle_from is the beginning.
    idle_from timestamptz,
    idle_to timestamptz,
    -- The failed or cancelled job whose checkpoints this one took over.
    resumed_from uuid references jobs check (resumed_from <> id),
    name text check (char_length(name) <= 200),
    requested_by text,
    -- The trace (W3C, header traceparent) of the command that the job obeys: of its start, then of its cancel. Everything
    -- that is published for the command carries it.
    traceparent text check (octet_length(traceparent) <= 255),
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
    -- {"cause", "slice", "page", "body", "anew"}: body is the first KiB of the upstream's answer; anew says that the job cannot
    -- be resumed.
    error jsonb,
    -- Why a full sync deleted nothing although it is completed.
    deletion_left_out text,
    check (date_from < date_to),
    check ((finished_at is not null) = (status in ('completed', 'failed', 'cancelled'))),
    check (started_at is not null or status not in ('running', 'completed')),
    check ((cancel_requested_at is not null) = (status in ('cancelling', 'cancelled'))),
    check ((pages_at_fence is not null) = (status in ('cancelling', 'cancelled'))),
    check ((error is not null) = (status = 'failed')),
    check (deletion_left_out is null or status = 'completed'),
    constraint jobs_paused_while_active check (not paused or status in ('pending', 'running')),
    -- Exactly its documents are fetched, whenever they were created.
    constraint jobs_documents_have_no_span
        check (documents is null or (mode = 'range' and date_from is null)),
    check (num_nulls(settings_version, scope) in (0, 2))
) with (fillfactor = 70);
-- One active job per connection. A cancelling job is outside: its fence already holds. Jobs over documents are outside,
-- too: each fetches what it was asked for and no more, so they are in nobody's way.
create unique index jobs_one_active on jobs (connection_id)
    where status in ('pending', 'running') and documents is null;
-- A job is resumed once: of two successors each would walk what the other has walked. A successor that ends early is
-- resumed in its turn, so the chain has no branches.
create unique index jobs_resumed_from on jobs (resumed_from) where resumed_from is not null;
create index jobs_unfinished on jobs (status, created_at) where status in ('pending', 'running', 'cancelling');
create index jobs_open on jobs (connection_id) where status in ('pending', 'running', 'cancelling');
create index jobs_of_tenant on jobs (tenant_id, created_at desc, id desc);
create index jobs_of_connection on jobs (connection_id, created_at desc, id desc);

-- The ids of a job over documents, in the order in which they were given. Each once: it would be two rows of one record.
create table documents (
    job_id uuid not null references jobs on delete cascade,
    place int not null check (place between 0 and 1999),
    id text collate "C" not null check (id <> '' and octet_length(id) <= 512),
    primary key (job_id, place),
    unique (job_id, id)
);

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
    kind slice_kind not null default 'walk',
    -- A slice over documents or stragglers is a range of places, from ids_from up to and without ids_to; its cursor is the
    -- number of them that were fetched. Its span means nothing. The records' times move no reach.
    ids_from int,
    ids_to int,
    status slice_status not null default 'queued',

    -- The page to be settled next; also how many were settled.
    page int not null default 0 check (page >= 0),
    -- How many of them were skipped.
    pages_skipped int not null default 0,
    cursor text,
    -- A cursor seen earlier, renewed at every page number that is a power of two (Brent): meeting it again is a loop.
    anchor text,
    -- What the walk has shown so far, beside its cursor.
    walk jsonb not null default '{}' check (jsonb_typeof(walk) = 'object'),
    -- Whether the walk that has ended is whole; the check may find that it is not.
    whole boolean,
    -- Whether its walk began anew in this job, since its cursor was refused.
    started_over boolean not null default false,
    -- How many distinct ids the walk has met, and how many it met again for no good reason: counted by the check.
    distinct_met bigint check (distinct_met >= 0),
    met_again bigint not null default 0 check (met_again >= 0),
    -- Whether its walk is not whole only for a shortfall that an earlier job met, too.
    shortfall_accepted boolean not null default false,
    -- What the upstream last said of the total; never overwritten by what was processed.
    upstream_total bigint check (upstream_total >= 0),
    -- How many records there are; null while nobody says. After a whole walk it is what was processed.
    total bigint check (total >= 0),
    -- When the first page that was settled had been asked for.
    first_asked_at timestamptz,
    last_settled_at timestamptz,

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
    -- When the first and the last of them failed, and how many of them are the page's own fault, not that of an upstream
    -- that fails for all. These say nothing while there are no attempts.
    failing_since timestamptz,
    failed_at timestamptz,
    faults int not null default 0 check (faults >= 0),
    not_before timestamptz,
    last_error text,
    -- Rests that the upstream asked for by 403, since the last settled page.
    forbidden_rests int not null default 0 check (forbidden_rests >= 0),

    inserted bigint not null default 0 check (inserted >= 0),
    updated bigint not null default 0 check (updated >= 0),
    unchanged bigint not null default 0 check (unchanged >= 0),
    deferred bigint not null default 0 check (deferred >= 0),
    failed bigint not null default 0 check (failed >= 0),
    deleted bigint not null default 0 check (deleted >= 0),
    -- Values of the job's schema that the slice's records have: those of its rows that are not null.
    filled bigint not null default 0 check (filled >= 0),
    -- When the newest record in span that could be stored happened; and the oldest and the newest that were met, stored or
    -- not, in span or out of it. In no index, like everything that a settle writes here.
    newest_at timestamptz,
    oldest_met_at timestamptz,
    newest_met_at timestamptz,

    primary key (job_id, slice),
    check (span_from < span_to),
    constraint slices_ids check (num_nulls(ids_from, ids_to) in (0, 2) and ids_from >= 0 and ids_from < ids_to),
    constraint slices_ids_of_kind check ((ids_from is not null) = (kind in ('documents', 'stragglers'))),
    -- No page of ids is left out: each document has its outcome.
    constraint slices_pages_skipped check (pages_skipped = 0 or kind = 'walk'),
    -- What fetches nothing processes no records, and only a deletion deletes.
    constraint slices_fetch_nothing check (kind not in ('check', 'deletion') or total = 0),
    constraint slices_deleted check (kind = 'deletion' or deleted = 0),
    constraint slices_whole check ((whole is not null) = (kind = 'walk' and status = 'done')),
    check (pages_skipped between 0 and page),
    -- A lease is whole or not there, and only an open, rung slice or one closed by a cancel may have one.
    check (num_nulls(lease_token, leased_ring, worker, leased_until) in (0, 4)),
    check (lease_token is null or status in ('ready', 'cancelled')),
    check ((not_before is not null) = (status = 'waiting')),
    check (status <> 'ready' or (rung_at is not null and rung_marker is not null))
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
create index slices_wanting on slices (connection_id, slice) where status in ('queued', 'waiting');
create index slices_ready on slices (tenant_id) where status = 'ready';
create index slices_open on slices (job_id) where status in ('queued', 'ready', 'waiting');
create unique index slices_beside_walks on slices (job_id, kind) where kind in ('stragglers', 'check', 'confirm', 'deletion');

-- What a slice of a resumed job took over. Its pages are numbered anew from 0 and its page log is its own; its counters
-- begin with these. Apart from the slice's row, which every page rewrites.
create table carried (
    job_id uuid not null,
    slice int not null,
    -- Pages settled by the jobs before, and how many of them were skipped.
    pages bigint not null check (pages >= 0),
    pages_skipped bigint not null default 0,
    inserted bigint not null check (inserted >= 0),
    updated bigint not null check (updated >= 0),
    unchanged bigint not null check (unchanged >= 0),
    deferred bigint not null check (deferred >= 0),
    failed bigint not null check (failed >= 0),
    deleted bigint not null check (deleted >= 0),
    filled bigint not null default 0 check (filled >= 0),
    primary key (job_id, slice),
    foreign key (job_id, slice) references slices on delete cascade,
    check (pages_skipped between 0 and pages)
);

-- Partitioned from the start, so that a connection's records can move to another server. No foreign keys: they would
-- lock the connection or the job after the slice.
--
-- The payload is `jsonb`. `json` was measured beside it, on records of 1.6 KB: storing a full page then costs Postgres 30 %
-- less (3.3 instead of 4.7 ms), and reading a record whole a tenth; but each look into a record parses all of it: the view
-- `calls` takes 17 times as long (8.8 instead of 0.5 s for 20,000 calls), a filter on one field 14 times. `json` with six
-- stored generated columns costs twice as much at the write as `jsonb` (9.5 ms). What is read once in thirty writes by its
-- fields is cheaper as `jsonb`.
create table records (
    connection_id uuid not null,
    external_id text collate "C" not null,
    hash bytea not null,
    payload jsonb not null,
    -- When the upstream says that the record happened: what decides whether it lies in a job's date range. Null where the
    -- source knows no time; such a record counts as in range only if the range has no bounds. In no index.
    happened_at timestamptz,
    -- What the upstream says of its version.
    version bigint,
    -- A time of Postgres right before the content was asked for: what was asked for earlier never overwrites it. Of a
    -- deleted record, when the pass that missed it began.
    as_of timestamptz,
    -- The scope whose list last showed it; null while none has.
    scope int,
    -- The pass that did not meet it, while none has met it since.
    suspected_by int,
    -- 1 when inserted, one more at every change.
    revision int not null default 1,
    -- The job that wrote this content.
    job_id uuid not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz,
    primary key (connection_id, external_id)
) partition by hash (connection_id);

-- One row per settled page: the ledger behind the counters, and the index of a job's results.
--
-- Results of a job are read from here, in pages, while it runs too: no row twice, and none left out. For that a page must
-- never appear before one that a reader has passed. Neither its number nor its time says so: pages of different slices are
-- committed in any order. Its transaction does (settled_by): every transaction older than all that are under way
-- (pg_snapshot_xmin) has ended, so the pages of those come in the order of their transactions, and nothing can come
-- between. A reader of a job that is not over is given those pages alone. What it costs: pages show up once every older
-- writing transaction of the server has ended, which here are short. After a dump is restored into another server the
-- numbers mean nothing for jobs that still run: their results may show up only when they are over.
create table page_log (
    job_id uuid not null,
    slice int not null,
    page int not null,
    -- The records in the order of the page; '' where a record has no id.
    keys text[] not null,
    -- One character per record: + inserted, ~ updated, = unchanged, d deferred, f failed, - not there (asked for by its id
    -- beside a walk; in no counter), and x deleted, which is all that a page of a deletion can have.
    outcomes text not null,
    -- Why each failed record failed, in their order.
    reasons text[] not null default '{}',
    -- When each deferred or failed record happened, in their order.
    times timestamptz[] not null default '{}',
    -- The ids that were met out of span: no outcome, in no counter, no result.
    outside text[] not null default '{}',
    filled bigint not null default 0 check (filled >= 0),
    -- Why the page was skipped: {"cause", "body"}, as in a job's error. Null for one that was settled. A skipped page has a
    -- row of its own, without records, so that the ledger has no gap where it was.
    skipped jsonb,
    worker uuid not null,
    settled_at timestamptz not null default clock_timestamp(),
    settled_by bigint not null default (pg_current_xact_id()::text::bigint),
    primary key (job_id, slice, page),
    check (char_length(outcomes) = cardinality(keys)),
    check (cardinality(reasons) = char_length(outcomes) - char_length(replace(outcomes, 'f', ''))),
    check (skipped is null or (cardinality(keys) = 0 and coalesce(skipped ->> 'cause', '') <> ''))
);
create index page_log_results on page_log (job_id, settled_by, slice, page);
create index page_log_skipped on page_log (job_id) where skipped is not null;

-- Payloads of some 2 KB and more are compressed when they are stored. lz4 does it to the same size as the older method,
-- and a page of 100 records of 2 KB then costs Postgres 18 % less CPU (3.2 instead of 3.9 ms).
--
-- The keys of a page of 100 records are some 4 KB, so they would be compressed, and stored outside of the row, at every
-- settle. With lz4 they fit into the row: that insert takes a third of the time (0.1–0.15 instead of 0.3–0.45 ms a page,
-- measured beside each other on a busy machine), 8 % less WAL, and a quarter less of disk. To settle a page of which
-- nothing has changed is little more than this insert.
do $$ begin
    alter table records alter payload set compression lz4;
    alter table page_log alter keys set compression lz4;
exception when feature_not_supported then
    raise notice 'this server was built without lz4: payloads and the keys of pages are compressed by the older method';
end $$;

-- After that: a partition has the compression that its table had when it was made.
do $$ begin
    for remainder in 0..7 loop
        execute format('create table records_%s partition of records for values with (modulus 8, remainder %s)',
                       remainder, remainder);
    end loop;
end $$;

-- Every transition of a job, written in its transaction and published from here. It is told with the state and the counters
-- that the job had then: an event that is published late must not lie. A refused start has neither, and no job to join, so
-- tenant and connection stand here too.
create table job_events (
    id bigint generated always as identity primary key,
    job_id uuid not null,
    tenant_id uuid,
    connection_id uuid,
    kind text not null check (kind in ('accepted', 'rejected', 'started', 'cancelling', 'paused', 'unpaused', 'completed',
                                       'failed', 'cancelled')),
    at timestamptz not null default now(),
    status job_status,
    -- {"inserted", "updated", "unchanged", "deferred", "failed", "deleted", "total"}
    counters jsonb,
    data jsonb not null default '{}',
    -- The trace that it was written under: it may be published after the next command has come.
    traceparent text,
    -- How often the queue of a listener has refused it, and when it is published again for that.
    refusals smallint not null default 0 check (refusals >= 0),
    again_at timestamptz,
    published_at timestamptz,
    check (again_at is null or refusals > 0)
);
create index job_events_of_job on job_events (job_id, id);
create index job_events_unpublished on job_events (id) where published_at is null;

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
