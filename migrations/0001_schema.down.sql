-- With `cascade`, since functions and views of repeatable/ are over these. The other functions, and the migrator's own
-- table, go with the schema: `backhaul migrate --down` drops it after this.
drop table repeatable_migrations, sweeps, markers, tombstones, commands, workers, event_relay, job_events, unseen, seen,
    deletions, page_log, records, carried, slices, documents, jobs, schemas, connections, users, api_keys, tenants cascade;
drop type poison_policy, user_role, slice_status, job_mode, job_status cascade;
