# What one does with this repository. `make` alone lists it. CI runs the same targets.
#
# PostgreSQL and RabbitMQ are found or started by scripts/services.sh, whose head says how. SERVICES=docker takes
# them from docker-compose.yml.

SHELL := /bin/bash
MAKEFLAGS += --no-print-directory

# CI may not change the lock file.
LOCKED := $(if $(CI),--locked)
TARGET := $(or $(CARGO_TARGET_DIR),target)
WITH_SERVICES := scripts/services.sh run
# What nearly everything here runs; benchmarks, demos and chaos are built where they are needed.
PROGRAMS := --bin backhaul --bin consumer --bin producer --bin sample-upstream
BUILD := cargo build $(LOCKED) --workspace $(PROGRAMS)

.DEFAULT_GOAL := help
.PHONY: help demo demo-real bench-cancel bench-commands bench-neighbours bench-recovery chaos chaos-debug chaos-cluster random-upstreams test test-broker test-clients test-proxies docs verify-all matrix fuzz lint fmt sqlx sql-templates sqlx-check deploy-check build up psql console status down ci tools fuzz-api bench bench-compare bench-fair bench-scale

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: up ## run the whole system on a sample upstream, with cancels and a killed consumer
	$(BUILD) --profile demo --bin demo
	@$(WITH_SERVICES) $(TARGET)/demo/demo

demo-real: up ## the same on real input: 336,776 flights, served by Datasette
	$(BUILD) --release --bin demo-real
	@$(WITH_SERVICES) scripts/datasette.sh run $(TARGET)/release/demo-real

bench: tools ## how fast pages are pulled, beside a loop without a queue (ARGS="--rounds 1 --json a.json")
	@scripts/services.sh programs && scripts/nginx.sh
	$(BUILD) --release --bin bench --bin bench-bare
	@$(TARGET)/release/bench $(ARGS)

bench-compare: tools ## two results of it side by side (ARGS="a.json b.json")
	cargo build $(LOCKED) --release --package bench --bin bench-compare
	@$(TARGET)/release/bench-compare $(ARGS)

bench-fair: tools ## what one tenant's flood does to another, and what a second consumer adds
	@scripts/services.sh programs
	$(BUILD) --release --bin bench-fair
	@$(TARGET)/release/bench-fair $(ARGS)

bench-scale: tools ## ten million records on one machine (ARGS="--records 500000 --soak 30")
	@scripts/services.sh programs
	$(BUILD) --release --bin bench-scale
	@$(TARGET)/release/bench-scale $(ARGS)

bench-cancel: up ## measure how long a cancel takes (ARGS=... goes to the program)
	$(BUILD) --release --bin bench-cancel
	@$(WITH_SERVICES) $(TARGET)/release/bench-cancel $(ARGS)

bench-commands: tools ## how fast commands in bursts are applied (BASE=COMMIT: beside that build)
	$(BUILD) --release --bin bench-commands
	@scripts/bench_base.sh bench-commands "$(BASE)" $(ARGS)

bench-neighbours: tools ## what one tenant's mischief costs another (BASE=COMMIT: beside that build)
	$(BUILD) --release --bin bench-neighbours
	@scripts/bench_base.sh bench-neighbours "$(BASE)" $(ARGS)

bench-recovery: up ## measure how long it takes until work goes on after something broke
	$(BUILD) --release --bin bench-recovery
	@$(WITH_SERVICES) $(TARGET)/release/bench-recovery $(ARGS)

chaos: up ## break everything for five minutes; nothing may be lost (ARGS="--minutes 60 --private")
	$(BUILD) --release --bin chaos
	@$(WITH_SERVICES) $(TARGET)/release/chaos $(ARGS)

chaos-debug: up ## the same without optimisation, which builds faster
	$(BUILD) --bin chaos
	@$(WITH_SERVICES) $(TARGET)/debug/chaos $(ARGS)

chaos-cluster: tools ## the same to three RabbitMQ 4.3 nodes and a Postgres with a standby, for five minutes; needs root
	@scripts/releases.sh make sid
	$(BUILD) --release --bin chaos
	@tree=$$(scripts/releases.sh tree sid); RABBITMQ_TREE=$$tree POSTGRES_TREE=$$tree \
	    $(TARGET)/release/chaos --cluster --consumers 3 --connections 8 $(ARGS)

random-upstreams: up ## read 2,000 upstreams drawn from a seed; every difference must be explained (ARGS="--seed 7 --count 50")
	$(BUILD) --bin random-upstreams
	@$(WITH_SERVICES) $(TARGET)/debug/random-upstreams $(ARGS)

