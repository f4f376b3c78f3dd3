alter table commands drop column request;
drop index page_log_results;
alter table page_log drop column settled_by;
