alter table connections reset (fillfactor);
alter table connections drop column max_pages_in_flight, drop column requests_per_second, drop column next_request_at;
