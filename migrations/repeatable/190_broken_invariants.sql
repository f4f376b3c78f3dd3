-- What must hold at every commit. Each row names an invariant (numbers as in docs/ARCHITECTURE.md), what breaks it, and how.
--
-- People call it from any session, so it brings the search_path along, for itself and for its parts.
create or replace function broken_invariants() returns table (invariant int, subject text, problem text)
language sql stable set search_path = backhaul, pg_temp as $$
    select * from broken_ledger()
    union all
    select * from broken_resumes()
    union all
    select * from broken_documents()
    union all
    select * from broken_deletions()
    union all
    select * from broken_states()
    union all
    select * from broken_known()
$$;
