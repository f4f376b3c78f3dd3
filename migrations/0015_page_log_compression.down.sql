alter table page_log alter keys set compression default;
