#!/usr/bin/env bash
# A worker that takes work with `LIMIT 1 FOR UPDATE SKIP LOCKED` in an IN (…) can take a tenant's whole queue instead.
#
# UPDATE … WHERE id IN (SELECT … LIMIT 1 FOR UPDATE SKIP LOCKED) is the common way to take one job from a table. One
# would expect it to change one row at most. It does so for as long as the planner runs the inner query once.
#
# When the outer query repeats the conditions (out of caution, or because a query builder does it) and the planner
# expects one row of them, it picks a nested loop and runs the inner query once for each outer row. Each run skips the
# row that this statement has just updated, locks the next one, and that is the next outer row. So every row of the
# tenant is taken. The planner expects one row of a tenant that the statistics do not know yet: a new customer. After
# ANALYZE the same statement takes one row, which is why tests do not see it.
#
# Seen, PostgreSQL 15.18, 17.12 and 18.6, a new tenant with 30 ready jobs: IN: 30 rows updated; after ANALYZE: 1; `=`
# instead of IN: 1; a materialized CTE: 1.
#
# What it means: write `id = (SELECT … LIMIT 1 …)`, or take the row in a MATERIALIZED CTE and join it. Check the
# number of rows that came back.
set -euo pipefail

# shellcheck source=findings/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"

jobs="SELECT id FROM job WHERE tenant = 777 AND state = 'ready' ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED"
take="UPDATE job SET state = 'taken' WHERE tenant = 777 AND state = 'ready' AND id"

# taken STATEMENT: how many rows it updates; it is rolled back.
taken() { psql -qAtX -v ON_ERROR_STOP=1 -c BEGIN -c "$1 RETURNING id" -c ROLLBACK | wc -l; }

command -v psql >/dev/null || die "psql is missing"
for version in bookworm:15 trixie:17 sid:18; do
    release=${version%:*} version=${version#*:}
    debian "$release" "postgresql-$version"
    postgres "$release" "$version"
    psql -qX -v ON_ERROR_STOP=1 <<'END'
CREATE TABLE job (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant int NOT NULL,
    state text NOT NULL DEFAULT 'ready'
) WITH (autovacuum_enabled = off);
CREATE INDEX ON job (tenant) WHERE state = 'ready';
INSERT INTO job (tenant) SELECT 1 + i % 50 FROM generate_series(1, 20000) i;
ANALYZE job;
INSERT INTO job (tenant) SELECT 777 FROM generate_series(1, 30);
END
    expect "PostgreSQL $version, IN" "$(taken "$take IN ($jobs)")" 30
    expect "PostgreSQL $version, =" "$(taken "$take = ($jobs)")" 1
    expect "PostgreSQL $version, CTE" "$(taken "WITH one AS MATERIALIZED ($jobs) $take IN (SELECT id FROM one)")" 1
    psql -qX -c "ANALYZE job"
    expect "PostgreSQL $version, IN, after ANALYZE" "$(taken "$take IN ($jobs)")" 1
done
echo "as described"
