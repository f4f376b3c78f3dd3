drop table unseen;
drop table seen;
drop table deletions;
drop function in_range(jobs, timestamptz);
drop function walk_gap(uuid);
-- The deletion slices go; what they had deleted stays so.
delete from page_log p using slices s where s.job_id = p.job_id and s.slice = p.slice and s.deletion;
delete from slices where deletion;
drop index slices_deletion;
alter table jobs drop column deletion_left_out;
alter table slices drop column deletion;
alter table records drop column happened_at;
-- A value cannot be taken out of a type. A full sync without its deletion is a range.
alter table jobs alter column mode drop default;
alter type job_mode rename to job_mode_old;
create type job_mode as enum ('range', 'incremental');
alter table jobs alter column mode type job_mode
      using (case mode::text when 'full' then 'range' else mode::text end)::job_mode;
alter table jobs alter column mode set default 'range';
drop type job_mode_old;
