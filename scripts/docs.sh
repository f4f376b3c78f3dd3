#!/usr/bin/env bash
# Builds docs/ as a book, in target/book, with mdbook, which is installed below target/ at a fixed version if it is not there.
# `make test` checks the links of all pages.
set -euo pipefail

# shellcheck source=scripts/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"

VERSION=0.5.4
TOOLS=${CARGO_TARGET_DIR:-$ROOT/target}/tools/mdbook-$VERSION

if [[ ! -x $TOOLS/bin/mdbook ]]; then
    say "building mdbook $VERSION (a few minutes, once)"
    cargo install --quiet --locked --root "$TOOLS" --no-default-features --version "$VERSION" mdbook
fi
"$TOOLS/bin/mdbook" build "$ROOT" --dest-dir "${CARGO_TARGET_DIR:-$ROOT/target}/book"
say "the book is in ${CARGO_TARGET_DIR:-$ROOT/target}/book/index.html"
