# shellcheck shell=bash
# A private RabbitMQ with its management console: TCP on 127.0.0.1 only, user guest, with a password of its own.
# Sourced by services.sh, which says in RABBIT_STATE where its data lies and in RABBIT_TREE in which release's tree its
# programs are (or nothing).

# The programs themselves: the wrappers in /usr/sbin refuse every user but root and rabbitmq.
find_rabbitmq() {
    local folder
    RABBIT_BIN=''
    while read -r folder; do
        if [[ -x $folder/rabbitmq-server && -x $folder/rabbitmqctl ]]; then
            RABBIT_BIN=${folder#"$RABBIT_TREE"}
            return
        fi
    done < <(printf '%s\n' "$RABBIT_TREE"/usr/lib/rabbitmq/bin
        printf '%s\n' "$RABBIT_TREE"/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin "$RABBIT_TREE"/opt/rabbitmq*/sbin | sort -Vr)
    return 1
}

# Line by line: amqp, management, distribution, epmd.
rabbit_port() { sed -n "${1}p" "$RABBIT_STATE/rabbitmq.ports" 2>/dev/null | grep . || echo 0; }

# Runs a RabbitMQ program with nothing but our own settings. The epmd (Erlang's name server) is our own as well:
# the machine's may listen for another user's nodes, or be of another Erlang.
rabbit_env() {
    local home=$RABBIT_STATE/rabbitmq path=$PATH
    [[ -z $RABBIT_TREE ]] || path=$TREE_PATH
    as_server_in "$RABBIT_TREE" env -i PATH="$path" LANG=C.UTF-8 HOME="$home" \
        ERL_EPMD_PORT="$(rabbit_port 4)" ERL_EPMD_ADDRESS=127.0.0.1 \
        RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_NODENAME=backhaul@localhost \
        RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT="$(rabbit_port 1)" \
        RABBITMQ_DIST_PORT="$(rabbit_port 3)" \
        RABBITMQ_MNESIA_BASE="$home/mnesia" RABBITMQ_LOG_BASE="$home/log" RABBITMQ_PID_FILE="$home/pid" \
        RABBITMQ_ENABLED_PLUGINS_FILE="$home/enabled_plugins" RABBITMQ_CONFIG_FILE="$home/rabbitmq" \
        RABBITMQ_ADVANCED_CONFIG_FILE="$home/advanced.config" \
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1} -backhaul $home" \
        "$@"
}

# RabbitMQ's own pid file goes away when a stop begins, not when it ends.
rabbit_pid() { recorded_process "$RABBIT_STATE/rabbitmq.process"; }

rabbit_runs() { [[ -n $(rabbit_pid) ]]; }

# Writes down which process is the broker that we have just started, found by the flag -backhaul above.
rabbit_record() {
    local number
    number=$(process_with "$RABBIT_STATE/rabbitmq")
    [[ -n $number ]] && record_process "$RABBIT_STATE/rabbitmq.process" "$number"
}

# A shell script starts the Erlang machine after a moment: only later does its absence mean a failure.
rabbit_starts() { rabbit_runs || rabbit_record || ((SECONDS - RABBIT_STARTED < 20)); }

