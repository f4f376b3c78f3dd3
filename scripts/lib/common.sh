# shellcheck shell=bash
# What every script here shares; sourced, never run.
#
# Messages go to standard error, so that standard output stays free for what a caller wants to read.

ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

# Each argument is a line: what happened, then what to do about it.
die() {
    local line
    for line in "$@"; do say "$line"; done
    exit 1
}

# Names the folder for private services, and the user that their servers run as: PostgreSQL refuses to run as
# root, and a server of another user cannot enter root's home. A path with blanks would break RabbitMQ's scripts.
locate_state() {
    if ((EUID == 0)) || [[ $ROOT == *[[:space:]]* ]]; then
        STATE=/var/tmp/backhaul-$(printf %s "$ROOT" | sha256sum | cut -c1-12)
    else
        STATE=$ROOT/.services
    fi
    SERVER_UID=$EUID SERVER_GID=$(id -g)
    if ((EUID == 0)); then
        SERVER_UID=$(id -u nobody) SERVER_GID=$(id -g nobody)
    fi
}

# Creates the folder.
make_state() {
    [[ -d $STATE ]] || mkdir -m 0755 -- "$STATE" 2>/dev/null || [[ -d $STATE ]] ||
        die "cannot create $STATE" "make its parent folder writable, or set DATABASE_URL and AMQP_URL"
    check_state
    printf '%s\n' "$ROOT" >"$STATE/checkout"
}

# /var/tmp is everybody's: a folder that somebody else has put there is refused, and so is what it says about servers.
check_state() {
    [[ ! -e $STATE || (! -L $STATE && -O $STATE) ]] ||
        die "$STATE belongs to somebody else" "remove it, or set DATABASE_URL and AMQP_URL"
}

# A folder inside the state folder that the servers may write to, and nobody else may read.
make_server_folder() {
    [[ -d $1 ]] || install -d -m 0700 -o "$SERVER_UID" -g "$SERVER_GID" -- "$1"
}

# Runs a command as the servers' user, in a folder that this user can enter.
as_server() { as_server_in '' "$@"; }

# A file in such a folder, from standard input.
write_server_file() { as_server sh -c 'umask 077 && cat >"$0"' "$1"; }

# Runs a command as ourselves, in the tree of another release if one is named.
in_tree() (
    tree=$1
    shift
    cd -- "$STATE" || exit
    [[ -z $tree ]] || exec "$ROOT/scripts/in_release.sh" "$tree" "$STATE" "$@"
    exec "$@"
)

# The same as the servers' user.
as_server_in() (
    local tree=$1 command=()
    shift
    cd -- "$STATE" || exit
    [[ -z $tree ]] || command+=("$ROOT/scripts/in_release.sh" "$tree" "$STATE")
    ((EUID != 0)) || command+=(setpriv --reuid="$SERVER_UID" --regid="$SERVER_GID" --clear-groups --)
    exec "${command[@]}" "$@"
)

# One command at a time works on the services of a checkout. Whoever starts a daemon closes descriptor 9,
# or the daemon would hold the lock for as long as it lives.
lock_state() {
    exec 9>"$STATE/$1"
    flock --nonblock 9 && return
    say "waiting for another command that is working on the services of this checkout"
    flock --timeout 600 9 || die "the lock $STATE/$1 is still held after 10 minutes" "end the command that holds it"
}

# Ports that somebody listens on, from the kernel's own table: a bare machine has neither ss nor netstat.
listening_ports() {
    local local_address state
    while read -r _ local_address _ state _; do
        [[ $state != 0A ]] || printf '%d\n' "0x${local_address##*:}"
    done < <(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null)
}

# No `grep -q` behind a pipe in these scripts: it leaves early, and with pipefail its writer's SIGPIPE is an error.
port_is_free() { [[ " $(listening_ports | tr '\n' ' ')" != *" $1 "* ]]; }

# Sets PORT to a free port below the range from which the kernel takes the ports of outgoing connections.
# Two calls may not give the same port, though nothing listens on the first one yet.
PICKED=' '
pick_port() {
    local tries
    for ((tries = 0; tries < 200; tries++)); do
        PORT=$((20000 + RANDOM % 12000))
        if [[ $PICKED != *" $PORT "* ]] && port_is_free "$PORT"; then
            PICKED+="$PORT "
            return
        fi
    done
    die "found no free port between 20000 and 31999" "stop some of the servers of this machine"
}

# Whether something accepts TCP connections there.
# shellcheck disable=SC2016 # expanded by the inner bash
port_accepts() { timeout 3 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2" 2>/dev/null; }

# Calls a test once a second until it holds, the process ends or the seconds are over; says now and then that
# it is still waiting. Returns 1 when the process ended, 2 when time is up.
wait_until() {
    local what=$1 seconds=$2 alive=$3 test=$4 started=$SECONDS next=10
    until "$test"; do
        "$alive" || return 1
        ((SECONDS - started < seconds)) || return 2
        if ((SECONDS - started >= next)); then
            say "still waiting for $what ($next s)"
            next=$((next + 10))
        fi
        sleep 0.3
    done
}

# Has a program installed, whose package has the same name, or the second one. It is not started.
provide_program() {
    PATH=$PATH:/usr/sbin command -v "$1" >/dev/null && return
    say "not installed here: $1"
    apt_install "${2:-$1}" ||
        die "could not install ${2:-$1} (Debian or Ubuntu, and root or sudo, are needed)" "install it yourself"
}

# Installs Debian packages if we may; the message for a machine where we may not is the caller's.
apt_install() {
    command -v apt-get >/dev/null || return 1
    if ((EUID == 0)); then
        "$ROOT/scripts/apt_install.sh" "$@"
    elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [[ -t 0 ]]; }; then
        say "installing needs root: sudo may ask for your password"
        sudo "$ROOT/scripts/apt_install.sh" "$@"
    else
        return 1
    fi >&2
}
