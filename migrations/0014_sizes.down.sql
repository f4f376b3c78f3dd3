alter table tenants drop constraint tenants_name_length;
alter table api_keys drop constraint api_keys_name_length;
alter table connections
    drop constraint connections_name_length,
    drop constraint connections_source_length,
    drop constraint connections_base_url_length,
    drop constraint connections_settings_size,
    drop constraint connections_credentials_size;
