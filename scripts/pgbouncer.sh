#!/usr/bin/env bash
# Has pgbouncer installed, the pooler that tests put before a database. It is not started here: each test runs a private one
# of its own, with its own configuration, port and folder.
set -euo pipefail

# shellcheck source=scripts/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"

PATH=$PATH:/usr/sbin
command -v pgbouncer >/dev/null || {
    say "not installed here: pgbouncer"
    apt_install pgbouncer ||
        die "could not install pgbouncer (Debian or Ubuntu, and root or sudo, are needed)" "install it yourself"
}
