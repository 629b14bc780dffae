# `make help` lists what can be done. Needs Python >= 3.11 and make, nothing else.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
WHEELS ?= $(HOME)/.cache/usher/wheels
LOCK   := requirements.lock
STAMP  := $(VENV)/.locked
ONCE   ?=
ARGS   ?=
# Tests wait as well as work: one process more than there are cores.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(min(4, (os.cpu_count() or 1) + 1))')

.DEFAULT_GOAL := help
.PHONY: help install run test faults brokers check sbom audit format bench messages clients lock clean screenshots

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## Set up .venv from the locked wheels

$(STAMP): $(LOCK) setup.cfg pyproject.toml deploy/install.sh
	@PYTHON="$(PYTHON)" VENV="$(VENV)" WHEELS="$(WHEELS)" LOCK="$(LOCK)" sh deploy/install.sh

run: $(STAMP) ## Start everything, drive a demo purchase, stay up (ONCE=1: stop after it)
	@exec $(BIN)/usher run $(if $(filter-out 0,$(ONCE)),--once) $(ARGS)

test: $(STAMP) ## Run the tests (ARGS='-k name' for some)
	@exec $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

faults: $(STAMP) ## Run in full what the tests run in short: faults, deployments, recovery, browsers, older versions
	@exec $(BIN)/python -m pytest tests/faults tests/deploy tests/recover tests/observe/test_processes.py tests/browser tests/e2e/test_bulk_replay.py tests/e2e/test_two_versions.py tests/xp/test_storm.py --full $(ARGS)

brokers: $(STAMP) ## Run the tests of real processes on RabbitMQ, on Redis, and behind PgBouncer
	@$(BIN)/python -m pytest tests/e2e tests/faults --broker rabbitmq $(ARGS)
	@$(BIN)/python -m pytest tests/e2e tests/faults --broker redis $(ARGS)
	@$(BIN)/python -m pytest tests/e2e tests/faults --pooler $(ARGS)

check: $(STAMP) ## Format, lint, types, import rules, credentials
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python deploy/find_secrets.py

sbom: $(STAMP) ## Write what the image runs on as CycloneDX, to usher.cdx.json
	@BIN="$(BIN)" sh deploy/sbom.sh usher.cdx.json

audit: $(STAMP) ## Look up known vulnerabilities of what the image runs on (needs a network)
	@BIN="$(BIN)" sh deploy/audit.sh

format: $(STAMP) ## Format the code and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP) ## Run the benchmarks, one JSON line each
	@exec $(BIN)/python -m bench $(ARGS)

messages: $(STAMP) ## Bring the translations up to date with the texts of the pages
	@$(BIN)/python -m api.messages

screenshots: $(STAMP) ## Take the pictures of the pages in docs/screenshots (needs Chromium)
	@exec $(BIN)/python -m pytest -q tests/browser/screenshots.py

clients: ## Install, check, test and build the React package (needs node, and once a network)
	cd clients/react && npm ci --no-audit --no-fund --ignore-scripts && npm run typecheck && npm test && npm run build

lock: ## Make the lock files anew from setup.cfg (needs a network)
	@PYTHON="$(PYTHON)" sh deploy/lock.sh

clean: ## Remove the virtual environment and caches (data in .usher stays)
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache clients/react/node_modules clients/react/dist
