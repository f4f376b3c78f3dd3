#!/usr/bin/env bash
# Prints the path of `st`, which is Schemathesis: it makes requests from an OpenAPI document and compares the answers with
# it. It is installed once, into a virtual environment below target/, at the versions that
# tests/schemathesis/requirements.txt names.
set -euo pipefail

# shellcheck source=scripts/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=scripts/lib/python.sh
. "$ROOT/scripts/lib/python.sh"

REQUIREMENTS=$ROOT/tests/schemathesis/requirements.txt
HERE=${CARGO_TARGET_DIR:-$ROOT/target}/schemathesis

install_schemathesis() {
    say "installing Schemathesis from PyPI into $HERE/venv"
    make_venv "$HERE/venv" "$REQUIREMENTS"
    cp "$REQUIREMENTS" "$HERE/installed"
}

mkdir -p "$HERE"
exec 9>"$HERE/lock"
flock --timeout 300 9 || die "the lock $HERE/lock is still held after 5 minutes" "end the command that holds it"
cmp -s "$REQUIREMENTS" "$HERE/installed" || install_schemathesis
echo "$HERE/venv/bin/st"
