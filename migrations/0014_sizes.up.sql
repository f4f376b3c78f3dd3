-- What has no other limit grows until something else breaks: names are indexed, and a connection's settings and
-- credentials are read by every claim of a page.
alter table tenants add constraint tenants_name_length check (char_length(name) <= 200);
alter table api_keys add constraint api_keys_name_length check (char_length(name) <= 200);
alter table connections
    add constraint connections_name_length check (char_length(name) <= 200),
    add constraint connections_source_length check (char_length(source) <= 100),
    add constraint connections_base_url_length check (char_length(base_url) <= 2048),
    add constraint connections_settings_size check (octet_length(settings::text) <= 65536),
    add constraint connections_credentials_size check (octet_length(credentials) <= 65536);
