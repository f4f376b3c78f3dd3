#!/usr/bin/env bash
# Runs what is built (`make matrix` builds it) on the RabbitMQ and PostgreSQL of three Debian releases, in all nine
# pairs, and prints one table:
#
#     scripts/matrix.sh                        all pairs; writes docs/matrix.md
#     scripts/matrix.sh sid+sid bookworm+sid   these pairs of RabbitMQ's and PostgreSQL's release
#     scripts/matrix.sh --short ...            the demo and the broker tests only, whichever the pair
#
# Both servers of one release are tried with the demo, the broker tests (scripts/server_tests.sh broker), the end-to-end suite
# and two minutes of chaos; other pairs with the first two. What cannot be had here is skipped, in words. The exit status
# is 1 if something failed. The steps' logs are in target/matrix.
set -euo pipefail

# shellcheck source=scripts/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=scripts/lib/releases.sh
. "$ROOT/scripts/lib/releases.sh"

LOGS=$ROOT/target/matrix
TABLE=$ROOT/docs/matrix.md
BIN=${CARGO_TARGET_DIR:-$ROOT/target}/debug
HEADER='| RabbitMQ | PostgreSQL | demo | broker tests | end-to-end suite | chaos, 2 minutes |'
ROWS=() FAILED=()

# The release whose programs this machine has installed needs no tree.
own_release() { (. /etc/os-release && [[ ${VERSION_CODENAME:-} == "$1" ]]); }
as_variable() { own_release "$1" || echo "$1"; }

# Makes the tree of a release unless there is one, and notes whether that failed.
declare -A HAVE
provide() {
    [[ -z ${HAVE[$1]:-} ]] || return 0
    HAVE[$1]=yes
    own_release "$1" || "$ROOT/scripts/releases.sh" make "$1" || HAVE[$1]=no
}

on_pair() { RABBITMQ_RELEASE=$(as_variable "$1") POSTGRES_RELEASE=$(as_variable "$2") "$ROOT/scripts/services.sh" run "${@:3}"; }

