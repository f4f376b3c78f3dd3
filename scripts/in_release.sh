#!/usr/bin/env bash
# Runs a command inside the folder tree of another Debian release, as root and with this machine's network:
#
#     scripts/in_release.sh TREE FOLDER COMMAND...
#
# FOLDER (an absolute path) is seen inside under its own name, and so are /proc and /dev. The mounts belong to the
# command: they are in a namespace of its own and go away with it. The command replaces this script, so that it keeps
# the process number and gets the signals.
set -euo pipefail

if [[ ${IN_RELEASE_NAMESPACE:-} != $$ ]]; then
    IN_RELEASE_NAMESPACE=$$ exec unshare --mount --propagation private -- "$0" "$@"
fi
unset IN_RELEASE_NAMESPACE
tree=$1 folder=$2
shift 2
mkdir -p -- "$tree$folder"
mount --rbind /proc "$tree/proc"
mount --rbind /dev "$tree/dev"
mount --bind "$folder" "$tree$folder"
here=$PWD
[[ $here == "$folder" || $here == "$folder"/* ]] || here=/
# chroot(8) goes to the root, so that the folder has to be entered again.
# shellcheck disable=SC2016 # expanded by the inner shell
exec chroot "$tree" sh -c 'cd -- "$0" && exec "$@"' "$here" "$@"
