-- People who call the HTTP API with a JSON Web Token, and the one connection of an agency that they sync.

create type user_role as enum ('admin', 'member', 'viewer');

create table users (
    id uuid primary key,
    -- The token's `sub`: whom the issuer says it is. One issuer is configured, so it is unique.
    subject text not null unique check (subject <> '' and char_length(subject) <= 200),
    -- A user without an agency is known, and may do nothing.
    tenant_id uuid references tenants,
    -- A viewer reads; the others start and cancel too.
    role user_role not null default 'member',
    -- A disabled user stays, so that what was requested by it keeps its meaning.
    disabled_at timestamptz,
    created_at timestamptz not null default now()
);
create index users_of_tenant on users (tenant_id);

-- Callers of the agency contract name no connection: an agency has one that is meant.
alter table connections add column historical_sync boolean not null default false;
create unique index connections_historical_sync on connections (tenant_id) where historical_sync and deleted_at is null;