# A broker that works answers the protocol header with a method frame, whose first byte is 1.
rabbit_answers() {
    local reply
    port_is_ours "$(rabbit_port 1)" || return 1
    # shellcheck disable=SC2016 # expanded by the inner bash
    reply=$(timeout 5 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$0" && printf "AMQP\0\0\11\1" >&3 && head -c 1 <&3 | od -An -tu1' \
        "$(rabbit_port 1)" 2>/dev/null) || return 1
    [[ ${reply//[[:space:]]/} == 1 ]]
}

rabbit_ready() { rabbit_answers && port_is_ours "$(rabbit_port 2)" && port_accepts 127.0.0.1 "$(rabbit_port 2)"; }

rabbit_up() {
    if rabbit_runs; then
        wait_until RabbitMQ 240 rabbit_runs rabbit_ready && return
        die "RabbitMQ (process $(rabbit_pid)) runs but does not answer on port $(rabbit_port 1)" \
            "look at $RABBIT_STATE/rabbitmq/log, or run: scripts/services.sh down"
    fi
    rabbit_start
}

rabbit_start() {
    local tries result
    end_unrecorded RabbitMQ "$RABBIT_STATE/rabbitmq" TERM
    rm -f -- "$RABBIT_STATE/rabbitmq.process"
    [[ -d $RABBIT_STATE/rabbitmq ]] || say "creating a private RabbitMQ in $RABBIT_STATE/rabbitmq"
    make_server_folder "$RABBIT_STATE/rabbitmq"
    rabbit_stop_epmd # one may be left of a node that was killed
    as_server mkdir -p "$RABBIT_STATE/rabbitmq/mnesia" "$RABBIT_STATE/rabbitmq/log"
    for tries in 1 2 3; do
        rabbit_choose_ports "$tries"
        rabbit_configure
        say "starting RabbitMQ on 127.0.0.1:$(rabbit_port 1), console on port $(rabbit_port 2) (this takes 5 to 60 s)"
        # A session of its own: Ctrl-C in the terminal must not reach the broker.
        rabbit_env setsid --fork "$RABBIT_BIN/rabbitmq-server" </dev/null >"$RABBIT_STATE/rabbitmq.out" 2>&1 9>&-
        RABBIT_STARTED=$SECONDS
        result=0
        wait_until RabbitMQ 240 rabbit_starts rabbit_ready || result=$?
        rabbit_runs || rabbit_record || result=1
        ((result != 0)) || return 0
        ((result == 1)) || break
    done
    rabbit_down || true
    die "RabbitMQ does not start: $(grep -m 3 -iE 'error|failed|exception' "$RABBIT_STATE/rabbitmq.out" | tr '\n' ' ')" \
        "see $RABBIT_STATE/rabbitmq.out and $RABBIT_STATE/rabbitmq/log; if its data is damaged: scripts/services.sh reset"
}

# The ports of the last run are kept if all of them are free: an open console page stays good.
rabbit_choose_ports() {
    local ports=() number
    for number in 1 2 3 4; do
        PORT=$(rabbit_port "$number")
        if [[ $1 != 1 || $PORT == 0 ]] || ! port_is_free "$PORT"; then pick_port; fi
        ports+=("$PORT")
    done
    printf '%s\n' "${ports[@]}" >"$RABBIT_STATE/rabbitmq.ports"
}

rabbit_configure() {
    make_password "$RABBIT_STATE/rabbitmq.password"
    rabbit_definitions | write_server_file "$RABBIT_STATE/rabbitmq/definitions.json"
    write_server_file "$RABBIT_STATE/rabbitmq/rabbitmq.conf" <<CONF
listeners.tcp.default = 127.0.0.1:$(rabbit_port 1)
management.tcp.ip = 127.0.0.1
management.tcp.port = $(rabbit_port 2)
log.console = false
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 50MB
load_definitions = $RABBIT_STATE/rabbitmq/definitions.json
CONF
    write_server_file "$RABBIT_STATE/rabbitmq/enabled_plugins" <<<'[rabbitmq_management].'
}

# The user, at every start: the data may be older than its password, of which this holds a hash.
rabbit_definitions() {
    local salt hash
    salt=$(head -c 4 /dev/urandom | od -An -tx1 | tr -d ' \n')
    hash=$({ bytes "$salt" && cat "$RABBIT_STATE/rabbitmq.password"; } | sha256sum | cut -c 1-64)
    cat <<JSON
{
  "users": [{
    "name": "guest", "tags": "administrator",
    "password_hash": "$(bytes "$salt$hash" | base64 -w 0)", "hashing_algorithm": "rabbit_password_hashing_sha256"
  }],
  "vhosts": [{ "name": "/" }],
  "permissions": [{ "user": "guest", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*" }]
}
JSON
}

# The bytes that are written in hexadecimal.
bytes() { printf '%b' "$(sed 's/../\\x&/g' <<<"$1")"; }

# It refuses to go while it knows of a node, which may be some moments after that node's end.
rabbit_stop_epmd() {
    local tries
    [[ $(rabbit_port 4) != 0 ]] || return 0
    for ((tries = 0; tries < 10; tries++)); do
        if port_is_free "$(rabbit_port 4)"; then return; fi
        rabbit_env epmd -kill >/dev/null 2>&1 || true
        sleep 0.2
    done
}

rabbit_gone() { ! rabbit_runs; }

rabbit_url() { printf 'amqp://guest:%s@127.0.0.1:%s/%%2f' "$(<"$RABBIT_STATE/rabbitmq.password")" "$(rabbit_port 1)"; }

rabbit_down() {
    rabbit_runs || end_unrecorded RabbitMQ "$RABBIT_STATE/rabbitmq" TERM
    if rabbit_runs; then
        say "stopping RabbitMQ"
        as_server kill -TERM "$(rabbit_pid)"
        wait_until "RabbitMQ to stop" 60 rabbit_runs rabbit_gone || rabbit_gone || {
            say "RabbitMQ has not stopped in 60 s: killing it"
            as_server kill -KILL "$(rabbit_pid)"
        }
    fi
    rabbit_stop_epmd
}
