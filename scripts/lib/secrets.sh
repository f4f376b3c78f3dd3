# shellcheck shell=bash
# Passwords. Everybody on a machine can read the arguments of every process, so none stands there: programs get them in
# files that only we can read, or in their environment. Sourced, after common.sh.

# A password of 36 digits, in a file that only we can read. It is made once.
make_password() {
    [[ -s $1 ]] || (umask 077 && head -c 18 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$1.new" && mv -- "$1.new" "$1")
    chmod 600 -- "$1"
}

percent_decoded() {
    local text=${1//\\/\\\\}
    printf '%b' "${text//%/\\x}"
}

# Of a URL sets URL_BARE (the same without its password), URL_USER and URL_PASSWORD.
take_password() {
    local scheme userinfo rest query
    URL_BARE=$1 URL_USER='' URL_PASSWORD=''
    if [[ $1 =~ ^([a-z]+://)([^/?#]*)@(.*)$ ]]; then
        scheme=${BASH_REMATCH[1]} userinfo=${BASH_REMATCH[2]} rest=${BASH_REMATCH[3]}
        URL_USER=$(percent_decoded "${userinfo%%:*}")
        [[ $userinfo != *:* ]] || URL_PASSWORD=$(percent_decoded "${userinfo#*:}")
        URL_BARE=$scheme${userinfo%%:*}@$rest
    fi
    # PostgreSQL's programs take it as a parameter, too.
    if [[ $URL_BARE =~ ^(.*[?\&])password=([^\&#]*)\&?(.*)$ ]]; then
        rest=${BASH_REMATCH[1]} query=${BASH_REMATCH[2]}
        URL_BARE=$rest${BASH_REMATCH[3]}
        URL_BARE=${URL_BARE%[?&]}
        URL_PASSWORD=$(percent_decoded "$query")
    fi
}

# A line for libpq's PGPASSFILE: password_line HOST PORT PASSWORD.
password_line() {
    local password=${3//\\/\\\\}
    printf '%s:%s:*:*:%s\n' "$1" "$2" "${password//:/\\:}"
}

# psql at a URL, with further arguments.
psql_at() (
    take_password "$1"
    shift
    if [[ -n $URL_PASSWORD ]]; then
        PGPASSFILE=$(mktemp)
        trap 'rm -f -- "$PGPASSFILE"' EXIT
        password_line '*' '*' "$URL_PASSWORD" >"$PGPASSFILE"
        export PGPASSFILE
    fi
    psql -d "$URL_BARE" "$@"
)

# curl as the user of AMQP_URL, who is the management console's as well.
curl_broker() (
    take_password "${AMQP_URL:-amqp://guest:guest@127.0.0.1}"
    user=${URL_USER:-guest}:${URL_PASSWORD:-guest}
    user=${user//\\/\\\\}
    curl --config <(printf 'user = "%s"\n' "${user//\"/\\\"}") "$@"
)
