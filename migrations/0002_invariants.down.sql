drop function broken_invariants();
