-- Credentials are stored sealed (XChaCha20-Poly1305), so that a dump, a backup or a read-only role does not give them
-- away. The key is in the configuration of the processes, never here.
--
-- What was stored in clear is dropped, not converted: the database has no key, and nothing was released that stored it.
-- After this migration give each connection its credentials again: backhaul admin connection put.
alter table connections drop column credentials;
alter table connections
    -- Which key opens it: the first bytes of a hash of the key.
    add column credentials_key bytea check (octet_length(credentials_key) = 8),
    -- Random, fresh at every sealing; so it also tells whether a row is still the one that was read.
    add column credentials_nonce bytea check (octet_length(credentials_nonce) = 24),
    -- At least the authentication tag. It covers the connection's id: copied to another row, it does not open.
    add column credentials bytea check (octet_length(credentials) >= 16),
    -- Sealed credentials are whole or not there.
    add constraint connections_credentials_whole
        check (num_nulls(credentials_key, credentials_nonce, credentials) in (0, 3));
