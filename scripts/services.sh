#!/usr/bin/env bash
# Finds or starts PostgreSQL and RabbitMQ for the demo, the tests and CI.
#
#     scripts/services.sh up            have both ready (at once if they are)
#     scripts/services.sh run CMD...    the same, then run CMD with their addresses in its environment
#     scripts/services.sh programs      have the servers' programs installed, start nothing
#     scripts/services.sh psql [ARGS]   the same, then open the database
#     scripts/services.sh console       the same, then say where the broker's console is, and how to log in
#     scripts/services.sh env           print the addresses, for: eval "$(scripts/services.sh env)"
#     scripts/services.sh status        say what there is; exit status 1 if something is missing
#     scripts/services.sh down          stop what was started here; its data stays
#     scripts/services.sh reset         stop it, and delete its data
#
# Each of the two is found in this order:
#   1. DATABASE_URL, AMQP_URL (and MANAGEMENT_URL, for the broker's console), when set: used as they are.
#   2. Programs installed on this machine: private instances of them run on free ports of 127.0.0.1, as an
#      unprivileged user, beside any server that the machine already runs, and stay for the next command.
#      Their data is in .services/; for root, in /var/tmp/backhaul-<hash of this folder's path>, as user nobody.
#      Each has a password of its own, in a file there that only you can read: {postgres,rabbitmq}.password.
#   3. The same after installing the packages with apt (root or sudo), whose own servers are not started.
# SERVICES=docker takes both from docker-compose.yml instead. RABBITMQ_RELEASE and POSTGRES_RELEASE (bookworm, trixie, sid) take
# that Debian release's programs, from a tree that scripts/releases.sh makes (as root), with data of their own; the
# private servers that tests start are of the same release.
set -euo pipefail

# shellcheck source=scripts/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=scripts/lib/processes.sh
. "$ROOT/scripts/lib/processes.sh"
# shellcheck source=scripts/lib/secrets.sh
. "$ROOT/scripts/lib/secrets.sh"
# shellcheck source=scripts/lib/postgres.sh
. "$ROOT/scripts/lib/postgres.sh"
# shellcheck source=scripts/lib/rabbitmq.sh
. "$ROOT/scripts/lib/rabbitmq.sh"
# shellcheck source=scripts/lib/docker.sh
. "$ROOT/scripts/lib/docker.sh"
# shellcheck source=scripts/lib/releases.sh
. "$ROOT/scripts/lib/releases.sh"

usage() { sed -n '2,23s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

# Which of the two we have to provide, and how.
case ${SERVICES:-} in
    '' | docker) ;;
    *) die "SERVICES is '$SERVICES'" "leave it unset, or set it to docker" ;;
esac
private_postgres() { [[ -z ${DATABASE_URL:-} && ${SERVICES:-} != docker ]]; }
private_rabbitmq() { [[ -z ${AMQP_URL:-} && ${SERVICES:-} != docker ]]; }

# Where the data and the programs of each are: of this machine's own release, or of the one that is named.
choose_releases() {
    RABBIT_RELEASE=$1 PG_RELEASE=$2
    RABBIT_STATE=$STATE RABBIT_TREE='' PG_STATE=$STATE PG_TREE=''
    if [[ -n $1 ]]; then RABBIT_STATE=$STATE/$1 RABBIT_TREE=$(tree_of "$1"); fi
    if [[ -n $2 ]]; then PG_STATE=$STATE/$2 PG_TREE=$(tree_of "$2"); fi
}

chosen_releases() { printf '%s\n' "$RABBIT_RELEASE" "$PG_RELEASE" | grep . | sort -u || true; }

of_release() { [[ -z $1 ]] || echo " of Debian $1"; }

# A mistyped address should fail here, in words, and not in the middle of a test. What has no plain host and
# port (a Unix socket, several hosts) is left to the client.
check_own() {
    local name=$1 url=$2 default=$3 host port
    [[ $url =~ ^[a-z]+://([^@/]*@)?(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+)(:([0-9]+))?([/?]|$) ]] || return 0
    host=${BASH_REMATCH[2]//[\[\]]/} port=${BASH_REMATCH[4]:-$default}
    port_accepts "$host" "$port" ||
        die "$name names $host:$port, where nothing accepts connections" \
            "start that server, or unset $name to get a private one"
}

check_own_services() {
    [[ -z ${DATABASE_URL:-} ]] || check_own DATABASE_URL "$DATABASE_URL" 5432
    case ${AMQP_URL:-} in
        '') ;;
        amqps:*) check_own AMQP_URL "$AMQP_URL" 5671 ;;
        *) check_own AMQP_URL "$AMQP_URL" 5672 ;;
    esac
}

