-- The least that the work needs: a row per job with its counters and its cursor, and the records, compressed as ours.
create table jobs (
    id int primary key,
    cancelled boolean not null default false,
    page int not null default 0,
    cursor text,
    inserted bigint not null default 0,
    updated bigint not null default 0,
    unchanged bigint not null default 0,
    last_activity timestamptz
) with (fillfactor = 50);

create table records (
    connection_id uuid not null,
    external_id text collate "C" not null,
    hash bytea not null,
    payload jsonb compression lz4 not null,
    updated_at timestamptz not null default now(),
    primary key (connection_id, external_id)
);
