#!/usr/bin/env bash
# Calls the HTTP API of a live producer, with a consumer and an upstream behind it, with requests that are made from its own
# OpenAPI document, and compares every answer with that document: no 500, no status or field that is not declared, nothing
# accepted that should not be, nothing answered without a key.
#
#     scripts/services.sh run scripts/fuzz_api.sh [OPTIONS OF st run]
#
# FUZZ_SECONDS (default 120) bounds the run. The programs of FUZZ_PROFILE (default debug) must be built.
set -euo pipefail

# shellcheck source=scripts/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=scripts/lib/secrets.sh
. "$ROOT/scripts/lib/secrets.sh"

[[ -n ${DATABASE_URL:-} && -n ${AMQP_URL:-} ]] || die "DATABASE_URL and AMQP_URL are not set" "run: make fuzz-api"
[[ $DATABASE_URL =~ ^(postgres(ql)?://[^/?]*)(/[^?]*)?(\?.*)?$ ]] || die "DATABASE_URL is not a postgres:// URL"
SERVER=$DATABASE_URL
NAME=backhaul_fuzz_$$
BIN=${CARGO_TARGET_DIR:-$ROOT/target}/${FUZZ_PROFILE:-debug}
ST=$("$ROOT/scripts/schemathesis.sh")
LOGS=${CARGO_TARGET_DIR:-$ROOT/target}/schemathesis/logs
mkdir -p "$LOGS"

export DATABASE_URL=${BASH_REMATCH[1]}/$NAME${BASH_REMATCH[4]}
export BACKHAUL__AMQP__NAMESPACE=$NAME BACKHAUL__FETCH__ALLOW_PRIVATE_ADDRESSES=true
export BACKHAUL__AUTH__HS256_SECRET=only-for-this-run-and-long-enough-for-it
export BACKHAUL__AUTH__ISSUER=https://issuer.example BACKHAUL__AUTH__AUDIENCE=backhaul
BACKHAUL__CREDENTIALS__KEY=$("$BIN/backhaul" admin generate-key)
export BACKHAUL__CREDENTIALS__KEY

free_ports() {
    "${ST%/st}/python" - "$1" <<'PY'
import socket, sys
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(each.getsockname()[1] for each in sockets))
PY
}

PIDS=()
clean_up() {
    kill -- "${PIDS[@]}" 2>/dev/null || true
    wait -- "${PIDS[@]}" 2>/dev/null || true
    psql_at "$SERVER" -Xqw -c "DROP DATABASE IF EXISTS $NAME WITH (FORCE)" || true
}
trap clean_up EXIT

read -r UPSTREAM PRODUCER CONSUMER <<<"$(free_ports 3)"
psql_at "$SERVER" -Xqw -c "CREATE DATABASE $NAME"
"$BIN/backhaul" migrate >/dev/null
"$BIN/backhaul" admin tenant create acme >/dev/null
KEY=$("$BIN/backhaul" --json admin key create --tenant acme --name fuzz | sed -n 's/.*"key":"\([^"]*\)".*/\1/p')
CONNECTION=$("$BIN/backhaul" --json admin connection put --tenant acme --name calls --source ultravox \
    --base-url "http://127.0.0.1:$UPSTREAM" --credentials '{"api_key": "key-tenant-1"}' --historical-sync |
    sed -n 's/.*"id":"\([^"]*\)".*/\1/p')
"$BIN/backhaul" admin user put --subject fuzz --tenant acme --role member >/dev/null
TOKEN=$("${ST%/st}/python" "$ROOT/tests/schemathesis/token.py")
export KEY TOKEN CONNECTION UPSTREAM_URL=http://127.0.0.1:$UPSTREAM

"$BIN/sample-upstream" --listen "127.0.0.1:$UPSTREAM" --calls 2000 --delay-ms 20 2>"$LOGS/upstream.log" &
PIDS+=($!)
BACKHAUL__HTTP__LISTEN=127.0.0.1:$PRODUCER "$BIN/producer" 2>"$LOGS/producer.log" &
PIDS+=($!)
BACKHAUL__HTTP__LISTEN=127.0.0.1:$CONSUMER "$BIN/consumer" 2>"$LOGS/consumer.log" &
PIDS+=($!)

say "the programs' logs are in $LOGS"
cd "$ROOT/tests/schemathesis"
SCHEMATHESIS_HOOKS=hooks "$ST" --config-file schemathesis.toml run --no-color --checks all --wait-for-schema 30 \
    --max-time "${FUZZ_SECONDS:-120}" --report-junit-path "$LOGS/report.xml" "$@" "http://127.0.0.1:$PRODUCER/openapi.json"

jobs=$(psql_at "$DATABASE_URL" -XqwAt -c "select status || ' ' || count(*) from backhaul.jobs group by status order by status")
[[ -n $jobs ]] || die "no request made a job, so nothing was tried but refusals" "look at tests/schemathesis/hooks.py"
say "jobs that were made: ${jobs//$'\n'/, }"
broken=$(psql_at "$DATABASE_URL" -XqwAt -c "select * from backhaul.broken_invariants()")
[[ -z $broken ]] || die "the database's invariants are broken: $broken"
if grep -E 'ERROR|panicked' "$LOGS/producer.log"; then die "the producer's log has errors, see above"; fi
say "the database's invariants hold, and the producer's log has no errors"