# Installs what is missing of the programs that private instances need.
find_programs() {
    local packages=() releases
    mapfile -t releases < <(chosen_releases)
    if ((${#releases[@]} > 0)); then
        "$ROOT/scripts/releases.sh" make "${releases[@]}" 9>&- ||
            die "RabbitMQ and PostgreSQL of Debian ${releases[*]} are not here" "unset RABBITMQ_RELEASE and POSTGRES_RELEASE"
        mkdir -p -- "$PG_STATE" "$RABBIT_STATE"
    fi
    if private_postgres && ! find_postgres; then packages+=(postgresql postgresql-client); fi
    if private_rabbitmq && ! find_rabbitmq; then packages+=(rabbitmq-server); fi
    ((${#packages[@]} > 0)) || return 0
    say "not installed here: ${packages[*]}"
    apt_install "${packages[@]}" ||
        die "could not install ${packages[*]} (Debian or Ubuntu, and root or sudo, are needed)" \
            "install them yourself, or set DATABASE_URL and AMQP_URL to servers that run, or use SERVICES=docker"
    if private_postgres; then find_postgres || die "PostgreSQL was installed, but its programs were not found"; fi
    if private_rabbitmq; then find_rabbitmq || die "RabbitMQ was installed, but its programs were not found"; fi
}

up() {
    if [[ ${SERVICES:-} == docker ]]; then
        [[ -z $(chosen_releases) ]] || die "SERVICES=docker has versions of its own" "unset RABBITMQ_RELEASE and POSTGRES_RELEASE"
        docker_up
        return
    fi
    check_own_services
    if private_postgres || private_rabbitmq || [[ -n $(chosen_releases) ]]; then
        make_state
        lock_state services.lock
        find_programs
        if private_postgres; then postgres_up; fi
        if private_rabbitmq; then rabbit_up; fi
        exec 9>&-
    fi
}

# Addresses of everything that is up, our caller's own included, as NAME=value.
addresses() {
    local management=${MANAGEMENT_URL:-}
    if [[ ${SERVICES:-} == docker ]]; then
        docker_addresses
        return
    fi
    check_state
    if private_postgres; then
        if ! find_postgres || ! postgres_runs || ! postgres_answers; then return 1; fi
        echo "DATABASE_URL=$(postgres_url backhaul)"
    else
        echo "DATABASE_URL=$DATABASE_URL"
    fi
    if private_rabbitmq; then
        if ! rabbit_runs || ! rabbit_answers; then return 1; fi
        echo "AMQP_URL=$(rabbit_url)"
        management=http://127.0.0.1:$(rabbit_port 2)
    else
        echo "AMQP_URL=$AMQP_URL"
    fi
    [[ -z $management ]] || echo "MANAGEMENT_URL=$management"
    # For the servers that tests start.
    [[ -z $RABBIT_TREE ]] || echo "RABBITMQ_TREE=$RABBIT_TREE"
    [[ -z $PG_TREE ]] || echo "POSTGRES_TREE=$PG_TREE"
}

print_env() {
    local lines line
    lines=$(addresses) || die "the services do not run" "start them with: scripts/services.sh up"
    while read -r line; do printf 'export %s=%q\n' "${line%%=*}" "${line#*=}"; done <<<"$lines"
}

up_and_export() {
    local variables
    up
    variables=$(print_env)
    eval "$variables"
}

status() {
    local missing=0
    if [[ ${SERVICES:-} == docker ]]; then
        docker_compose ps
        return
    fi
    check_state
    if ! private_postgres; then
        echo "PostgreSQL: yours (DATABASE_URL)"
    elif postgres_runs && find_postgres && postgres_answers; then
        echo "PostgreSQL: private, version $(postgres_major)$(of_release "$PG_RELEASE"), 127.0.0.1:$(postgres_port), process $(postgres_pid)"
    else
        echo "PostgreSQL: not running"
        missing=1
    fi
    if ! private_rabbitmq; then
        echo "RabbitMQ:   yours (AMQP_URL)"
    elif rabbit_runs && rabbit_answers; then
        echo "RabbitMQ:   private$(of_release "$RABBIT_RELEASE"), 127.0.0.1:$(rabbit_port 1), process $(rabbit_pid)"
        echo "Console:    http://127.0.0.1:$(rabbit_port 2) (user guest, password in $RABBIT_STATE/rabbitmq.password)"
    else
        echo "RabbitMQ:   not running"
        missing=1
    fi
    [[ ! -d $STATE ]] || echo "Data:       $STATE"
    return "$missing"
}

# Those of every release that this checkout has used.
down() {
    local release
    if [[ ${SERVICES:-} == docker ]]; then docker_down; fi
    [[ -d $STATE ]] || return 0
    make_state
    lock_state services.lock
    "$ROOT/scripts/datasette.sh" down 9>&-
    for release in '' "${RELEASES[@]}"; do
        choose_releases "$release" "$release"
        rabbit_down
        postgres_down
    done
    exec 9>&-
}

reset() {
    if [[ ${SERVICES:-} == docker ]]; then docker_compose down --volumes >&2; fi
    down
    [[ ! -d $STATE ]] || { say "deleting $STATE" && rm -rf -- "$STATE"; }
}

for release in "${RABBITMQ_RELEASE:-}" "${POSTGRES_RELEASE:-}"; do
    [[ -z $release ]] || check_release "$release"
done
locate_state
choose_releases "${RABBITMQ_RELEASE:-}" "${POSTGRES_RELEASE:-}"
case ${1:-} in
    up) up ;;
    run)
        shift
        (($# > 0)) || die "run needs a command"
        up_and_export
        exec "$@"
        ;;
    psql)
        shift
        up_and_export
        PGOPTIONS="${PGOPTIONS:-} -csearch_path=backhaul" psql_at "$DATABASE_URL" "$@"
        ;;
    console)
        up_and_export
        take_password "$AMQP_URL"
        echo "${MANAGEMENT_URL:-unknown: set MANAGEMENT_URL}  (user ${URL_USER:-guest}, password ${URL_PASSWORD:-guest})"
        ;;
    programs)
        unset DATABASE_URL AMQP_URL SERVICES
        find_programs
        ;;
    env) print_env ;;
    status) status ;;
    down) down ;;
    reset) reset ;;
    *)
        usage >&2
        exit 2
        ;;
esac
