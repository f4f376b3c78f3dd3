drop table warnings, unseen, seen, checks, stragglers, shortfalls, pass_walks, passes, streams;
alter table jobs drop constraint jobs_settings_version, drop constraint jobs_scope;
drop table settings_versions, scopes;
drop type warning_kind, unseen_fate, straggler_end, straggler_cause;
