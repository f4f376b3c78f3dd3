#!/usr/bin/env bash
# Runs the tests that depend on the servers, whose addresses are in the environment:
#
#     scripts/services.sh run scripts/server_tests.sh broker [ARGS]   those in which the broker decides
#     scripts/services.sh run scripts/server_tests.sh e2e [ARGS]      every end-to-end test
#
# ARGS go to the test runner. `broker` is the tests of broker, the end-to-end ones whose subject is what a broker
# does with messages, clients and queues, and those of the private servers that they start.
set -euo pipefail

# shellcheck source=scripts/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"

# Modules of tests/e2e.
SUBJECTS=(broker_faults brokerless cancel_push_lost clients command_identity dead_letters doctor foreign_clients least_rights letters
    lost_answers poison redelivery replies shutdown)

cd -- "$ROOT"
for subject in "${SUBJECTS[@]}"; do
    [[ -e tests/e2e/$subject.rs || -d tests/e2e/$subject ]] || die "tests/e2e has no $subject" "correct ${0##*/}"
done
what=${1:-}
shift || true
locked=()
[[ -z ${CI:-} ]] || locked=(--locked)
nextest() { exec cargo nextest run "${locked[@]}" --workspace -E "$1" "${@:2}"; }
have_nextest() { cargo nextest --version >/dev/null 2>&1; }
tests() { cargo test "${locked[@]}" --workspace "$@"; }

case $what in
    broker)
        modules=$(IFS='|' && echo "${SUBJECTS[*]}")
        ! have_nextest ||
            nextest "binary_id(broker::amqp) + (binary_id(tests::e2e) & test(/^($modules)::/)) + test(/^private::/)" "$@"
        tests --test amqp "$@"
        tests --lib "$@" -- private::
        tests --test e2e "$@" -- "${SUBJECTS[@]/%/::}"
        ;;
    e2e)
        ! have_nextest || nextest 'binary_id(tests::e2e)' "$@"
        tests --test e2e "$@"
        ;;
    *) die "say broker or e2e" ;;
esac
