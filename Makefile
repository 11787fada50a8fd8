# Every target carries a `## ` comment: `make help` prints them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
UV ?= uv
DAGSTER_TESTS := tests/pipelines tests/tinycdp/test_demo.py tests/house/test_package.py

.PHONY: help demo up test test-dagster test-sdks test-chaos check format bench mutants lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.runtime ## The main job on real data (KEEP=1 stays up; ARGS="--sample 0.1 --seed 7")
	@$(RUN)/tinycdp demo $(if $(KEEP),--keep) $(ARGS)

up: $(VENV)/.runtime ## API and Dagster UI, supervised until ctrl-C
	@$(RUN)/tinycdp up $(ARGS)

test: $(VENV)/.development ## The tests (ARGS="tests/dsl -k window" picks)
	@# In the order of folders: files of few tests are the slow ones, and one process would wait for the other's last.
	@$(RUN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder --ignore=tests/sdks $(addprefix --ignore=,$(DAGSTER_TESTS)) $(ARGS)

test-dagster: $(VENV)/.development ## What runs Dagster whole: refreshes, the demo, the installed wheel
	@$(RUN)/python -m pytest -q -n 2 --dist loadfile $(DAGSTER_TESTS) $(ARGS)

test-sdks: $(VENV)/.development ## Segment's and OpenFeature's libraries for Node and browsers (needs Node 20, npm, Chromium)
	@if command -v npm >/dev/null; then $(MAKE) tests/sdks/node_modules/.package-lock.json; fi
	@$(RUN)/python -m pytest -q tests/sdks $(ARGS)

test-chaos: $(VENV)/.development ## kill -9 of everything under load, 50 rounds (ROUNDS=5 SEED=7 for others)
	@$(RUN)/python -m tests.chaos.run --rounds $(or $(ROUNDS),50) --seed $(or $(SEED),1) $(ARGS)

check: $(VENV)/.development ## ruff, mypy --strict, import-linter
	@$(RUN)/ruff check
	@$(RUN)/ruff format --check
	@$(RUN)/mypy --strict
	@$(RUN)/lint-imports --no-logo

format: $(VENV)/.development ## Format the code and sort its imports
	@$(RUN)/ruff check --fix-only --quiet
	@$(RUN)/ruff format

bench: $(VENV)/.development ## Measure (half an hour); prints the machine, keeps raw timings in var/bench
	@$(RUN)/python -m benchmarks.compile_catalog
	@$(RUN)/python -m benchmarks.decide $(ARGS)
	@$(RUN)/python -m benchmarks.fold $(ARGS)
	@$(RUN)/python -m benchmarks.traits_pass $(ARGS)
	@$(RUN)/python -m benchmarks.fifty_traits $(ARGS)
	@$(RUN)/python -m benchmarks.hot_user $(ARGS)
	@$(RUN)/python -m benchmarks.ingest $(ARGS)
	@$(RUN)/python -m benchmarks.landing $(ARGS)
	@$(RUN)/python -m benchmarks.load $(ARGS)
	@$(RUN)/python -m benchmarks.publication $(ARGS)
	@$(RUN)/python -m benchmarks.refresh $(ARGS)
	@$(RUN)/python -m benchmarks.start $(ARGS)

mutants: $(VENV)/.development ## Seeded faults: each must fail the test that is named for it
	@$(RUN)/python -m tests.mutants.run $(ARGS)

lock: ## Write requirements*.lock from pyproject.toml (needs uv; ARGS=--upgrade for newer versions)
	@$(COMPILE) --extra demo --group build -o requirements.lock
	@$(COMPILE) --extra demo --group dev -c requirements.lock -o requirements-dev.lock

clean: ## Remove the environment, caches and builds; run-time data in var/ stays
	@rm -rf $(VENV) build dist tests/sdks/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

COMPILE = $(UV) pip compile pyproject.toml --universal --generate-hashes --python-version 3.11 --quiet --custom-compile-command 'make lock' $(ARGS)

# --- the environment -------------------------------------------------------------------------------------------------
# Everything here speaks on stderr: `make demo ARGS=--json` has one document on stdout.
# pip compiles nothing while it installs (18 s saved of 47): Python compiles what is imported, once, when it first is.
unexport PYTHONDONTWRITEBYTECODE

PIP = $(RUN)/python -m pip --disable-pip-version-check

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'TinyCDP needs Python 3.11 or newer, which `$(PYTHON)` is not: install one and say `make PYTHON=python3.12 …`' >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) >&2

tests/sdks/node_modules/.package-lock.json: tests/sdks/package-lock.json tests/sdks/package.json
	@npm ci --prefix tests/sdks --ignore-scripts --no-progress >&2
	@touch $@

define install
	@echo "Installing $< into $(VENV): half a minute from a warm cache, a gigabyte to fetch from a cold one" >&2
	@$(PIP) install --no-compile --no-deps --require-hashes -r $< 2>$(VENV)/install.log | $(show_progress) \
	  || { tail -n 20 $(VENV)/install.log >&2; exit 1; }
	@$(PIP) install -qq --no-deps --no-build-isolation -e . >&2
	@touch $@
endef

# A line that counts, where there is a terminal to see it.
define show_progress
while read -r word rest; do \
  if [ ! -t 2 ]; then continue; fi; \
  case $$word in \
    Collecting|Requirement) printf '\r  %d packages' $$((seen+=1)) >&2;; \
    Installing) printf '\r  %d packages, unpacking' $$((seen+=0)) >&2;; \
    Successfully) echo >&2;; \
  esac; \
done
endef

$(VENV)/.runtime: requirements.lock pyproject.toml $(VENV)/bin/pip
	$(install)

$(VENV)/.development: requirements-dev.lock pyproject.toml $(VENV)/bin/pip
	$(install)
	@touch $(VENV)/.runtime
