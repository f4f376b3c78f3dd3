# shellcheck shell=bash
# Which processes are ours. Sourced, after common.sh.
#
# A server of ours is sent a password, so it has to be the one that was started here: anybody may start a process with any
# arguments, listen on a port that was ours, or get a number that was ours. A file in the state folder, which nobody else can
# write, says which process it is: by its number, its start, and the boot that the start is counted from. And its owner has to
# be the servers' user.

# "NUMBER START BOOT" of a living process of the servers' user, or nothing.
process_identity() {
    local stat fields
    [[ $(stat -c %u "/proc/$1" 2>/dev/null) == "$SERVER_UID" ]] || return 0
    # The name may hold blanks and parentheses; the state and all that follows stand behind the last one.
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
    read -ra fields <<<"${stat##*) }"
    [[ ${fields[0]} != [ZX] ]] || return 0
    echo "$1 ${fields[19]} $(cat /proc/sys/kernel/random/boot_id)"
}

# Writes down that a process is ours.
record_process() {
    local identity
    identity=$(process_identity "$2")
    [[ -n $identity ]] || return 1
    echo "$identity" >"$1"
}

# The number of the process that a file says is ours, if it is still the same; else nothing.
recorded_process() {
    local recorded
    recorded=$(cat "$1" 2>/dev/null) || return 0
    [[ $recorded =~ ^[0-9]+' ' && $(process_identity "${recorded%% *}") == "$recorded" ]] || return 0
    echo "${recorded%% *}"
}

# The number of a process of the servers' user that has the given text as one of its arguments, or nothing. The text comes on
# standard input, or grep would find itself.
process_with() {
    local file
    while read -r file; do
        file=${file#/proc/}
        [[ -z $(process_identity "${file%%/*}") ]] || { echo "${file%%/*}" && return; }
    done < <(grep -lzxF -f - /proc/[0-9]*/cmdline 2>/dev/null <<<"$1")
}

# Ends a server that uses a folder of ours and was not written down: who started it was killed before that, or was another
# version of this. Two servers on the same data would destroy it.
end_unrecorded() {
    local what=$1 text=$2 signal=$3 number tries
    number=$(process_with "$text")
    [[ -n $number ]] || return 0
    say "$what (process $number) runs on $text and was not written down as ours: stopping it"
    as_server kill "-$signal" "$number"
    for ((tries = 0; tries < 300; tries++)); do
        [[ -n $(process_identity "$number") ]] || return 0
        sleep 0.2
    done
    die "$what (process $number) does not stop" "end it yourself"
}

# The user who listens on a port, from the kernel's own table; nothing if nobody does, more than one line if several do.
port_owner() {
    local local_address state uid
    while read -r _ local_address _ state _ _ _ uid _; do
        [[ $state != 0A || $((0x${local_address##*:})) != "$1" ]] || echo "$uid"
    done < <(tail -qn +2 /proc/net/tcp /proc/net/tcp6 2>/dev/null) | sort -u
}

# Whether the servers' user, and nobody else, listens there.
port_is_ours() { [[ $(port_owner "$1") == "$SERVER_UID" ]]; }
