#!/usr/bin/env bash
# Runs a benchmark (`make bench-commands` and `make bench-neighbours` build it) beside the programs of an older commit:
#
#     scripts/bench_base.sh BENCHMARK COMMIT [arguments of the benchmark]
#     scripts/bench_base.sh BENCHMARK '' [arguments]                        this build alone
#
# The older commit is checked out and built once, in target/base/COMMIT. A clone without its history measures this build alone.
set -euo pipefail

# shellcheck source=scripts/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"

benchmark=${1:?which benchmark?} base=${2:-} bin=${CARGO_TARGET_DIR:-$ROOT/target}/release
shift "$(($# < 2 ? $# : 2))"
arguments=()
if [[ -n $base ]]; then
    if git -C "$ROOT" cat-file -e "$base^{commit}" 2>/dev/null; then
        tree=$ROOT/target/base/$base
        if [[ ! -d $tree ]]; then
            git -C "$ROOT" worktree prune
            git -C "$ROOT" worktree add --quiet --detach "$tree" "$base"
        fi
        say "building $base in $tree, unless it is built"
        (cd "$tree" && CARGO_TARGET_DIR=$tree/target cargo build --locked --release -p producer -p consumer --bins)
        arguments=(--base "$tree/target/release" --base-name "$base")
    else
        say "commit $base is not in this clone's history: this build is measured alone"
    fi
fi
exec "$bin/$benchmark" "${arguments[@]}" "$@"
