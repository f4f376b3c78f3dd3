#!/usr/bin/env bash
# Makes folder trees of other Debian releases with their RabbitMQ and PostgreSQL in them, so that this machine can run
# versions that its own release does not have:
#
#     scripts/releases.sh make RELEASE...    make what is not there yet; exit status 1 if one is missing
#     scripts/releases.sh list               say which there are, and the versions in them
#     scripts/releases.sh tree RELEASE       print where its tree is
#     scripts/releases.sh remove RELEASE...  delete them
#
# They come from the mirror that this machine's apt uses, with debootstrap (installed when missing), and lie in
# /var/tmp/backhaul-releases, for every checkout. Nothing inside is started: scripts/services.sh does that when
# RABBITMQ_RELEASE or POSTGRES_RELEASE names one of them. Root is needed.
# Releases: bookworm, trixie, sid.
set -euo pipefail

# shellcheck source=scripts/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=scripts/lib/releases.sh
. "$ROOT/scripts/lib/releases.sh"

usage() { sed -n '2,14s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

# Sets MIRROR to the address from which apt takes Debian itself (not its security updates).
find_mirror() {
    MIRROR=$(apt-get indextargets --format "\$(ORIGIN)|\$(LABEL)|\$(COMPONENT)|\$(REPO_URI)" 'Identifier: Packages' 2>/dev/null |
        sed -nE 's/^Debian\|Debian\|main\|((https?|file):.*)$/\1/p' | sed -n 1p)
    [[ -n $MIRROR ]] || refuse "this machine's apt has no Debian mirror" || return
    if [[ -z ${http_proxy:-} ]]; then
        eval "$(apt-config shell http_proxy Acquire::http::Proxy)"
        [[ -z ${http_proxy:-} || $http_proxy == DIRECT ]] || export http_proxy
    fi
}

refuse() {
    say "no tree of another release can be made: $*"
    return 1
}

check_rights() {
    ((EUID == 0)) || refuse "root is needed" || return
    command -v apt-get >/dev/null || refuse "this is not a Debian" || return
    unshare --mount --propagation private true 2>/dev/null ||
        refuse "the kernel does not let us mount (a container without CAP_SYS_ADMIN?)" || return
    command -v debootstrap >/dev/null || apt_install debootstrap || refuse "debootstrap could not be installed"
}

# Runs a command in a tree that is being made.
within() { "$ROOT/scripts/in_release.sh" "$NEW" "$TREES" env -i PATH="$TREE_PATH" DEBIAN_FRONTEND=noninteractive LANG=C.UTF-8 "$@"; }

# A tree gets its name only when it is whole.
make_tree() {
    local release=$1 started=$SECONDS log=$TREES/$1.log
    NEW=$TREES/$release.new
    rm -rf --one-file-system -- "$NEW"
    say "making a tree of Debian $release in $(tree_of "$release") (1 to 5 minutes)"
    if ! debootstrap --variant=minbase "$release" "$NEW" "$MIRROR" >"$log" 2>&1; then
        say "debootstrap of $release failed: $(tail -n 1 "$log")" "see $log"
        return 1
    fi
    prepare
    if ! install_servers >>"$log" 2>&1; then
        say "RabbitMQ and PostgreSQL of $release cannot be installed: $(grep -m 1 '^E:' "$log" || tail -n 1 "$log")" "see $log"
        return 1
    fi
    tree_versions "$NEW" >"$NEW/backhaul-versions"
    mv -- "$NEW" "$(tree_of "$release")"
    say "made the tree of $release in $((SECONDS - started)) s: $(versions_of "$release")"
}

# Nothing is started in it, no cluster is created, and what nobody reads is left out.
prepare() {
    printf '#!/bin/sh\nexit 101\n' >"$NEW/usr/sbin/policy-rc.d"
    chmod 755 "$NEW/usr/sbin/policy-rc.d"
    mkdir -p "$NEW/etc/postgresql-common"
    echo 'create_main_cluster = false' >"$NEW/etc/postgresql-common/createcluster.conf"
    printf 'path-exclude=/usr/share/%s/*\n' doc man locale info >"$NEW/etc/dpkg/dpkg.cfg.d/backhaul"
    echo force-unsafe-io >>"$NEW/etc/dpkg/dpkg.cfg.d/backhaul"
    cp -L /etc/resolv.conf "$NEW/etc/resolv.conf"
    printf '127.0.0.1 localhost\n::1 localhost\n' >"$NEW/etc/hosts"
    [[ -z ${http_proxy:-} ]] || printf 'Acquire::http::Proxy "%s";\n' "$http_proxy" >"$NEW/etc/apt/apt.conf.d/90proxy"
}

install_servers() {
    local newest
    # A mirror that lags behind is good enough here; what it has is still signed.
    within apt-get -q -o Acquire::Retries=3 -o Acquire::Check-Valid-Until=false update || return
    newest=$(within apt-cache pkgnames postgresql- | grep -E '^postgresql-[0-9]+$' | sort -V | tail -n 1) || return
    within apt-get -q -y -o Dpkg::Options::=--force-confold -o Acquire::Retries=3 \
        install --no-install-recommends rabbitmq-server "$newest" || return
    within apt-get clean
    rm -rf -- "$NEW"/var/lib/apt/lists/*
}

make_trees() {
    local release missing=() failed=0
    for release in "$@"; do
        check_release "$release"
        has_tree "$release" || missing+=("$release")
    done
    ((${#missing[@]} > 0)) || return 0
    check_rights || return
    [[ -d $TREES ]] || mkdir -m 0755 -- "$TREES"
    [[ ! -L $TREES && -O $TREES ]] || die "$TREES belongs to somebody else" "remove it"
    exec 7>"$TREES/lock"
    flock 7
    find_mirror || return
    for release in "${missing[@]}"; do
        has_tree "$release" || make_tree "$release" || failed=1
    done
    exec 7>&-
    return "$failed"
}

list() {
    local release
    for release in "${RELEASES[@]}"; do
        if has_tree "$release"; then echo "$release: $(versions_of "$release")"; else echo "$release: not made"; fi
    done
}

case ${1:-} in
    make)
        shift
        make_trees "$@"
        ;;
    list) list ;;
    tree)
        check_release "${2:-}"
        tree_of "$2"
        ;;
    remove)
        shift
        for release in "$@"; do
            check_release "$release"
            rm -rf --one-file-system -- "$(tree_of "$release")" "$TREES/$release.new" "$TREES/$release.log"
        done
        ;;
    *)
        usage >&2
        exit 2
        ;;
esac
