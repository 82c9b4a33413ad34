# One word each. `make` alone lists them.

.DEFAULT_GOAL := help
SHELL := /bin/bash

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEMO_INSTALLED := $(VENV)/.installed-demo
BROWSER := $(VENV)/.installed-browser
CLUSTER_INSTALLED := $(VENV)/.installed-cluster
AS_ROOT := $(shell test "$$(id -u)" = 0 || echo sudo)
BENCH_INSTALLED := $(VENV)/.installed-bench
RELEASE_INSTALLED := $(VENV)/.installed-release
DOCS_INSTALLED := $(VENV)/.installed-docs
AIRFLOW := 3.3.2
COMMA := ,
CONSTRAINTS := constraints/airflow-$(AIRFLOW).txt
PYTHON := $(shell for python in python3.13 python3.12 python3.11 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

# Byte code is kept: compiling Airflow anew in every process would take longer than the tests.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help
help:  ## List the targets
	@grep -hE '^[a-z-]+:.*  ## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*  ## (.*)/  make \1\t\2/' | expand -t 22

.PHONY: venv
venv: $(INSTALLED)  ## Make .venv with everything in it

$(BIN)/pip:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, as python3."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || $(MAKE) --no-print-directory debian-venv
	@printf 'Making $(VENV) … '; $(PYTHON) -m venv $(VENV) && echo "$$SECONDS s"

# Installs the extra $(1), which is named $(2), and prints the seconds it took.
define install
	@printf 'Installing $(2) … '; \
		$(BIN)/pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) --editable '.[$(1)]' \
		&& echo "$$SECONDS s"
	@touch $@
endef

$(INSTALLED): pyproject.toml $(CONSTRAINTS) | $(BIN)/pip
	$(call install,dev,Airflow $(AIRFLOW)$(COMMA) the sandbox and the tools of tests and checks)

# Less than a complete .venv: no tools for tests and checks.
$(DEMO_INSTALLED): pyproject.toml $(CONSTRAINTS) | $(BIN)/pip
	$(call install,demo,Airflow $(AIRFLOW) and the sandbox)

# Demo and local stack also run in a complete .venv.
FOR_DEMO := $(or $(wildcard $(INSTALLED)),$(DEMO_INSTALLED))

# Ctrl-C is the way to end these commands, so make must not call it an error.
WAS_INTERRUPTED := test $$? -eq 130

# Debian keeps venv in a package of its own.
.PHONY: debian-venv
debian-venv:
	@echo "Installing the Debian package python3-venv."
	@$(AS_ROOT) apt-get update -qq && $(AS_ROOT) apt-get install -y -qq python3-venv

.PHONY: demo
demo: $(FOR_DEMO)  ## See a rollback through real Airflow, against a local DingTalk; KEEP=1 leaves both running
	@$(BIN)/python -m demo $(if $(KEEP),--keep) || $(WAS_INTERRUPTED)

.PHONY: up
up: $(FOR_DEMO)  ## Start the sandbox and Airflow with the example DAGs; Ctrl-C ends both
	@$(BIN)/python -m dev.up || $(WAS_INTERRUPTED)

.PHONY: cluster
cluster: $(CLUSTER_INSTALLED)  ## Start Airflow on Celery, PostgreSQL and Redis, two hosts of each kind; Ctrl-C ends all
	@$(SERVICES) || $(MAKE) --no-print-directory debian-services
	@$(BIN)/python -m dev.cluster || $(WAS_INTERRUPTED)

.PHONY: test-cluster
test-cluster: $(CLUSTER_INSTALLED)  ## Cut, kill and restart the parts of a cluster, with figures; with ACCOUNTS=1 speed does not count
	@$(SERVICES) || $(MAKE) --no-print-directory debian-services
	$(BIN)/python -m tests.cluster $(if $(ACCOUNTS),--accounts)

$(CLUSTER_INSTALLED): $(INSTALLED)
	$(call install,cluster,Celery and the clients of PostgreSQL and Redis)

SERVICES := command -v redis-server >/dev/null && ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1
.PHONY: debian-services
debian-services:
	@echo "Installing the Debian packages postgresql and redis-server, without starting them."
	@$(AS_ROOT) sh dev/install_services.sh postgresql redis-server

.PHONY: test
test: $(INSTALLED)  ## Run the whole suite; installs Debian's redis-server if it is missing
	@command -v redis-server >/dev/null || $(AS_ROOT) sh dev/install_services.sh redis-server
	$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder

