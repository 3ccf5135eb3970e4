# `make` says what there is. Every target first sets up what it needs (.venv, packages, the files of the page, a browser and servers for the tests):
# that takes a network once, and nothing when it has been done.
#
#   PYTHON=/path/to/python   which interpreter to set up with, 3.11 to 3.13; otherwise one is looked for
#   ARGS="…"                 passed on to the command

SHELL := /bin/sh
.DEFAULT_GOAL := help
ARGS ?=
PYTHON ?=
export PYTHON
python := .venv/bin/python
portal_files := $(python) -m trading_engine.frontend.trader_portal.assets

# Several processes start from the same sources: compiling them each time would cost seconds, whatever the caller's environment says.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help
help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

.PHONY: setup
setup: environment page ## Set up what running needs, and no more

.PHONY: run
run: environment page ## Start a whole venue with a live market and open it: ARGS="--port 9000 --no-browser"
	@exec $(python) main.py up $(ARGS)

.PHONY: test
test: environment-dev page-dev browser servers clients core ## Run all tests but the soak: ARGS="-k journal"
	@echo "==> pytest"
	@$(python) -m pytest -n auto --dist loadgroup $(ARGS)

.PHONY: core
core: environment
	@$(python) main.py compile

.PHONY: check
check: environment-dev ## Lint, formatting, types, layers and house rules
	@echo "==> ruff check"
	@$(python) -m ruff check
	@echo "==> ruff format --check"
	@$(python) -m ruff format --check
	@echo "==> mypy --strict"
	@$(python) -m mypy
	@echo "==> lint-imports"
	@$(python) .venv/bin/lint-imports --no-logo
	@echo "==> house lint"
	@$(python) scripts/house_lint.py

.PHONY: format
format: environment-dev ## Format the sources, and mend what mends itself
	@$(python) -m ruff check --fix-only
	@$(python) -m ruff format

.PHONY: services
services: environment-dev ## Start RabbitMQ, PostgreSQL, Redis and a qIPC server to try things on: ARGS="rabbitmq redis"
	@exec $(python) scripts/services.py $(ARGS)

.PHONY: bench
bench: environment core ## Measure latency and throughput on this machine: ARGS="--help"
	@$(python) -m benchmarks $(ARGS)

.PHONY: bench-api
bench-api: environment core ## Measure the edge: orders by REST, WebSocket and FIX at several loads, market data: ARGS=--quick
	@$(python) -m benchmarks api fix $(ARGS)

.PHONY: sim
sim: environment-dev core ## Run the simulations: recorded data, and seeded crowds with faults
	@$(python) -m pytest tests/simulation $(ARGS)

.PHONY: soak
soak: environment-dev page-dev browser servers clients-large core ## Run the tests that take minutes
	@$(python) -m pytest -m soak --timeout 7200 $(ARGS)

.PHONY: lock
lock: environment-dev ## Pin the packages again after a change of pyproject.toml: ARGS=--upgrade for the newest
	@$(python) scripts/lock.py $(ARGS)

.PHONY: environment environment-dev page page-dev browser servers clients clients-large
environment:
	@scripts/setup_environment.sh base
environment-dev:
	@scripts/setup_environment.sh dev
page: environment
	@$(portal_files)
page-dev: environment-dev
	@$(portal_files) --dev
browser: environment-dev
	@$(python) scripts/chromium.py
servers: environment-dev
	@$(python) scripts/services.py --install
clients: environment-dev
	@$(python) scripts/client_environments.py
clients-large: environment-dev
	@$(python) scripts/client_environments.py --large
