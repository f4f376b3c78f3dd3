-- With `cascade`, since functions and views of repeatable/ are over these. The other functions, and the migrator's own
-- table, go with the schema: `backhaul migrate --down` drops it after this.
drop table event_relay, job_events, page_log, records, carried, slices, documents, jobs, schemas, connections, users, api_keys, tenants cascade;
drop type poison_policy, user_role, time_is, total_is, slice_kind, slice_status, job_mode, job_status cascade;
