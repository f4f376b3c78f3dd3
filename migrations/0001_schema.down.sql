drop table sweeps, markers, tombstones, commands, workers, job_events, page_log, records, slices, jobs, connections,
    api_keys, tenants;
drop type slice_status;
drop type job_mode;
drop type job_status;
