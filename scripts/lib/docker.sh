# shellcheck shell=bash
# The two services from docker-compose.yml, for SERVICES=docker. Sourced by services.sh.
#
# They run as a project of their own and on ports that Docker chooses (an empty port in the compose file), so that
# they stand beside a whole `docker compose up` and beside servers of this machine.

docker_compose() {
    local project
    project=backhaul-services-$(printf %s "$ROOT" | sha256sum | cut -c1-8)
    local command=(docker compose)
    docker compose version >/dev/null 2>&1 || command=(docker-compose)
    POSTGRES_PORT='' AMQP_PORT='' MANAGEMENT_PORT='' \
        "${command[@]}" -p "$project" -f "$ROOT/docker-compose.yml" "$@"
}

docker_up() {
    if ! docker compose version >/dev/null 2>&1 && ! command -v docker-compose >/dev/null; then
        die "SERVICES=docker needs docker compose, which is not here" \
            "install it, or unset SERVICES to use programs of this machine"
    fi
    say "starting PostgreSQL and RabbitMQ with docker compose"
    docker_compose up -d postgres rabbitmq >&2 ||
        die "docker compose could not start the services" "see its message above; does the Docker daemon run?"
    wait_until "the containers" 240 true docker_ready ||
        die "the containers do not become ready" "look at: docker ps, docker logs"
}

# Asked inside the containers: outside, Docker's proxy accepts connections before the servers do.
docker_ready() {
    docker_compose exec -T postgres pg_isready -q -h 127.0.0.1 -U postgres &&
        docker_compose exec -T rabbitmq rabbitmq-diagnostics -q check_port_connectivity
} </dev/null >/dev/null 2>&1

# 127.0.0.1:49153, from the compose file's port.
docker_port() { docker_compose port "$1" "$2" 2>/dev/null | grep -m 1 .; }

docker_addresses() {
    local postgres amqp management
    postgres=$(docker_port postgres 5432) && amqp=$(docker_port rabbitmq 5672) &&
        management=$(docker_port rabbitmq 15672) || return 1
    echo "DATABASE_URL=postgres://postgres:postgres@$postgres/backhaul"
    echo "AMQP_URL=amqp://guest:guest@$amqp/%2f"
    echo "MANAGEMENT_URL=http://$management"
}

docker_down() { docker_compose stop >&2; }
