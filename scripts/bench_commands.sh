#!/usr/bin/env bash
# Measures commands in bursts (`make bench-commands` builds what is measured), beside the programs of an older commit:
#
#     scripts/bench_commands.sh COMMIT [arguments of bench-commands]
#     scripts/bench_commands.sh '' [arguments]                           this build alone
#
# The older commit is checked out and built once, in target/base/COMMIT. A clone without its history measures this build alone.
set -euo pipefail

# shellcheck source=scripts/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"

base=${1:-} bin=${CARGO_TARGET_DIR:-$ROOT/target}/release
shift || true
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
exec "$bin/bench-commands" "${arguments[@]}" "$@"