# Apart from `make test`: on Python 3.11 it doubles the processor time of the tests.
.PHONY: coverage
coverage: $(INSTALLED)  ## Measure branch coverage of all tests without a real Airflow; fails below the gate
	@command -v redis-server >/dev/null || $(AS_ROOT) sh dev/install_services.sh redis-server
	$(BIN)/python -m pytest -n 2 --dist loadscope --ignore tests/real_airflow --cov --cov-report=term:skip-covered

.PHONY: test-faults
test-faults: $(INSTALLED)  ## Inject every fault, with figures: kills in real Airflow, then the matrix; FAST=1 for fewer kills behind a proxy
	$(BIN)/python -m tests.faults.real_airflow --out $(VENV)/real-airflow.json
	$(BIN)/python -m tests.faults.kills --proxy $(if $(FAST),--fast)
	$(BIN)/python -m tests.faults --real $(VENV)/real-airflow.json

# What tests/browser takes screenshots into.
export BROWSER_ARTEFACTS ?= $(CURDIR)/build/browser

.PHONY: test-browser
test-browser: $(BROWSER)  ## Drive Airflow in a headless Chromium: fill in the form, approve, see messages vanish
	@command -v chromium chromium-browser google-chrome >/dev/null || $(MAKE) --no-print-directory debian-chromium
	$(BIN)/python -m pytest tests/browser
	@echo "Screenshots are in $(BROWSER_ARTEFACTS)."

$(BROWSER): $(INSTALLED)
	$(call install,browser,Playwright)

.PHONY: debian-chromium
debian-chromium:
	@echo "Installing the Debian package chromium."
	@$(AS_ROOT) apt-get update -qq && $(AS_ROOT) apt-get install -y -qq chromium

.PHONY: bench
bench: $(BENCH_INSTALLED)  ## Measure every figure of docs/benchmarks.md anew, 45 minutes; `python -m benchmarks ROW` for one
	@command -v redis-server >/dev/null || $(AS_ROOT) sh dev/install_services.sh redis-server
	$(BIN)/python -m benchmarks --json docs/benchmarks.json --table docs/benchmarks.md

# Peers to be measured against; nothing else needs them.
$(BENCH_INSTALLED): $(INSTALLED)
	$(call install,bench,peers to measure against)

.PHONY: test-compat
test-compat: $(INSTALLED)  ## Test all claimed versions, two hours or three, into docs/compatibility.md; COMBINATIONS=3.1.8 for one, PARTS="demo rollback" for some parts
	@command -v redis-server >/dev/null || $(AS_ROOT) sh dev/install_services.sh redis-server
	@test -x $(BIN)/uv || $(BIN)/pip install --quiet --disable-pip-version-check uv
	$(BIN)/python -m dev.compat $(COMBINATIONS) $(if $(PARTS),--parts $(PARTS))

.PHONY: check
check: $(INSTALLED)  ## Run ruff, codespell, the language check, mypy and import-linter
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell airflow_provider_dingtalk benchmarks demo dev docs example_dags tests *.md pyproject.toml Makefile
	$(BIN)/python -m dev.check_language
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: docs
docs: $(DOCS_INSTALLED)  ## Build the documentation site, English and Chinese, into build/site; fails on a broken link
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs --quiet build
	@echo "Open build/site/index.html."

$(DOCS_INSTALLED): $(INSTALLED)
	$(call install,docs,MkDocs)

.PHONY: release-check
release-check: $(RELEASE_INSTALLED)  ## Do everything of a release but the upload: build, check, install, try
	$(BIN)/python -m dev.release_check --constraints $(CONSTRAINTS)

$(RELEASE_INSTALLED): $(INSTALLED)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) --editable '.[release]'
	@touch $@

# Pins that still fit stay; UPGRADE=--upgrade takes the newest versions up to the date.
CONSTRAINTS_DATE ?= 2026-11-27
.PHONY: constraints
constraints: $(INSTALLED)  ## Resolve the constraints file anew; UPGRADE=--upgrade for newer versions
	$(BIN)/pip install --quiet --disable-pip-version-check uv
	echo 'apache-airflow==$(AIRFLOW)' | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras \
		--exclude-newer $(CONSTRAINTS_DATE) $(UPGRADE) --custom-compile-command 'make constraints' \
		--no-annotate --no-emit-index-url --constraint - --output-file $(CONSTRAINTS) pyproject.toml

.PHONY: format
format: $(INSTALLED)  ## Put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: clean
clean:  ## Remove .venv and caches
	rm -rf $(VENV) .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
