drop index connections_historical_sync;
alter table connections drop column historical_sync;
drop table users;
drop type user_role;
