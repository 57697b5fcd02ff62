# The menu: `make help`. Every target installs what it needs into .local, and nothing is left outside this folder.
PYTHON ?= python3
VENV := .local/venv/bin/python
TOOLS := .local/venv/bin

export HYPOTHESIS_STORAGE_DIRECTORY := $(CURDIR)/.local/cache/hypothesis
# Bytecode is kept, so that a second start is quick, and kept in here.
export PYTHONPYCACHEPREFIX := $(CURDIR)/.local/cache/bytecode
unexport PYTHONDONTWRITEBYTECODE

# Without a terminal (CI, scripts) `up` returns when the system is ready; DETACH=1 and DETACH=0 say which.
DETACH ?= $(shell test -t 0 && echo 0 || echo 1)
STATE := $(or $(TENURE_STATE),.local)
ARGS ?=
# The tests' workers, each with a PostgreSQL and a Kafka of its own: one more than cores, as each of them waits at times.
JOBS ?= $(shell $(PYTHON) -c 'import os; print(min((os.cpu_count() or 1) + 1, 4))')

.DEFAULT_GOAL := help
.PHONY: help install secrets up down status logs story year test long torture format bench lock clean

help: ## list what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' Makefile
	@echo "Settings, as variables: PYTHON; DATABASE_URL and KAFKA_BOOTSTRAP for stores that run elsewhere;"
	@echo "  TENURE_PORT_BASE (8100) the first of 13 ports; TENURE_STATE (.local) the folder of data, logs and run"

install: ## install what the project needs into .local (every other target does it by itself)
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: name one, as in make up PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m deploy.bootstrap

secrets: ## make the passwords that docker-compose.yml reads, where there are none
	@$(PYTHON) -m deploy.secrets

up: install ## start PostgreSQL, Kafka and the services; Ctrl-C stops them (DETACH=1 returns when ready)
	@$(VENV) -m deploy.local up $(if $(filter 1,$(DETACH)),--detach)

down: ## stop the system
	@if [ -f .local/venv/installed ]; then $(VENV) -m deploy.local down; else echo "Nothing is running."; fi

status: ## show what runs, where, and whether it is ready
	@if [ -f .local/venv/installed ]; then $(VENV) -m deploy.local status; else echo "Nothing is running."; exit 1; fi

logs: ## follow all logs
	@tail -n 20 -F $(STATE)/logs/*.log

story: install ## play the story on the running system, through its public doors
	@if [ -f $(STATE)/run/addresses.env ]; then . $(STATE)/run/addresses.env; fi; $(VENV) -m deploy.story $(ARGS)

year: install ## a sandbox of 1,000 customers lives one year on the running system (ARGS=--customers N)
	@if [ -f $(STATE)/run/addresses.env ]; then . $(STATE)/run/addresses.env; fi; $(VENV) -m deploy.year $(ARGS)

test: install ## lint, types, import rules, tests (CONTAINERS=1: system tests in containers; ARGS go to pytest)
	$(TOOLS)/ruff check
	$(TOOLS)/ruff format --check
	$(TOOLS)/mypy
	$(TOOLS)/lint-imports --cache-dir .local/cache/import-linter
	$(VENV) -m pytest -n $(JOBS) --dist loadscope --no-loadscope-reorder -m "not long" $(ARGS)

long: install ## the tests that would take `make test` beyond ten minutes: restores, an exchanged PostgreSQL, every table made anew, 10,000 hostile records
	$(VENV) -m pytest -m long $(ARGS)

torture: install ## SIGKILL at every line; 100,000 simulated seeds; 1,000 plants of each damage; 20,000 events; 50,000 hostile records (SEEDS, HOSTILE, HOSTILE_RATE, ARGS="--points 20")
	EVENTS=$(or $(EVENTS),20000) $(VENV) -m pytest -q tests/properties/test_any_event.py
	PLANTS=1000 $(VENV) -m pytest -q tests/oracle tests/engine/test_verify.py
	HOSTILE=$(or $(HOSTILE),50000) $(VENV) -m pytest -q -s -m long tests/system/test_hostile_flood.py
	$(VENV) -m tests.simulation --seeds $(or $(SEEDS),$(if $(findstring --points,$(ARGS)),500,100000))
	$(VENV) -m tests.torture $(ARGS)

format: install ## put the source into its form
	$(TOOLS)/ruff check --fix
	$(TOOLS)/ruff format

bench: install ## measure (ARGS go to the benchmarks)
	$(VENV) -m tests.benchmarks $(ARGS)

lock: install ## make the locks again from pyproject.toml (ARGS=--upgrade for newer versions)
	$(PYTHON) -m deploy.bootstrap lock $(ARGS)

clean: down ## stop the system and remove everything that was installed or written, its data too
	@rm -rf .local $(if $(TENURE_STATE),$(TENURE_STATE)/data $(TENURE_STATE)/logs $(TENURE_STATE)/mail $(TENURE_STATE)/run)
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
