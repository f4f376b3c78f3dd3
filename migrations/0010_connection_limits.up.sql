-- What a connection's upstream can bear, held over the whole fleet: each process asks here, none counts for itself.
alter table connections
    -- Slices of the connection that are rung or leased at a time; each has at most one page in flight.
    add column max_pages_in_flight int check (max_pages_in_flight between 1 and 10000),
    add column requests_per_second real check (requests_per_second between 0.001 and 10000),
    -- When the next page may be asked for. Each page moves it on by the time of one request, and waits for what it was.
    add column next_request_at timestamptz not null default '-infinity';
-- Its row is then written by every page: room for heap-only updates.
alter table connections set (fillfactor = 50);
