# shellcheck shell=bash
# A virtual environment of Python's packages; sourced, after common.sh.

# Sets PYTHON to an interpreter that can make environments. Arguments run it, as another user for instance.
find_python() {
    for PYTHON in "$(command -v python3 || true)" /usr/bin/python3; do
        if [[ -n $PYTHON ]] && "$@" "$PYTHON" -c 'import ensurepip, sqlite3, venv' 2>/dev/null; then return; fi
    done
    return 1
}

# The same, and installs one if there is none.
provide_python() {
    find_python "$@" || { apt_install python3-venv && find_python "$@"; } ||
        die "no Python 3 with venv, ensurepip and sqlite3 was found" "install it: apt install python3-venv"
}

# Makes the environment $1 anew, with the packages that the file $2 names; further arguments are pip's.
make_venv() {
    provide_python
    rm -rf -- "$1"
    "$PYTHON" -m venv "$1" >&2
    "$1/bin/python" -m pip --disable-pip-version-check install --quiet "${@:3}" -r "$2" >&2 ||
        die "pip install failed, see above" "PyPI must be reachable, or pip be configured with a mirror of it"
}