# The tests start our own programs. The second cargo line builds nothing that the first has not. Python's clients are
# installed before, so that no test waits for them.
test: up ## run every test, on real services (ARGS=... goes to the test runner)
	$(BUILD) --tests
	@scripts/clients.sh python >/dev/null && scripts/pgbouncer.sh
	@if cargo nextest --version >/dev/null 2>&1; then run="nextest run"; else run=test; fi; \
	    $(WITH_SERVICES) cargo $$run $(LOCKED) --workspace $(ARGS)

test-clients: up ## start, follow and cancel jobs with client libraries of Python and Node
	$(BUILD) --tests
	@scripts/clients.sh python >/dev/null && scripts/clients.sh node >/dev/null
	@if cargo nextest --version >/dev/null 2>&1; then run="nextest run" all="--run-ignored all"; \
	    else run=test all="-- --include-ignored"; fi; \
	    $(WITH_SERVICES) cargo $$run $(LOCKED) --package tests --test e2e clients:: $$all $(ARGS)

test-proxies: up ## call the API through Apache, Caddy, HAProxy, nginx and Varnish
	$(BUILD) --tests
	@scripts/proxies.sh
	@if cargo nextest --version >/dev/null 2>&1; then run="nextest run" all="--run-ignored all"; \
	    else run=test all="-- --include-ignored"; fi; \
	    $(WITH_SERVICES) cargo $$run $(LOCKED) --package tests --test e2e proxies:: $$all $(ARGS)

docs: ## build docs/ as a book, in target/book
	@scripts/docs.sh

# What takes too long for CI. docs/ keeps its tables.
verify-all: matrix chaos-cluster test-clients test-proxies docs ## what CI has no time for: all pairs of versions, the cluster, all clients and proxies, the book

test-broker: up ## run the tests in which the broker decides (ARGS=... goes to the test runner)
	$(BUILD) --tests
	@scripts/clients.sh python >/dev/null
	@$(WITH_SERVICES) scripts/server_tests.sh broker $(ARGS)

matrix: tools ## try nine pairs of RabbitMQ 3.10, 4.0, 4.3 and PostgreSQL 15, 17, 18 (ARGS="--short sid+sid")
	$(BUILD) --tests --bin demo --bin chaos
	@scripts/clients.sh python >/dev/null && scripts/pgbouncer.sh
	@scripts/matrix.sh $(ARGS)

fuzz-api: up ## call the HTTP API with requests made from its OpenAPI document (FUZZ_SECONDS=120, ARGS=...)
	$(BUILD)
	@$(WITH_SERVICES) scripts/fuzz_api.sh $(ARGS)

# One process for each surface, so that its memory is its own.
fuzz: tools ## try a million bad inputs on everything that reads them (FUZZ_CASES=, FUZZ_SEED=; ARGS=... to the runner)
	@if cargo nextest --version >/dev/null 2>&1; then run="nextest run --cargo-profile fuzz --no-capture"; \
	    else run="test --profile fuzz"; fi; FUZZ_CASES=$${FUZZ_CASES:-1000000} \
	    cargo $$run $(LOCKED) -p protocol -p sources -p identity -p api --lib fuzz:: $(ARGS)

lint: tools ## formatting and clippy, warnings are errors
	cargo fmt --all --check
	cargo clippy $(LOCKED) --workspace --all-targets -- -D warnings

fmt: ## format the code
	cargo fmt --all

sqlx: up ## renew .sqlx, which lets the SQL be checked without a database
	@$(WITH_SERVICES) scripts/sqlx.sh renew

sql-templates: tools ## render the SQL that comes in several forms from its template
	RENDER=1 cargo test $(LOCKED) --package store --test sql_templates

sqlx-check: up ## check that .sqlx is up to date
	@$(WITH_SERVICES) scripts/sqlx.sh check

deploy-check: up ## check docker-compose.yml and the broker definitions
	@$(WITH_SERVICES) scripts/check_deploy.sh

build: tools ## build everything, optimised
	$(BUILD) --release

up: tools ## have PostgreSQL and RabbitMQ running
	@scripts/services.sh up

psql: up ## open the database
	@scripts/services.sh psql $(ARGS)

console: up ## say where the broker's console is, and how to log in
	@scripts/services.sh console

status: ## say which services run
	@scripts/services.sh status

down: ## stop the services that were started here; their data stays
	@scripts/services.sh down

ci: ## what CI runs
	@.ci/run

tools:
	@scripts/tools.sh
