#!/usr/bin/env bash
# Prints the path of `st`, which is Schemathesis: it makes requests from an OpenAPI document and compares the answers with
# it. It is installed once, into a virtual environment below target/, at the versions that
# tests/schemathesis/requirements.txt names.
set -euo pipefail

# shellcheck source=scripts/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"

REQUIREMENTS=$ROOT/tests/schemathesis/requirements.txt
HERE=${CARGO_TARGET_DIR:-$ROOT/target}/schemathesis

find_python() {
    for PYTHON in "$(command -v python3 || true)" /usr/bin/python3; do
        if [[ -n $PYTHON ]] && "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null; then return; fi
    done
    return 1
}

install_schemathesis() {
    find_python || { apt_install python3-venv && find_python; } ||
        die "no Python 3 with venv and ensurepip was found" "install it: apt install python3-venv"
    say "installing Schemathesis from PyPI into $HERE/venv"
    rm -rf -- "$HERE/venv"
    "$PYTHON" -m venv "$HERE/venv" >&2
    "$HERE/venv/bin/python" -m pip --disable-pip-version-check install --quiet -r "$REQUIREMENTS" >&2 ||
        die "pip install failed, see above" "PyPI must be reachable, or pip be configured with a mirror of it"
    cp "$REQUIREMENTS" "$HERE/installed"
}

mkdir -p "$HERE"
exec 9>"$HERE/lock"
flock --timeout 300 9 || die "the lock $HERE/lock is still held after 5 minutes" "end the command that holds it"
cmp -s "$REQUIREMENTS" "$HERE/installed" || install_schemathesis
echo "$HERE/venv/bin/st"
