# virtcimd: everything a developer types.  `make help` lists it.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# The order of the prerequisites of `test` and `lint` is the order of the run.
.NOTPARALLEL:

PYTHON  := .venv/bin/python
TESTBED := tests/testbed/testbed

PREFIX     ?= /usr
SYSCONFDIR ?= /etc
UNITDIR    ?= $(PREFIX)/lib/systemd/system
MANDIR     ?= $(PREFIX)/share/man
DESTDIR    ?=

# ------------------------------------------------------------------ for people

.PHONY: help
help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: ## show the migration gate on two real hosts (or, without QEMU, on libvirt's test driver)
	@tools/deps build testbed clients
	cargo build --quiet --bins
	@$(PYTHON) demo/demo.py

.PHONY: test
test: deps-test lint-code lint-shell lint-units fuzz-smoke test-rust test-testbed test-clients ## run every check and test

.PHONY: lint
lint: deps-lint lint-code lint-shell lint-units lint-crates ## formatting, clippy, shellcheck, units, licences and advisories

.PHONY: deps
deps: ## install what building and testing need and this machine lacks
	tools/deps build testbed clients lint fuzz audit

.PHONY: bench
bench: ## run the benchmarks; each prints ratios to a yardstick measured in the same run
	tools/deps build testbed clients
	cargo bench

FUZZ_SECONDS ?= 60
.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZ_SECONDS (60) each
	tools/deps build fuzz
	tools/fuzz $(FUZZ_SECONDS)

.PHONY: man
man: ## render the manual pages to target/man
	tools/man target/man

.PHONY: clean
clean: ## remove what was built, and a test bed that was left up
	-$(TESTBED) down
	cargo clean
	rm -rf .venv

# ------------------------------------------------------------------ steps of test and lint

.PHONY: deps-test deps-lint
deps-test:
	@tools/deps build testbed clients lint fuzz

deps-lint:
	@tools/deps build lint audit

.PHONY: lint-code lint-shell lint-units lint-crates
lint-code:
	cargo fmt --check
	cargo clippy --quiet --all-targets -- --deny warnings

lint-shell:
	@tools/lint-shell

lint-units:
	@tools/lint-units

lint-crates:
	@tools/lint-crates

.PHONY: test-rust test-testbed test-clients fuzz-smoke
# Without nextest the tests share processes, which they bear as well.
test-rust:
	@if command -v cargo-nextest >/dev/null; then cargo nextest run; else cargo test --quiet --lib --bins --tests; fi
	cargo test --quiet --doc

test-testbed:
	@tools/test-testbed

test-clients: build-bins
	@$(PYTHON) -m pytest tests/clients tests/python tests/testbed

fuzz-smoke:
	@tools/fuzz 5

.PHONY: build-bins
build-bins:
	@cargo build --quiet --bins

# ------------------------------------------------------------------ installation

.PHONY: build
build: ## build the release binaries, which `make install` installs
	cargo build --release --bins
