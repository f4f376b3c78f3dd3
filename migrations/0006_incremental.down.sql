drop function coverage(jobs);
alter table slices drop column newest_at, drop column oldest_deferred_at;
alter table jobs drop column covered_to;
-- A value cannot be taken out of a type. What an incremental job pulled is a range, once it is planned.
alter table jobs alter column mode drop default;
alter type job_mode rename to job_mode_old;
create type job_mode as enum ('range');
alter table jobs alter column mode type job_mode using 'range';
alter table jobs alter column mode set default 'range';
drop type job_mode_old;
