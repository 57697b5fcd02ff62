# `make help` lists the targets. Each target installs what it needs into .local; nothing is written outside this folder.
PYTHON ?= python3
VENV := .local/venv/bin/python
TOOLS := .local/venv/bin

export HYPOTHESIS_STORAGE_DIRECTORY := $(CURDIR)/.local/cache/hypothesis
# Keep the bytecode, so that the second start is faster, and keep it in this folder.
export PYTHONPYCACHEPREFIX := $(CURDIR)/.local/cache/bytecode
unexport PYTHONDONTWRITEBYTECODE

# Without a terminal (CI, scripts) `up` returns when the system is ready; DETACH=1 and DETACH=0 override that.
DETACH ?= $(shell test -t 0 && echo 0 || echo 1)
STATE := $(or $(TENURE_STATE),.local)
ARGS ?=
# The number of test workers, each with its own PostgreSQL and Kafka: one more than cores, as workers often wait.
JOBS ?= $(shell $(PYTHON) -c 'import os; print(min((os.cpu_count() or 1) + 1, 4))')

.DEFAULT_GOAL := help
.PHONY: help install secrets up down status logs story year test long torture upgrade drill format bench bench-quick lock browser tour documents fuzz chart release cluster clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' Makefile
	@echo "Variables: PYTHON; DATABASE_URL and KAFKA_BOOTSTRAP to use other servers than the local ones;"
	@echo "  TENURE_PORT_BASE (8100), the first of 13 ports; TENURE_STATE (.local), the folder of data, logs and run"

install: ## install everything into .local (the other targets do this when needed)
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is required; choose one with PYTHON, as in: make up PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m deploy.bootstrap

secrets: ## create the missing passwords that docker-compose.yml reads
	@$(PYTHON) -m deploy.secrets

up: install ## start PostgreSQL, Kafka and the services; Ctrl-C stops them (DETACH=1: return when ready)
	@$(VENV) -m deploy.local up $(if $(filter 1,$(DETACH)),--detach)

down: ## stop the system
	@if [ -f .local/venv/installed ]; then $(VENV) -m deploy.local down; else echo "Nothing is running."; fi

status: ## show the running processes, their addresses and whether they are ready
	@if [ -f .local/venv/installed ]; then $(VENV) -m deploy.local status; else echo "Nothing is running."; exit 1; fi

