-- What is known of a connection's upstream, in which scope, and what is doubtful about it.
--
-- It is kept by connection and stream (one list of a connection; each has the one stream `main` for now), and never in jobs:
-- so that removing old jobs loses none of it.

-- Scopes: the settings that decide which records are listed, identified and dated. What is known is known in one of them.
create table scopes (
    connection_id uuid not null references connections,
    stream text not null default 'main' check (stream <> '' and char_length(stream) <= 200),
    -- From 1, in the order in which they were first planned with.
    scope int not null check (scope > 0),
    -- A hash of those settings that decide which records are listed, identified and dated.
    fingerprint text not null check (char_length(fingerprint) between 1 and 100),
    -- The same settings, to show what differs.
    canonical jsonb not null,
    first_planned_at timestamptz not null default now(),
    primary key (connection_id, stream, scope),
    unique (connection_id, stream, fingerprint)
);

-- The settings that jobs were planned with: a job walks to its end with its own, whatever they are by then.
create table settings_versions (
    connection_id uuid not null references connections,
    stream text not null default 'main',
    version int not null check (version > 0),
    scope int not null,
    source text not null,
    base_url text not null,
    settings jsonb not null,
    -- Who gave the connection these settings, and when.
    put_by text,
    put_at timestamptz not null,
    planned_at timestamptz not null default now(),
    primary key (connection_id, stream, version),
    foreign key (connection_id, stream, scope) references scopes
);

alter table jobs
    add constraint jobs_settings_version foreign key (connection_id, stream, settings_version) references settings_versions,
    add constraint jobs_scope foreign key (connection_id, stream, scope) references scopes;

-- What is known of a stream: [known_from, known_to] in the scope that it was learned in. No known_from is "from the
-- beginning".
create table streams (
    connection_id uuid not null references connections,
    stream text not null default 'main',
    scope int,
    known_from timestamptz,
    known_to timestamptz,
    -- Up to when whole walks found nothing after known_to (or nothing at all, if nothing is known), and in which scope: an idle
    -- span is planned as one slice.
    empty_to timestamptz,
    empty_scope int,
    primary key (connection_id, stream),
    foreign key (connection_id, stream, scope) references scopes,
    foreign key (connection_id, stream, empty_scope) references scopes,
    check ((empty_to is null) = (empty_scope is null)),
    check ((scope is null) = (known_to is null)),
    check (known_from is null or known_from <= known_to)
);

-- The full syncs of a stream that walked everything: what they did not meet is suspected, and deleted when another one does
-- not meet it either.
create table passes (
    connection_id uuid not null references connections,
    stream text not null default 'main',
    pass int not null check (pass > 0),
    job_id uuid not null unique,
    scope int not null,
    began_at timestamptz not null,
    -- When its job completed; a pass that never did suspects nothing.
    ended_at timestamptz check (ended_at >= began_at),
    primary key (connection_id, stream, pass),
    foreign key (connection_id, stream, scope) references scopes
);

-- What the walks of such a pass read. A list that is read by page numbers may move while it is read, without a sign: what it
-- lacks is believed when two passes read the very same pages.
create table pass_walks (
    connection_id uuid not null references connections,
    stream text not null default 'main',
    pass int not null,
    span_from timestamptz,
    -- A hash over the ids of all pages, in their order.
    pages_hash bigint not null,
    foreign key (connection_id, stream, pass) references passes on delete cascade
);
create unique index pass_walks_key on pass_walks (connection_id, stream, pass, coalesce(span_from, '-infinity'));

-- Lists that served fewer records than they named, by less than what fails a job. One that a second job meets again is
-- accepted: it is still warned of, and no longer holds back what is known.
create table shortfalls (
    connection_id uuid not null references connections,
    stream text not null default 'main',
    scope int not null,
    -- The lower bounds of the job and of its slice.
    job_from timestamptz,
    span_from timestamptz,
    -- The job that met it first.
    job_id uuid not null,
    missing bigint not null check (missing > 0),
    met_at timestamptz not null default now(),
    foreign key (connection_id, stream, scope) references scopes
);
create unique index shortfalls_key on shortfalls
    (connection_id, stream, scope, coalesce(job_from, '-infinity'), coalesce(span_from, '-infinity'));

-- Records that could not be stored when they were met, though they have an id: not importable yet, or failed; or stored, but
-- two answers that overlapped in time differ about them.
create type straggler_cause as enum ('deferred', 'failed', 'overtaken');
create type straggler_end as enum ('stored', 'gone', 'deleted', 'expired');
create table stragglers (
    connection_id uuid not null references connections,
    stream text not null default 'main',
    external_id text collate "C" not null check (external_id <> ''),
    scope int not null,
    cause straggler_cause not null,
    reason text check (char_length(reason) <= 500),
    -- When it happened; of one whose time cannot be read, the start of the slice that met it.
    happened_at timestamptz,
    first_seen_at timestamptz not null,
    asked_at timestamptz,
    -- The jobs in which its id was answered to be gone, beside ids that were there.
    gone_in uuid[] not null default '{}',
    -- The pass that did not meet it.
    suspected_by int,
    closed_at timestamptz,
    closed_by straggler_end,
    primary key (connection_id, stream, external_id),
    foreign key (connection_id, stream, scope) references scopes,
    check ((closed_at is null) = (closed_by is null))
);
create index stragglers_open on stragglers (connection_id, stream, asked_at nulls first, external_id) where closed_at is null;

-- The check of a job under way, and its working tables, which are emptied after the job's end. Each page handles a bounded
-- number of rows, so no statement grows with the connection.
create table checks (
    job_id uuid primary key,
    -- Of the connection's records, how many lie in the job's range, so far.
    records bigint not null default 0 check (records >= 0),
    -- Of these, how many the pass has not met.
    unseen bigint not null default 0 check (unseen >= 0 and unseen <= records)
) with (fillfactor = 50);

-- The ids that the walks have met, out of their page log, in an order that a walk over the records can be compared with; and
-- in which slice, since each walk is judged by what it met.
create table seen (
    job_id uuid not null,
    external_id text collate "C" not null,
    slice int not null,
    primary key (job_id, external_id, slice)
);

-- What is to become of a record that a full sync did not meet. Asked: its id decides. The last four are kept.
create type unseen_fate as enum ('asked', 'confirmed', 'suspected', 'unconfirmed', 'other_scope', 'outside_met');
create table unseen (
    job_id uuid not null,
    external_id text collate "C" not null,
    fate unseen_fate not null,
    -- When its content was last asked for; the longest unasked is asked for first.
    last_asked_at timestamptz not null default '-infinity',
    -- When its id was answered to be gone.
    as_of timestamptz,
    primary key (job_id, external_id)
);
create index unseen_asked on unseen (job_id, last_asked_at, external_id) where fate = 'asked';

-- What may differ from the upstream, and what is expected: a count and the first example of each kind.
create type warning_kind as enum (
    'shortfall', 'shortfall_accepted', 'repeated', 'total_fell', 'overlap_lost', 'empty_page', 'same_page', 'beyond_total',
    'skipped_pages', 'failed', 'outside_asked', 'started_over', 'overtaken', 'older_version', 'other_account', 'suspected',
    'unconfirmed', 'other_scope', 'outside_met', 'stragglers', 'moving_list', 'dropped_by_margin', 'deferred',
    'encoded_cursor');
create table warnings (
    job_id uuid not null,
    slice int not null,
    kind warning_kind not null,
    count bigint not null check (count > 0),
    text text not null check (char_length(text) <= 500),
    primary key (job_id, slice, kind)
);
