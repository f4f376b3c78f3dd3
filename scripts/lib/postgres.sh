# shellcheck shell=bash
# A private PostgreSQL: TCP on 127.0.0.1 only, with a password made at its birth. Sourced by services.sh, which says in
# PG_STATE where its data lies and in PG_TREE in which release's tree its programs are (or nothing).

# A program of the server, as the servers' user.
pg() {
    local program=$1
    shift
    as_server_in "$PG_TREE" "$PG_BIN/$program" "$@"
}

# Sets PG_BIN to the newest installed server, or to the one that the existing data belongs to.
find_postgres() {
    local folder wanted=''
    PG_BIN=''
    [[ ! -f $PG_STATE/postgres.version ]] || read -r wanted <"$PG_STATE/postgres.version"
    while read -r folder; do
        if [[ -x $folder/initdb && -x $folder/pg_ctl && -x $folder/psql ]]; then
            PG_BIN=${folder#"$PG_TREE"}
            [[ -z $wanted || $(postgres_major) == "$wanted" ]] && return 0
        fi
    done < <(printf '%s\n' "$PG_TREE"/usr/{lib/postgresql/*,pgsql-*,local/pgsql}/bin | sort -Vr
        [[ -n $PG_TREE ]] || dirname -- "$(readlink -f -- "$(command -v initdb || echo /none/none)")")
    [[ -n $PG_BIN ]] || return 1
    die "the data in $PG_STATE/postgres is of PostgreSQL $wanted, which is not installed any more" \
        "delete it with: scripts/services.sh reset"
}

postgres_major() { pg pg_ctl --version | grep -oE '[0-9]+' | head -n 1; }

postgres_port() { cat "$PG_STATE/postgres.port" 2>/dev/null || echo 0; }

postgres_url() {
    printf 'postgres://postgres:%s@127.0.0.1:%s/%s' "$(<"$PG_STATE/postgres.password")" "$(postgres_port)" "$1"
}

# Programs that connect to the server as its owner, who is asked for a password: it is in a file that only we can read.
pg_client() {
    password_line 127.0.0.1 "$(postgres_port)" "$(<"$PG_STATE/postgres.password")" |
        (umask 077 && cat >"$PG_STATE/postgres.passfile")
    PGPASSFILE=$PG_STATE/postgres.passfile in_tree "$PG_TREE" "$PG_BIN/$1" \
        -w -h 127.0.0.1 -p "$(postgres_port)" -U postgres "${@:2}"
}

postgres_pid() { recorded_process "$PG_STATE/postgres.process"; }

postgres_runs() { [[ -n $(postgres_pid) ]]; }

# A server that is full still counts as answering: it works for somebody.
postgres_answers() { port_is_ours "$(postgres_port)" && pg pg_isready -q -t 3 -h 127.0.0.1 -p "$(postgres_port)"; }

postgres_up() {
    if postgres_runs; then
        wait_until PostgreSQL 120 postgres_runs postgres_answers && return
        die "PostgreSQL (process $(postgres_pid)) runs but does not answer on port $(postgres_port)" \
            "look at $PG_STATE/postgres/log, or run: scripts/services.sh down"
    fi
    postgres_create
    postgres_start
    [[ $(pg_client psql -XAtq -d postgres -c "SELECT count(*) FROM pg_database WHERE datname = 'backhaul'") == 1 ]] ||
        pg_client createdb --maintenance-db=postgres backhaul
}

# The data folder gets its name only when it is whole, so an interrupted initdb leaves nothing to trip over.
postgres_create() {
    [[ ! -d $PG_STATE/postgres/data ]] || return 0
    say "creating a private PostgreSQL $(postgres_major) in $PG_STATE/postgres"
    make_server_folder "$PG_STATE/postgres"
    make_password "$PG_STATE/postgres.password"
    as_server rm -rf "$PG_STATE/postgres/data.new"
    write_server_file "$PG_STATE/postgres/password" <"$PG_STATE/postgres.password"
    # The password travels in clear text over loopback, which spares an unoptimised client SCRAM's 4,096 hash rounds
    # at every connection.
    pg initdb -D "$PG_STATE/postgres/data.new" -U postgres -A password --pwfile="$PG_STATE/postgres/password" \
        -E UTF8 --locale=C.UTF-8 --no-sync >"$PG_STATE/initdb.log" 2>&1 ||
        die "initdb failed: $(tail -n 3 "$PG_STATE/initdb.log" | tr '\n' ' ')" "see $PG_STATE/initdb.log"
    as_server rm "$PG_STATE/postgres/password"
    as_server mv "$PG_STATE/postgres/data.new" "$PG_STATE/postgres/data"
    postgres_major >"$PG_STATE/postgres.version"
}

# A port that is free now may be taken a moment later, so a failed start is tried on other ports.
postgres_start() {
    local tries options
    # Only the first process has the folder among its arguments: the others change their names.
    end_unrecorded PostgreSQL "$PG_STATE/postgres/data" INT
    rm -f -- "$PG_STATE/postgres.process"
    as_server rm -f "$PG_STATE/postgres/data/postmaster.pid" # of a server that is gone
    for tries in 1 2 3; do
        if ! port_is_free "$(postgres_port)" || [[ $(postgres_port) == 0 || $tries != 1 ]]; then
            pick_port
            echo "$PORT" >"$PG_STATE/postgres.port"
        fi
        # Durable as in production, since the demo measures. No Unix socket: its path could be too long.
        options="-p $(postgres_port) -c listen_addresses=127.0.0.1 -c unix_socket_directories="
        options+=" -c max_connections=300 -c shared_buffers=256MB -c timezone=UTC -c log_timezone=UTC"
        say "starting PostgreSQL $(postgres_major) on 127.0.0.1:$(postgres_port)"
        if pg pg_ctl -D "$PG_STATE/postgres/data" -l "$PG_STATE/postgres/log" -w -t 120 \
            -o "$options" start >"$PG_STATE/pg_ctl.log" 2>&1 9>&- &&
            record_process "$PG_STATE/postgres.process" "$(as_server head -n 1 "$PG_STATE/postgres/data/postmaster.pid")"; then
            return
        fi
    done
    die "PostgreSQL does not start: $(as_server tail -n 3 "$PG_STATE/postgres/log" | tr '\n' ' ')" \
        "see $PG_STATE/postgres/log; if its data is damaged: scripts/services.sh reset"
}

postgres_down() {
    postgres_runs || end_unrecorded PostgreSQL "$PG_STATE/postgres/data" INT
    postgres_runs || return 0
    find_postgres || die "PostgreSQL runs (process $(postgres_pid)) but pg_ctl is gone" "end that process yourself"
    say "stopping PostgreSQL"
    pg pg_ctl -D "$PG_STATE/postgres/data" -m fast -w -t 60 stop >"$PG_STATE/pg_ctl.log" 2>&1 ||
        die "PostgreSQL does not stop: $(tail -n 1 "$PG_STATE/pg_ctl.log")" "end process $(postgres_pid) yourself"
}