logs: ## follow all logs
	@tail -n 20 -F $(STATE)/logs/*.log

story: install ## run the story on the running system, through its public HTTP API
	@if [ -f $(STATE)/run/addresses.env ]; then . $(STATE)/run/addresses.env; fi; $(VENV) -m deploy.story $(ARGS)

year: install ## simulate a year of 1,000 sandbox customers on the running system (ARGS="--customers N")
	@if [ -f $(STATE)/run/addresses.env ]; then . $(STATE)/run/addresses.env; fi; $(VENV) -m deploy.year $(ARGS)

test: install ## run lint, type check, import rules and tests (CONTAINERS=1: system tests in containers; ARGS: for pytest)
	$(TOOLS)/ruff check
	$(TOOLS)/ruff format --check
	$(TOOLS)/mypy
	$(TOOLS)/lint-imports --cache-dir .local/cache/import-linter
	$(VENV) -m pytest -n $(JOBS) --dist loadscope --no-loadscope-reorder -m "not long" $(ARGS)

browser: install ## use the pages in a real browser, Debian's chromium (CHROMIUM: another; SHOTS=folder: keep screenshots)
	@$(PYTHON) -m deploy.bootstrap browser
	BROWSER=1 $(VENV) -m pytest tests/console/browser $(ARGS)

tour: install ## look at every page as each kind of person in a real browser (CHROMIUM, SHOTS as above)
	@$(PYTHON) -m deploy.bootstrap browser
	BROWSER=1 TOUR=1 $(VENV) -m pytest tests/console/browser/test_every_page.py $(ARGS)

documents: install ## check the documents by other people's tools: redocly, spectral, AsyncAPI's parser, ajv, two generators of clients (node), schemathesis (SCHEMATHESIS_SEED); neighbours in three languages
	@$(PYTHON) -m deploy.bootstrap documents
	FUZZ=short $(VENV) -m pytest -m long tests/documents tests/neighbours tests/system/test_clients.py tests/system/test_schemathesis.py $(ARGS)

fuzz: install ## let schemathesis ask every operation of the documents, more than `documents` does (SCHEMATHESIS_EXAMPLES, SCHEMATHESIS_SEED)
	@$(PYTHON) -m deploy.bootstrap documents
	FUZZ=long $(VENV) -m pytest -m long tests/system/test_schemathesis.py $(ARGS)

release: install ## make a release of the last commit in .local/release (IMAGES: the file of `python -m deploy.images resolve`; ARGS=--trial: of images by tag)
	@$(PYTHON) -m deploy.bootstrap release
	@$(VENV) -m deploy.release $(if $(IMAGES),--images $(IMAGES)) $(ARGS)

cluster: install ## restart and kill brokers of three in containers under load, then ask the oracle (Docker; ARGS="--rate 40 --killed 60")
	$(VENV) -m tests.torture.cluster $(ARGS)

chart: install ## check the Helm chart by helm and kubeconform, which Go builds, and every object by its kind's schema
	@$(VENV) -m deploy.chart_checks
	$(VENV) -m pytest -q tests/contracts/test_chart.py tests/contracts/test_chart_made.py tests/contracts/test_chart_stores.py $(ARGS)

long: install ## run the slow tests: restores, a replaced PostgreSQL, a rebuild of every table, 10,000 hostile records
	$(VENV) -m pytest -m long $(ARGS)

torture: install ## run the longest tests: SIGKILL at every line, 100,000 simulation seeds, 1,000 damages of each kind, 20,000 events, 50,000 hostile records (SEEDS, EVENTS, HOSTILE, HOSTILE_RATE, ARGS="--points 20")
	EVENTS=$(or $(EVENTS),20000) $(VENV) -m pytest -q tests/properties/test_any_event.py
	PLANTS=1000 $(VENV) -m pytest -q tests/oracle tests/engine/test_verify.py
	HOSTILE=$(or $(HOSTILE),50000) $(VENV) -m pytest -q -s -m long tests/system/test_hostile_flood.py
	$(VENV) -m tests.simulation --seeds $(or $(SEEDS),$(if $(findstring --points,$(ARGS)),500,100000))
	$(VENV) -m tests.torture $(ARGS)

upgrade: install ## upgrade every service and take it back, process by process, under a load of commands (FROM: a revision; ARGS="--rate 40")
	$(VENV) -m tests.upgrade $(if $(FROM),--from $(FROM)) $(ARGS)

drill: install ## lose a random part of a system of its own, restore it as the runbook says, and compare (ARGS="--seed N --times 10 --loss postgresql")
	$(VENV) -m tests.drill $(ARGS)

format: install ## format the source and apply the linter's fixes
	$(TOOLS)/ruff check --fix
	$(TOOLS)/ruff format

bench: install ## run the benchmarks beside their yardsticks, about 27 minutes (node for one of the yardsticks; REPORT=docs/PERFORMANCE.md; ARGS: for the benchmarks)
	$(VENV) -m tests.benchmarks --report $(or $(REPORT),.local/bench/report.md) $(ARGS)

bench-quick: install ## check the counters that do not depend on a machine's speed, about 2 minutes
	$(VENV) -m tests.benchmarks --quick

lock: install ## update the lock files from pyproject.toml (ARGS=--upgrade: newest versions)
	$(PYTHON) -m deploy.bootstrap lock $(ARGS)

clean: down ## stop the system and remove everything that was installed or written, including its data
	@rm -rf .local $(if $(TENURE_STATE),$(TENURE_STATE)/data $(TENURE_STATE)/logs $(TENURE_STATE)/mail $(TENURE_STATE)/run)
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
