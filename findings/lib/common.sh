# shellcheck shell=bash
# What the findings share: a temporary folder, servers out of Debian packages, and clients beside them. Sourced.
#
# A server comes from the packages of a Debian release, unpacked into the temporary folder and started there with
# chroot. Nothing is installed. It never runs as root, and in a process namespace of its own: when the first process in
# there ends, all of them do. Another user than root needs a kernel that allows user namespaces.

WORK=$(mktemp -d)
SERVERS=() # process numbers

# Ends the server that was started last: the first process of its namespace, or itself where it has none.
stop_last() {
    local pid=${SERVERS[-1]}
    unset "SERVERS[-1]"
    pkill -KILL -P "$pid" || kill -KILL "$pid" || true
    wait "$pid" || true
} 2>/dev/null

cleanup() {
    while ((${#SERVERS[@]} > 0)); do stop_last; done
    rm -rf --one-file-system -- "$WORK"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The finding cannot be tried here.
die() {
    echo "cannot run: $*" >&2
    exit 2
}

# expect WHAT SEEN DESCRIBED: fails unless what was seen is what the head comment describes.
expect() {
    if [[ $2 != "$3" ]]; then
        echo "NOT as described: $1: seen '$2', described '$3'" >&2
        exit 1
    fi
    echo "$1: $2"
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# accepts PORT: within 90 seconds, something accepts connections there.
accepts() {
    local try
    for ((try = 0; try < 900; try++)); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then return; fi
        kill -0 "${SERVERS[-1]}" 2>/dev/null || break
        sleep 0.1
    done
    die "nothing listens on port $1; the end of the logs: $(tail -q -n 3 "$WORK"/*.log)"
}

# --- packages ---------------------------------------------------------------------------------------------------------

# pip PACKAGE==VERSION...: into a virtual environment whose interpreter is $PYTHON.
pip() {
    PYTHON=$WORK/venv/bin/python
    [[ -x $PYTHON ]] || python3 -m venv "$WORK/venv" || die "python3 has no venv module"
    "$PYTHON" -m pip --quiet --disable-pip-version-check --no-cache-dir install "$@" || die "pip could not install $*"
}

# npm_install PACKAGE@VERSION...: into $WORK, where node finds them.
npm_install() {
    command -v npm >/dev/null || die "npm is missing"
    (cd -- "$WORK" && npm install --silent --no-audit --no-fund --no-save "$@") || die "npm could not install $*"
}

# debian RELEASE PACKAGE...: unpacks the packages and what they depend on into $WORK/RELEASE, and says their versions.
debian() {
    local release=$1 apt=$WORK/$1.apt tree=$WORK/$1 mirror package
    shift
    command -v apt-get >/dev/null || die "this needs apt-get"
    # shellcheck disable=SC2016 # apt's own format, not the shell's
    mirror=$(apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(REPO_URI)' 'Identifier: Packages' |
        sed -nE 's/^Debian\|Debian\|main\|((https?|file):.*)$/\1/p' | sed -n 1p)
    [[ -n $mirror ]] || die "apt has no Debian mirror"
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$tree/tmp" "$tree/proc" "$tree/dev"
    : >"$apt/status"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $release main" >"$apt/sources.list"
    if ! { apt_of "$apt" update && apt_of "$apt" install --yes --download-only --no-install-recommends \
        base-files bash coreutils dash grep libc-bin sed "$@"; } >"$WORK/apt.log" 2>&1; then
        die "the packages of $release cannot be had: $(grep -m 1 '^E:' "$WORK/apt.log")"
    fi
    # The links from /bin to /usr/bin and the like first.
    for package in "$apt"/cache/archives/{base-files_*,*}.deb; do dpkg-deb --extract "$package" "$tree"; done
    if ((EUID == 0)); then
        USERSPEC=65534:65534
    else
        USERSPEC=$(id -u):$(id -g)
    fi
    mkdir -p "$tree/srv/home"
    chown -R "$USERSPEC" "$tree/srv"
    echo "user:x:$USERSPEC::/srv/home:/bin/sh" >"$tree/etc/passwd"
    printf '127.0.0.1 localhost\n' >"$tree/etc/hosts"
    for package; do
        find "$apt/cache/archives" -name "${package}_*" -printf '%f\n' |
            sed -E 's/^([^_]+)_([^_]+)_.*/using \1 \2/; s/%3a/:/'
    done
    rm -rf -- "$apt"
}

apt_of() {
    local dir=$1
    shift
    apt-get -q -o Dir::Etc::sourcelist="$dir/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null -o Dir::State="$dir" \
        -o Dir::State::status="$dir/status" -o Dir::Cache="$dir/cache" -o Acquire::Languages=none \
        -o APT::Sandbox::User= -o Acquire::Retries=3 "$@"
}

# inside RELEASE [VARIABLE=VALUE...] COMMAND...: starts a server in the tree, in the background.
inside() {
    local tree=$WORK/$1 how=(--mount --propagation private --pid --fork)
    shift
    ((EUID == 0)) || how+=(--user --map-current-user --keep-caps)
    # shellcheck disable=SC2016 # expanded by the inner shell
    PATH=$PATH:/usr/sbin:/sbin unshare "${how[@]}" -- sh -c '
        mount --rbind /dev "$0/dev" && mount -t proc proc "$0/proc" || exit 1
        user=$1; shift
        [ "$(id -u)" = 0 ] && set -- --userspec="$user" --groups= "$0" "$@" || set -- "$0" "$@"
        exec chroot "$@"' "$tree" "$USERSPEC" env -i -C /srv HOME=/srv/home LANG=C.UTF-8 \
        PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin "$@" &
    SERVERS+=($!)
}

# --- servers ----------------------------------------------------------------------------------------------------------

# rabbitmq RELEASE [PLUGIN...]: starts RabbitMQ (guest, guest) of that tree on 127.0.0.1, port $AMQP; the plugins'
# listeners get free ports too: $STOMP, $MQTT, $HTTP.
rabbitmq() {
    local release=$1 tree=$WORK/$1 plugins
    shift
    AMQP=$(free_port) STOMP=$(free_port) MQTT=$(free_port) HTTP=$(free_port)
    plugins=$(IFS=,; echo "$*")
    echo "[$plugins]." >"$tree/srv/enabled_plugins"
    {
        echo "listeners.tcp.default = 127.0.0.1:$AMQP"
        [[ $plugins != *stomp* ]] || echo "stomp.listeners.tcp.default = 127.0.0.1:$STOMP"
        [[ $plugins != *mqtt* ]] || echo "mqtt.listeners.tcp.default = 127.0.0.1:$MQTT"
        [[ $plugins != *management* ]] || printf 'management.tcp.%s\n' ip=127.0.0.1 "port=$HTTP"
        echo 'vm_memory_high_watermark.absolute = 512MB'
        echo 'disk_free_limit.absolute = 50MB'
    } >"$tree/srv/rabbitmq.conf"
    inside "$release" RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_NODENAME="n$AMQP@localhost" \
        RABBITMQ_DIST_PORT="$(free_port)" ERL_EPMD_PORT="$(free_port)" ERL_EPMD_ADDRESS=127.0.0.1 \
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}' \
        RABBITMQ_MNESIA_BASE=/srv/data RABBITMQ_LOG_BASE=/srv/log RABBITMQ_PID_FILE=/srv/pid \
        RABBITMQ_ENABLED_PLUGINS_FILE=/srv/enabled_plugins RABBITMQ_CONFIG_FILE=/srv/rabbitmq.conf \
        RABBITMQ_ADVANCED_CONFIG_FILE=/srv/none RABBITMQ_LOGS=- \
        /usr/lib/rabbitmq/bin/rabbitmq-server >"$WORK/rabbitmq-$release.log" 2>&1
    accepts "$AMQP"
}

# postgres RELEASE VERSION: starts PostgreSQL of that tree on 127.0.0.1, port $PGPORT, and exports what clients read.
postgres() {
    local bin=/usr/lib/postgresql/$2/bin
    export PGHOST=127.0.0.1 PGUSER=postgres PGDATABASE=postgres PGPORT
    PGPORT=$(free_port)
    # shellcheck disable=SC2016 # expanded by the inner shell
    inside "$1" sh -c '"$0/initdb" -D postgres -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync >/dev/null &&
        exec "$0/postgres" -D postgres -p "$1" -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off' \
        "$bin" "$PGPORT" >"$WORK/postgres-$1.log" 2>&1
    accepts "$PGPORT"
}
