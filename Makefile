# `make` says what there is. Every target first sets up what it needs (.venv, packages, the files of the page); that takes a network
# once, and nothing when it has been done. PYTHON=/path/to/python chooses the interpreter, ARGS="…" goes to the command.

SHELL := /bin/sh
.DEFAULT_GOAL := help
ARGS ?=
PYTHON ?=
python := .venv/bin/python
export PYTHON

# Several processes start from the same sources: compiling them each time would cost seconds, whatever the caller's environment says.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help
help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

.PHONY: run
run: setup-base setup-page ## Start a whole venue with a live market and open it in the browser: ARGS="--port 9000 --no-browser"
	@exec $(python) main.py up $(ARGS)

.PHONY: test
test: setup-dev setup-page setup-browser ## Run all tests but the soak: ARGS="-k journal"
	@$(python) -m pytest -n auto --dist loadfile $(ARGS)

.PHONY: check
check: setup-dev ## Lint, format, types, layers and house rules
	@echo "==> ruff check" && $(python) -m ruff check
	@echo "==> ruff format --check" && $(python) -m ruff format --check
	@echo "==> mypy --strict" && $(python) -m mypy
	@echo "==> lint-imports" && .venv/bin/lint-imports
	@echo "==> house lint" && $(python) scripts/house_lint.py

.PHONY: format
format: setup-dev ## Format the sources and fix what can be fixed by itself
	@$(python) -m ruff check --fix-only
	@$(python) -m ruff format

.PHONY: lock
lock: setup-dev ## Pin all packages again after a change of pyproject.toml: ARGS=--upgrade for the newest
	@$(python) scripts/lock.py $(ARGS)

.PHONY: setup-base setup-dev setup-page setup-browser
setup-base:
	@scripts/setup_environment.sh base
setup-dev:
	@scripts/setup_environment.sh dev
setup-page:
	@$(python) -m trading_engine.frontend.trader_portal.assets
setup-browser:
	@$(python) scripts/chromium.py
