#!/usr/bin/env bash
# Checks what a build needs beside the sources: cargo, and a C compiler and linker, which some crates use. The
# latter is installed with apt if we may.
set -euo pipefail

# shellcheck source=scripts/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"

command -v cargo >/dev/null ||
    die "cargo is not here" "install Rust $(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml") or later: https://rustup.rs"
missing=()
command -v cc >/dev/null || missing+=(gcc libc6-dev)
# HTTPS clients refuse to start without certificates to trust, even when they will only speak HTTP.
[[ -e /etc/ssl/certs/ca-certificates.crt || -e /etc/pki/tls/certs/ca-bundle.crt ]] || missing+=(ca-certificates)
if ((${#missing[@]} > 0)); then
    say "not installed here: ${missing[*]}"
    apt_install "${missing[@]}" ||
        die "could not install ${missing[*]} (Debian or Ubuntu, and root or sudo, are needed)" "install them yourself"
fi
