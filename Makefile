# virtcimd: everything a developer types.  `make help` lists it.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# The order of the prerequisites of `test` and `lint` is the order of the run.
.NOTPARALLEL:

PYTHON  := .venv/bin/python
TESTBED := tests/testbed/testbed

# What `make build` builds in beside the defaults: FEATURES=pam.
FEATURES   ?=
# What is linted and tested has everything.
TESTED     := --features pam

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
demo: ## show the gate and a live migration on two real hosts (or, without QEMU, on libvirt's test driver)
	@tools/deps build testbed clients
	cargo build --quiet --bins
	@$(PYTHON) demo/demo.py

.PHONY: test
test: deps-test lint-code lint-shell lint-units fuzz-smoke test-rust test-clients ## run every check and test

.PHONY: lint
lint: deps-lint lint-code lint-shell lint-units lint-crates ## formatting, clippy, shellcheck, units, licences and advisories

.PHONY: deps
deps: ## install what building and testing need and this machine lacks
	tools/deps build testbed clients lint fuzz audit

.PHONY: bench
bench: ## run the benchmarks; each prints ratios to a yardstick measured in the same run
	tools/deps build testbed clients
	cargo bench
	cargo build --quiet --release --bins
	VIRTCIMD_BIN_DIR=$(CURDIR)/target/release $(PYTHON) benches/migration.py

FUZZ_SECONDS ?= 60
.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZ_SECONDS (60) each
	tools/deps build fuzz
	fuzz/run $(FUZZ_SECONDS)

.PHONY: man
man: ## render the manual pages as text into target/man; warnings are errors
	@mkdir -p target/man
	@for page in docs/man/*; do \
		warnings=$$(MANWIDTH=120 man --warnings --local-file "$$page" 2>&1 >"target/man/$${page##*/}.txt"); \
		[ -z "$$warnings" ] || { echo "$$warnings"; exit 1; }; \
	done
	@ls target/man/*.txt

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
	cargo clippy --quiet --all-targets $(TESTED) -- --deny warnings

lint-shell:
	@tools/lint-shell

lint-units:
	@tools/lint-units

lint-crates:
	@tools/lint-crates

.PHONY: test-rust test-testbed test-clients fuzz-smoke
# Without nextest the tests share processes, which they bear as well.
test-rust:
	@if command -v cargo-nextest >/dev/null; then cargo nextest run $(TESTED); else cargo test --quiet --lib --bins --tests $(TESTED); fi
	cargo test --quiet --doc $(TESTED)

test-testbed:
	@tools/test-testbed

# These tests wait most of the time, so more of them run at once than there are CPUs: so many processes, each with
# daemons and test beds of its own.  0 is one after the other, in this process.  The tests of a file stay together.
TEST_PROCESSES ?= 3
test-clients: build-bins
	@$(PYTHON) -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder --durations=15 -rs \
		tests/clients tests/python tests/testbed

fuzz-smoke:
	@if command -v cargo-fuzz >/dev/null; then fuzz/run 5; \
	else echo "NOT FUZZED: cargo-fuzz is missing (tools/deps fuzz)"; fi

# With an example among them, cargo takes the libraries that `test-rust` has built; else it would build others.
.PHONY: build-bins
build-bins:
	@cargo build --quiet --bins --example schema_xml $(TESTED)

# ------------------------------------------------------------------ installation

.PHONY: build
build: ## build the release binaries, which `make install` installs
	cargo build --release --bins --features "$(FEATURES)"

# Settings and checks that are there already are the administrator's.
.PHONY: install
install: ## install under DESTDIR what `make build` has built
	install -D -m 755 target/release/virtcimd $(DESTDIR)$(PREFIX)/sbin/virtcimd
	install -D -m 755 target/release/virtcimctl $(DESTDIR)$(PREFIX)/bin/virtcimctl
	install -d -m 755 $(DESTDIR)$(UNITDIR) $(DESTDIR)$(PREFIX)/libexec/extchecks
	sed 's|/usr/sbin/|$(PREFIX)/sbin/|' systemd/virtcimd.service >$(DESTDIR)$(UNITDIR)/virtcimd.service
	install -m 644 systemd/virtcimd.socket $(DESTDIR)$(UNITDIR)/
	install -D -m 644 systemd/virtcimd.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/virtcimd.conf
	install -D -m 644 systemd/virtcimd.tmpfiles $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/virtcimd.conf
	install -d -m 750 $(DESTDIR)$(SYSCONFDIR)/virtcimd
	install -D -m 644 config/pam.d/virtcimd $(DESTDIR)$(PREFIX)/share/doc/virtcimd/pam.d/virtcimd
	test -e $(DESTDIR)$(SYSCONFDIR)/virtcimd/virtcimd.toml || \
		install -m 640 config/virtcimd.toml $(DESTDIR)$(SYSCONFDIR)/virtcimd/virtcimd.toml
	install -d -m 755 $(DESTDIR)$(PREFIX)/share/doc/virtcimd/checks
	install -m 755 config/checks/* $(DESTDIR)$(PREFIX)/share/doc/virtcimd/checks/
	install -m 644 README.md CHANGELOG.md COPYING docs/*.md $(DESTDIR)$(PREFIX)/share/doc/virtcimd/
	for page in docs/man/*; do \
		install -D -m 644 "$$page" "$(DESTDIR)$(MANDIR)/man$${page##*.}/$${page##*/}"; \
	done
	install -d $(addprefix $(DESTDIR)$(PREFIX)/share/,bash-completion/completions zsh/site-functions fish/vendor_completions.d)
	target/release/virtcimctl completions bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/virtcimctl
	target/release/virtcimctl completions zsh >$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_virtcimctl
	target/release/virtcimctl completions fish >$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/virtcimctl.fish
