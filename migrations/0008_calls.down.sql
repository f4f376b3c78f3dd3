drop view calls;
drop function readable_time(text);
