#!/usr/bin/env bash
# Has nginx installed, which serves the pages of `make bench`. It is not started here: the benchmark runs a private one
# of its own, with its own configuration, port and folder.
set -euo pipefail

# shellcheck source=scripts/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"

provide_program nginx
