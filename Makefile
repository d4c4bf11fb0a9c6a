# `make local` brings the product up, `make test` runs what CI runs, `make check` is for while you work.
# `make help` lists the others.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

MODE ?= fullha
LOCAL := $(or $(MWAA_LOCAL_HOME),.local)
TOOLS := $(or $(MWAA_LOCAL_TOOLS),$(LOCAL)/tools)
UV_VERSION := 0.13.8
# uv: the one on PATH, else one of our own from PyPI.
UV := $(or $(shell command -v uv 2>/dev/null),$(TOOLS)/bootstrap/bin/uv)
PYTHON := $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
RUN := .venv/bin/python -m
MARKDOWN := $(wildcard *.md) docs .github

.PHONY: help
help: ## This list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: local
local: .venv/.synced ## The whole product on this machine, no AWS account (MODE=standard|bluegreen|hamarquez|fullha, DAGS=../my-dags)
	@$(RUN) local up --mode $(MODE) --dags '$(DAGS)' --airflow '$(AIRFLOW)' \
		--requirements '$(REQUIREMENTS)' --plugins '$(PLUGINS)' --startup '$(STARTUP)' \
		--variables '$(VARIABLES)' --connections '$(CONNECTIONS)'

.PHONY: local-env
local-env: .venv/.synced ## Shell exports for the plain pulumi and mwaactl:  eval "$$(make -s local-env)"
	@$(RUN) local env

.PHONY: local-down
local-down: ## End every local process, keep the state
	@if [ -x .venv/bin/python ]; then $(RUN) local down; fi

.PHONY: clean
clean: local-down ## Remove all that was set up (state, tools, caches)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache "$(TOOLS)"
	rm -rf "$(LOCAL)"/bin "$(LOCAL)"/logs "$(LOCAL)"/pulumi "$(LOCAL)"/run "$(LOCAL)"/state
	@rmdir "$(LOCAL)" 2>/dev/null || true

.PHONY: check fix test lint unit engine scan e2e long engine-long e2e-long
check: .venv/.synced ## What to run before a commit: lint and unit tests side by side
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint unit

fix: .venv/.synced ## Format code and markdown, and fix what the linter can
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .
	.venv/bin/mdformat $(MARKDOWN)

test: lint unit engine scan e2e ## Everything that CI runs

lint: .venv/.synced ## Formats (ruff, mdformat), ruff, directions of imports, mypy --strict
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mdformat --check $(MARKDOWN)
	.venv/bin/lint-imports --no-logo
	.venv/bin/mypy

unit: .venv/.synced ## Unit tests under Pulumi mocks, on all cores
	.venv/bin/pytest tests/unit --numprocesses logical

engine: .venv/.synced ## The real Pulumi engine over the local plugin, a local cloud for each core
	.venv/bin/pytest tests/engine --ignore=tests/engine/long --numprocesses logical --dist loadfile

scan: .venv/.synced ## Security checks of what is deployed, held against the table in docs/security.md
	@$(RUN) tests.scan

e2e: .venv/.synced ## Two real Airflows, a switch, a destroy
	LOAD=$(or $(LOAD),light) .venv/bin/pytest tests/e2e --ignore=tests/e2e/long

long: engine-long e2e-long ## What takes longer (nightly)

engine-long: .venv/.synced ## Of the real engine: what an organisation brings (network, buckets, IAM, an environment)
	.venv/bin/pytest tests/engine/long --numprocesses logical --dist loadfile

e2e-long: .venv/.synced ## Of real Airflows: an upgrade, a failover, plugins of two versions, the routes of the gate
	LOAD=$(or $(LOAD),light) .venv/bin/pytest tests/e2e/long
	SWITCHES=$(or $(SWITCHES),20) .venv/bin/pytest tests/e2e/test_exactly_once.py
	GATE_ENVIRONMENTS=$(or $(GATE_ENVIRONMENTS),3.0.6-old-CeleryExecutor) .venv/bin/pytest tests/e2e/test_gate_versions.py

.PHONY: mutation
mutation: .venv/.synced ## Would a test notice? Small changes of the code that decides (MODULE="store drain"; nightly)
	@$(RUN) tests.mutation $(MODULE)

.PHONY: lock
lock: $(UV) ## Renew uv.lock
	$(UV) lock

.venv/.synced: pyproject.toml uv.lock | $(UV)
	@echo "Setting up .venv from uv.lock" >&2
	@$(UV) sync --locked --quiet
	@touch $@

$(TOOLS)/bootstrap/bin/uv:
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11 or newer is needed: no python3 on PATH is that new." >&2; exit 1; }
	@echo "Installing uv $(UV_VERSION) into $(TOOLS)/bootstrap" >&2
	@$(PYTHON) -m venv "$(TOOLS)/bootstrap" || { \
		echo "$(PYTHON) cannot make virtual environments (Debian: apt install python3-venv)." >&2; exit 1; }
	@"$(TOOLS)/bootstrap/bin/pip" install --quiet --disable-pip-version-check "uv==$(UV_VERSION)" || { \
		rm -rf "$(TOOLS)/bootstrap"; echo "uv could not be installed: is the package registry reachable?" >&2; exit 1; }
