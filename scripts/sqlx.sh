#!/usr/bin/env bash
# The .sqlx folder holds what PostgreSQL says about every statement of store, so that a build needs no
# database. This renews it from the migrations, or checks that it is up to date:
#
#     scripts/services.sh run scripts/sqlx.sh renew
#     scripts/services.sh run scripts/sqlx.sh check
set -euo pipefail

# shellcheck source=scripts/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=scripts/lib/secrets.sh
. "$ROOT/scripts/lib/secrets.sh"

[[ ${1:-} == renew || ${1:-} == check ]] || die "say renew or check"
[[ -n ${DATABASE_URL:-} ]] || die "DATABASE_URL is not set" "run: scripts/services.sh run scripts/sqlx.sh $1"
command -v psql >/dev/null || die "psql is not here" "install it: apt install postgresql-client"
[[ $DATABASE_URL =~ ^(postgres(ql)?://[^/?]*)(/[^?]*)?(\?.*)?$ ]] || die "DATABASE_URL is not a postgres:// URL"
scratch=backhaul_sqlx_$$
scratch_url=${BASH_REMATCH[1]}/$scratch${BASH_REMATCH[4]}
# Neither migrations nor statements name the schema: it is the search_path of every session.
if [[ $scratch_url == *\?* ]]; then scratch_url+='&'; else scratch_url+='?'; fi
scratch_url+=options=-csearch_path%3Dbackhaul

mkdir -p "$ROOT/target"
fresh=$(mktemp -d "$ROOT/target/sqlx.XXXXXX")
clean_up() {
    rm -rf -- "$fresh"
    psql_at "$DATABASE_URL" -Xqw -c "DROP DATABASE IF EXISTS $scratch" || true
}
trap clean_up EXIT

psql_at "$DATABASE_URL" -Xqw -c "CREATE DATABASE $scratch"
# As `backhaul migrate` does it: in the order of the file names, the functions and views last.
psql_at "$scratch_url" -Xqw -v ON_ERROR_STOP=1 -c "CREATE SCHEMA backhaul"
for migration in "$ROOT"/migrations/*.up.sql "$ROOT"/migrations/repeatable/*.sql; do
    psql_at "$scratch_url" -Xqw -v ON_ERROR_STOP=1 --single-transaction -f "$migration" >/dev/null
done

# The macros write what they learn while they expand. Cargo expands them again only if it thinks that the crate
# has changed.
touch "$ROOT/common/store/src/lib.rs"
(cd "$ROOT" && SQLX_OFFLINE=false SQLX_OFFLINE_DIR=$fresh DATABASE_URL=$scratch_url \
    cargo check --quiet --package store --all-targets)

if [[ $1 == check ]]; then
    diff -rq "$ROOT/.sqlx" "$fresh" >&2 ||
        die "the .sqlx folder does not match the statements and migrations" "renew it and commit it: make sqlx"
    say ".sqlx is up to date"
else
    rm -rf -- "$ROOT/.sqlx"
    mkdir "$ROOT/.sqlx"
    cp "$fresh"/* "$ROOT/.sqlx/"
    say "wrote $(find "$ROOT/.sqlx" -name '*.json' | wc -l) statements to .sqlx"
fi
