# What one does with a clone of Afforo. `make help` lists it.

.DEFAULT_GOAL := help
.PHONY: help run test screenshots faults fuzz check fmt sqlx bench bench-scale

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

run: ## Run everything on this machine: API, worker, a private PostgreSQL and Redis
	@scripts/install-servers.sh
	cargo run --release -- dev

test: ## Run all tests; they bring their own servers and a browser
	@scripts/install-servers.sh
	@scripts/install-browser.sh
	cargo test

screenshots: ## Take pictures of all pages of the console, in target/screenshots
	@scripts/install-servers.sh
	@scripts/install-browser.sh
	cargo test --test browser -- --ignored screenshots

faults: ## Break everything at full size while orders are placed, about seven minutes
	@scripts/install-servers.sh
	tests/faults.sh

fuzz: ## Send requests that nobody would write, about five minutes; needs Python and PyPI
	@scripts/install-servers.sh
	FUZZ_CASES=10000 cargo test --test it fuzz:: -- --nocapture
	tests/schemathesis.sh

check: ## What has to pass before a change lands
	.ci/run

fmt: ## Format the code
	cargo fmt

sqlx: ## Check all SQL against a fresh schema, and write .sqlx anew
	@scripts/install-servers.sh
	scripts/sqlx-metadata.sh

bench: ## Measure orders a second against pgbench, about eight minutes
	cargo build --release
	bench/run.sh

bench-scale: ## Measure all requests at ten million orders, and at a tenth of it, about half an hour
	cargo build --release
	bench/scale.sh
