-- What is sealed cannot be opened here: the credentials are gone, and are to be given again.
alter table connections
    drop column credentials_key, drop column credentials_nonce, drop column credentials,
    add column credentials jsonb not null default '{}';