# "4.0.5 (Erlang 27.3.4)|17.6", as the servers themselves say.
# shellcheck disable=SC2016 # expanded by the inner shell
versions() {
    on_pair "$1" "$2" bash -c 'set -e -o pipefail
        . "$0/scripts/lib/common.sh" && . "$0/scripts/lib/secrets.sh"
        overview=$(curl_broker -fsS "$MANAGEMENT_URL/api/overview")
        value() { grep -oE "\"$1\":\"[^\"]*\"" <<<"$overview" | sed -n 1p | cut -d\" -f4; }
        postgres=$(psql_at "$DATABASE_URL" -XAtqw -c "SHOW server_version")
        echo "$(value rabbitmq_version) (Erlang $(value erlang_version))|${postgres%% *}"' "$ROOT" 2>>"$LOGS/services.log"
}

# Runs a step of a pair, with its log in a file. Sets CELL to what the table says about it.
step() {
    local pair=$1 name=$2 log=$LOGS/$1.$2.log started=$SECONDS said='' counts
    shift 2
    say "$pair: $name"
    if on_pair "${pair%+*}" "${pair#*+}" "$@" >"$log" 2>&1 </dev/null; then
        CELL="✓"
    else
        CELL="✗"
        FAILED+=("$pair: $name, see ${log#"$ROOT/"}")
        while read -r said; do FAILED+=("    $said"); done < <(failures "$log")
    fi
    counts=$(count_tests "$log")
    CELL+="${counts:+ $counts,} $((SECONDS - started)) s"
    say "$pair: $name $CELL"
}

# "158 tests", or "3 of 158 failed", from the log of either test runner.
count_tests() {
    sed 's/\x1b\[[0-9;]*m//g' "$1" | awk '
        /^ *Summary \[/ { for (i = 1; i < NF; i++) { if ($(i+1) == "tests" || $(i+1) == "test") run = $i
                          if ($(i+1) ~ /^passed/) passed = $i } }
        /^test result: / { passed += $4; run += $4 + $6 }
        END { if (run == "") exit
              if (run == passed) print run " tests"; else print run - passed " of " run " failed" }'
}

failures() {
    sed 's/\x1b\[[0-9;]*m//g' "$1" | sed -nE 's/^ +(FAIL|TIMEOUT|SIG[A-Z]+) \[[^]]*\] +(\([^)]*\) +)?/\1 /p
        s/^test (.*) \.\.\. FAILED$/FAIL \1/p
        /✗/p' | sort -u | sed -n 1,20p
}

try_pair() {
    local rabbit=${1%+*} postgres=${1#*+} release what cells=()
    for release in "$rabbit" "$postgres"; do
        provide "$release"
        if [[ ${HAVE[$release]} == no ]]; then
            ROWS+=("| $rabbit | $postgres | skipped: Debian $release cannot be had here | | | |")
            return
        fi
    done
    if ! what=$(versions "$rabbit" "$postgres"); then
        FAILED+=("$1: the servers do not start, see target/matrix/services.log")
        ROWS+=("| $rabbit | $postgres | ✗ the servers do not start | | | |")
        return
    fi
    step "$1" demo "$BIN/demo"
    cells+=("$CELL")
    step "$1" broker-tests "$ROOT/scripts/server_tests.sh" broker --no-fail-fast
    cells+=("$CELL")
    if [[ $rabbit == "$postgres" && -z $SHORT ]]; then
        step "$1" end-to-end "$ROOT/scripts/server_tests.sh" e2e --no-fail-fast
        cells+=("$CELL")
        step "$1" chaos "$BIN/chaos" --minutes 2 --consumers 3 --connections 8 --private
        cells+=("$CELL")
    else
        cells+=('–' '–')
    fi
    ROWS+=("| ${what%|*} | ${what#*|} | ${cells[0]} | ${cells[1]} | ${cells[2]} | ${cells[3]} |")
}

print_table() {
    local line
    printf '%s\n' "$HEADER" '|---|---|---|---|---|---|' "${ROWS[@]}"
    ((${#FAILED[@]} == 0)) || printf '\nWhat failed:\n\n'
    for line in "${FAILED[@]}"; do printf '    %s\n' "$line"; done
}

write_table() {
    {
        printf '%s\n\n' '# Versions of RabbitMQ and PostgreSQL'
        printf '%s\n' "Written by \`make matrix\` on $(date -u +%F), on $(nproc) cores with everything on them, from a build without" \
            'optimisation. The versions are those of Debian 12, trixie and sid. Both servers of one release are tried with everything,' \
            'the other pairs with the demo and the broker tests. During chaos the servers are restarted, too.' ''
        print_table
    } >"$TABLE"
}

SHORT='' PAIRS=()
for argument in "$@"; do
    case $argument in
        --short) SHORT=yes ;;
        *+*)
            check_release "${argument%+*}" && check_release "${argument#*+}"
            PAIRS+=("$argument")
            ;;
        *) die "'$argument' is no pair of releases" "say for example: trixie+sid" ;;
    esac
done
WHOLE=''
if ((${#PAIRS[@]} == 0)); then
    [[ -n $SHORT ]] || WHOLE=yes
    for rabbit in "${RELEASES[@]}"; do
        for postgres in "${RELEASES[@]}"; do PAIRS+=("$rabbit+$postgres"); done
    done
fi
unset DATABASE_URL AMQP_URL MANAGEMENT_URL SERVICES RABBITMQ_RELEASE POSTGRES_RELEASE
command -v curl >/dev/null || apt_install curl || die "curl is not here" "install it"
command -v psql >/dev/null || apt_install postgresql-client || die "psql is not here" "install postgresql-client"
mkdir -p "$LOGS"
: >"$LOGS/services.log"
for pair in "${PAIRS[@]}"; do try_pair "$pair"; done
print_table
if [[ -n $WHOLE ]]; then
    write_table
    say "written to ${TABLE#"$ROOT/"}"
fi
((${#FAILED[@]} == 0))
