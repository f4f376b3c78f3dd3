#!/usr/bin/env bash
# Installs Debian packages without starting, restarting or enabling any service. Run as root:
#
#     scripts/apt_install.sh postgresql rabbitmq-server
#
# Debian's packages start and enable their servers when they are installed. /usr/sbin/policy-rc.d, Debian's own
# switch against that, says no for as long as this script runs; a file that was there before comes back.
# Servers that already run are not touched, and those installed here are not started at the next boot either.
set -euo pipefail

POLICY=/usr/sbin/policy-rc.d
SAVED=$POLICY.before-backhaul
# Units of the packages that this project installs; nothing else is ever disabled.
OURS='^(postgresql(@.*)?|rabbitmq-server|epmd(@.*)?|nginx|pgbouncer|apache2|apache-htcacheclean|caddy|haproxy|varnish|varnishncsa)\.(service|socket)$'

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

((EUID == 0)) || { say "must run as root"; exit 1; }
(($# > 0)) || { say "name the packages to install"; exit 1; }

restore_policy() {
    rm -f "$POLICY"
    [[ ! -e $SAVED && ! -L $SAVED ]] || mv -f "$SAVED" "$POLICY"
}

installed() {
    # shellcheck disable=SC2016 # dpkg-query's own format, not the shell's
    dpkg-query -W -f='${binary:Package} ${db:Status-Status}\n' | sed -n 's/ installed$//p' | sort
}

exec 8</var/lib/dpkg # any folder does: one of these scripts at a time
flock 8

# An existing copy is of a run that was killed: what it saved is the machine's own file.
if [[ ! -e $SAVED && ! -L $SAVED && (-e $POLICY || -L $POLICY) ]]; then
    mv "$POLICY" "$SAVED"
fi
trap restore_policy EXIT
trap 'exit 130' INT TERM HUP
printf '#!/bin/sh\n# Of %s: goes away when its installation ends.\nexit 101\n' "$(realpath "$0")" >"$POLICY"
chmod 755 "$POLICY"

before=$(installed)
export DEBIAN_FRONTEND=noninteractive
apt=(apt-get -q -y -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3)
say "apt-get update"
"${apt[@]}" update >/dev/null || say "apt-get update failed: going on with the package lists that are here"
say "apt-get install $*"
"${apt[@]}" -o Dpkg::Options::=--force-confold install --no-install-recommends "$@" >/dev/null

while read -r package; do
    while read -r unit; do
        if command -v systemctl >/dev/null; then
            say "not starting $unit at boot"
            systemctl --quiet disable "$unit" 2>/dev/null || true
        elif [[ -e /etc/init.d/${unit%.service} ]]; then # a machine without systemd
            say "not starting ${unit%.service} at boot"
            update-rc.d "${unit%.service}" disable >/dev/null || true
        fi
    done < <(dpkg -L "$package" | sed -nE 's|^(/usr)?/lib/systemd/system/([^/]+)$|\2|p' | grep -E "$OURS" | grep -v '@\.' || true)
done < <(comm -13 <(printf '%s\n' "$before") <(installed))
