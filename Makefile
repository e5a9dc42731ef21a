# The commands of this repository; `make` alone lists them.

.DEFAULT_GOAL := help
.PHONY: help demo test test-embedded test-servers bench fmt fmt-check clippy deny build toolchain

# Where scripts/test-servers.sh installs, and leaves the addresses of servers that Docker runs.
cache := $(or $(LANEWAY_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/laneway)

# Tests wait for servers more than they compute.
test_threads := 4

help: ## list these commands
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: toolchain ## run Laneway and send it a trace (TRACE=file to choose it, KEEP=1 to leave it running)
	cargo build --workspace --bins
	@$(or $(CARGO_TARGET_DIR),target)/debug/demo

test: fmt-check clippy deny build test-servers ## all checks and all tests, on real servers
	set -a; . "$(cache)/test-servers.env"; set +a; RUST_TEST_THREADS=$(test_threads) cargo test --workspace --no-fail-fast

test-embedded: fmt-check clippy deny build ## the same without servers: what needs them says that it did not run
	LANEWAY_TEST_EMBEDDED_ONLY=1 RUST_TEST_THREADS=$(test_threads) cargo test --workspace --no-fail-fast

test-servers: toolchain ## make Kafka, PostgreSQL and a schema registry available to the tests
	@scripts/test-servers.sh

bench: toolchain test-servers ## measure, side by side
	cargo build --release --workspace --bins
	set -a; . "$(cache)/test-servers.env"; set +a; $(or $(CARGO_TARGET_DIR),target)/release/laneway-bench run

fmt: toolchain ## format the code
	cargo fmt --all

fmt-check: toolchain
	cargo fmt --all --check

clippy: toolchain ## lint, warnings are errors
	cargo clippy --workspace --all-targets -- -D warnings

deny: toolchain ## check licences, banned crates, sources, and advisories where they can be reached
	@scripts/deny.sh

build: toolchain
	cargo build --workspace --all-targets

toolchain:
	@scripts/toolchain.sh
