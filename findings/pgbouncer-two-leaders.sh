#!/usr/bin/env bash
# Behind PgBouncer in transaction mode two workers both get the same exclusive advisory lock, and later nobody gets
# it.
#
# Workers often elect a leader with pg_try_advisory_lock: the lock is exclusive, and it ends with the session. One
# would expect that through a pooler, too, one worker gets `true` and the other `false`, or that the pooler refuses.
#
# In transaction mode both workers' statements run, one after the other, in the same server session. To PostgreSQL the
# second call comes from the holder, and a holder may lock again: both get `true`. When both have disconnected, the
# server session stays in the pool and keeps the lock. From then on a worker that connects to PostgreSQL directly gets
# `false`, although no worker is left. Nothing raises an error.
#
# Seen, PgBouncer 1.18.0 and 1.24.1 with PostgreSQL 15.18: direct: True False; through PgBouncer: True True; after
# both left, direct: False. pg_try_advisory_xact_lock in open transactions: True False.
#
# What it means: hold a lease in a table, with an owner and a time, or the transaction-level lock for as long as one
# transaction. For session locks connect to PostgreSQL itself, or to a pool in session mode.
set -euo pipefail

# shellcheck source=findings/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"

# locks PORT [FUNCTION]: what the function says to two workers that are connected at the same time.
locks() {
    "$PYTHON" - "$1" "${2:-pg_try_advisory_lock}" <<'END'
import sys
import psycopg

port, function = sys.argv[1:]
where = f"host=127.0.0.1 port={port} user=postgres dbname=postgres"
with psycopg.connect(where) as first, psycopg.connect(where) as second:
    first.autocommit = second.autocommit = "xact" not in function
    print(*(worker.execute(f"SELECT {function}(1)").fetchone()[0] for worker in (first, second)))
END
}

pip psycopg==3.3.9 psycopg-binary==3.3.9
debian bookworm postgresql-15 pgbouncer
debian trixie pgbouncer
postgres bookworm 15
expect "PostgreSQL directly" "$(locks "$PGPORT")" "True False"
for release in bookworm trixie; do
    port=$(free_port)
    cat >"$WORK/$release/srv/pgbouncer.ini" <<END
[databases]
postgres = host=127.0.0.1 port=$PGPORT dbname=postgres user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $port
unix_socket_dir =
auth_type = any
pool_mode = transaction
END
    inside "$release" pgbouncer /srv/pgbouncer.ini >"$WORK/pgbouncer-$release.log" 2>&1
    accepts "$port"
    expect "PgBouncer of $release, lock of the transaction" "$(locks "$port" pg_try_advisory_xact_lock)" "True False"
    expect "PgBouncer of $release, lock of the session" "$(locks "$port")" "True True"
    expect "PostgreSQL directly, after both left" "$(locks "$PGPORT")" "False False"
    stop_last # and with it the sessions of the pool
    sleep 1
done
echo "as described"
