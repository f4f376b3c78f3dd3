#!/usr/bin/env bash
# Has the reverse proxies installed that tests put before a producer: Apache, Caddy, HAProxy, nginx and Varnish. None is
# started here: each test runs a private one, with its own configuration, port and folder.
set -euo pipefail

# shellcheck source=scripts/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"

for program in apache2 caddy haproxy nginx; do provide_program "$program"; done
provide_program varnishd varnish
