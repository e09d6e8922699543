# Development tasks. `make help` lists them.

.DEFAULT_GOAL := help
.PHONY: help run test screenshots faults fuzz check fmt sqlx bench bench-reads bench-scale

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

run: ## Run the API, the console, the worker, and a private PostgreSQL and Redis on this machine
	@scripts/install-servers.sh
	cargo run --release -- dev

test: ## Run all tests, with their own servers and a browser
	@scripts/install-servers.sh
	@scripts/install-browser.sh
	@scripts/install-pgbouncer.sh
	cargo test

screenshots: ## Take screenshots of all console pages, in target/screenshots
	@scripts/install-servers.sh
	@scripts/install-browser.sh
	cargo test --test browser -- --ignored screenshots

faults: ## Run the fault-injection tests at full size, about ten minutes
	@scripts/install-servers.sh
	@scripts/install-pgbouncer.sh
	tests/faults.sh

fuzz: ## Run the fuzz tests, about five minutes; needs Python and PyPI
	@scripts/install-servers.sh
	FUZZ_CASES=10000 cargo test --test it fuzz:: -- --nocapture
	tests/schemathesis.sh

check: ## Run all checks that must pass before a change is merged
	.ci/run

fmt: ## Format the code
	cargo fmt

sqlx: ## Check all SQL against a fresh schema, and regenerate .sqlx
	@scripts/install-servers.sh
	scripts/sqlx-metadata.sh

bench: ## Compare orders per second with pgbench, about eight minutes; needs wrk
	cargo build --release
	bench/run.sh

bench-reads: ## Compare reads per second with pgbench, about seven minutes; needs wrk
	cargo build --release
	bench/reads.sh

bench-scale: ## Measure all requests at ten million orders, and orders per second as tables grow; about two hours; needs wrk
	cargo build --release
	bench/scale.sh
	bench/growth.sh
