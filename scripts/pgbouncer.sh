#!/usr/bin/env bash
# Has pgbouncer installed, the pooler that tests put before a database. It is not started here: each test runs a private one
# of its own, with its own configuration, port and folder.
set -euo pipefail

# shellcheck source=scripts/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"

provide_program pgbouncer
