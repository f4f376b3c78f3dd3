alter table job_events drop column traceparent;
alter table jobs drop column traceparent;
