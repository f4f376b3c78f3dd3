#!/usr/bin/env bash
# Installs the client libraries of other languages that tests use, once, below target/, at the versions that tests/clients names:
#
#     scripts/clients.sh python    pika, aio-pika and kombu, from PyPI; prints their Python interpreter
#     scripts/clients.sh node      amqplib, @golevelup/nestjs-rabbitmq, Nest and rhea, from npm; prints the folder to run them in
set -euo pipefail

# shellcheck source=scripts/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=scripts/lib/python.sh
. "$ROOT/scripts/lib/python.sh"

WHAT=${1:-}
HERE=${CARGO_TARGET_DIR:-$ROOT/target}/clients/$WHAT

install_python() {
    say "installing Python's clients from PyPI into $HERE/venv"
    make_venv "$HERE/venv" "$1" --require-hashes
}

install_node() {
    command -v npm >/dev/null || apt_install nodejs npm || die "npm is not here" "install it: apt install nodejs npm"
    say "installing Node's clients from npm into $HERE"
    cp "$ROOT"/tests/clients/node/* "$HERE"
    (cd "$HERE" && npm ci --silent --no-audit --no-fund >&2) ||
        die "npm ci failed, see above" "npm's registry must be reachable, or npm be configured with a mirror of it"
}

case $WHAT in
python) SOURCES=("$ROOT/tests/clients/python/requirements.txt") ;;
node) SOURCES=("$ROOT"/tests/clients/node/*) ;;
*) die "say python or node" ;;
esac

mkdir -p "$HERE"
exec 9>"$HERE/lock"
flock --timeout 600 9 || die "the lock $HERE/lock is still held after ten minutes" "end the command that holds it"
if ! cat "${SOURCES[@]}" | cmp -s - "$HERE/installed"; then
    "install_$WHAT" "${SOURCES[0]}"
    cat "${SOURCES[@]}" >"$HERE/installed"
fi
case $WHAT in
python) echo "$HERE/venv/bin/python" ;;
node) echo "$HERE" ;;
esac
