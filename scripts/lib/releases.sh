# shellcheck shell=bash
# The folder trees of other Debian releases, which scripts/releases.sh makes. Sourced, never run.

TREES=/var/tmp/backhaul-releases
RELEASES=(bookworm trixie sid) # oldest first: RabbitMQ 3.10, 4.0, 4.3
TREE_PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

check_release() {
    [[ " ${RELEASES[*]} " == *" $1 "* ]] || die "'$1' is no release that is known here" "take one of: ${RELEASES[*]}"
}

tree_of() { echo "$TREES/$1"; }

has_tree() { [[ -f $(tree_of "$1")/backhaul-versions ]]; }

# "RabbitMQ 4.0.5, PostgreSQL 17.5"
versions_of() { cat "$(tree_of "$1")/backhaul-versions"; }

tree_versions() {
    local rabbitmq postgres
    # 1:4.0.5-3 and 17.5-1
    rabbitmq=$(package_version "$1" rabbitmq-server)
    postgres=$(package_version "$1" 'postgresql-[0-9]*')
    echo "RabbitMQ $rabbitmq, PostgreSQL $postgres"
}

package_version() {
    # shellcheck disable=SC2016 # dpkg-query's own format, not the shell's
    dpkg-query --admindir="$1/var/lib/dpkg" -W -f='${db:Status-Status} ${Version}\n' "$2" |
        sed -nE 's/^installed ([0-9]+:)?([^-+]+).*$/\2/p' | sed -n 1p
}
