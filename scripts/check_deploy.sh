#!/usr/bin/env bash
# Checks what CI cannot run: the docker-compose*.yml are read by docker compose, and the broker definitions are imported
# into a scratch virtual host of a running RabbitMQ.
#
#     scripts/services.sh run scripts/check_deploy.sh
set -euo pipefail

# shellcheck source=scripts/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=scripts/lib/secrets.sh
. "$ROOT/scripts/lib/secrets.sh"

check_compose() {
    local command=()
    if docker compose version >/dev/null 2>&1; then
        command=(docker compose)
    elif command -v docker-compose >/dev/null || { [[ ${CI:-} == true ]] && apt_install docker-compose; }; then
        command=(docker-compose)
    else
        say "docker-compose*.yml NOT checked: neither docker compose nor docker-compose is here"
        return
    fi
    "${command[@]}" -f "$ROOT/docker-compose.yml" config --quiet
    "${command[@]}" -f "$ROOT/docker-compose.yml" -f "$ROOT/docker-compose.cluster.yml" config --quiet
    say "docker-compose.yml is valid, alone and with docker-compose.cluster.yml"
}

api() { curl_broker --silent --show-error --fail-with-body -H 'content-type: application/json' "$@"; }

check_definitions() {
    local vhost=backhaul-definitions-$$ file=$ROOT/deploy/rabbitmq/definitions.json listing
    if [[ -z ${MANAGEMENT_URL:-} ]] || ! command -v curl >/dev/null; then
        say "deploy/rabbitmq/definitions.json NOT imported: MANAGEMENT_URL is not set, or curl is not here"
        return
    fi
    api -X PUT "$MANAGEMENT_URL/api/vhosts/$vhost"
    # shellcheck disable=SC2064 # the name of now
    trap "api -X DELETE '$MANAGEMENT_URL/api/vhosts/$vhost'" EXIT
    # The address decides about the virtual host; the one that the file names is for an import as a whole.
    api -X POST --data-binary "@$file" "$MANAGEMENT_URL/api/definitions/$vhost"
    listing=$(api "$MANAGEMENT_URL/api/queues/$vhost?columns=name")
    for queue in starts cancels pages dead unrouted; do
        [[ $listing == *"\"backhaul.$queue\""* ]] || die "the definitions do not make the queue backhaul.$queue"
    done
    # Which queues it applies to would be known only seconds later, with the console's next statistics.
    listing=$(api "$MANAGEMENT_URL/api/policies/$vhost")
    [[ $listing == *'"backhaul-bounded"'* ]] || die "the definitions do not make the policy backhaul-bounded"
    listing=$(api "$MANAGEMENT_URL/api/exchanges/$vhost?columns=name")
    for exchange in commands commands.routes pages aborts events unrouted; do
        [[ $listing == *"\"backhaul.$exchange\""* ]] || die "the definitions do not make the exchange backhaul.$exchange"
    done
    say "deploy/rabbitmq/definitions.json can be imported"
}

check_compose
check_definitions
