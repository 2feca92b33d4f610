# Everything starts here, from a fresh clone with only Python >= 3.11, git and make: each target first sets up
# what it needs in .venv, from the locks alone. `make help` lists the targets.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3

# The first of these that is new enough and can make environments.
PYTHONS = $(PYTHON) python3 python3.13 python3.12 python3.11 python3.14
FITS = import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))

# By the environment, so that no quote or dollar in a request is the shell's business.
export DEMO_REQUEST := $(value REQUEST)
export DEMO_PICK := $(value PICK)

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1@\2/p' Makefile | awk -F@ '{ printf "%-18s %s\n", $$1, $$2 }'

.PHONY: demo
demo: $(VENV)/run ## book a trip, end to end on a real Kafka; REQUEST="…" asks for another, PICK=2 answers
	@$(BIN)/segue dev examples/travel --exit-when-done $${DEMO_REQUEST:+--request "$$DEMO_REQUEST"} $${DEMO_PICK:+--answer "$$DEMO_PICK"}

.PHONY: test
test: $(VENV)/dev ## run all tests, those on a real Kafka included; ARGS="-k name" chooses, ARGS="-n 0" takes one process
	@$(BIN)/pytest --numprocesses logical --maxprocesses 4 --dist worksteal $(ARGS)

.PHONY: check
check: $(VENV)/dev ## format, lint, types (mypy and pyright, strict), layers, the documentation's site
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/mypy
	@$(BIN)/pyright
	@$(BIN)/python -m mkdocs build --quiet

# The site's theme says at each build that it is maintained until May 2027: see decision 45.
export NO_MKDOCS_2_WARNING := 1

.PHONY: docs
docs: $(VENV)/dev ## build the documentation as a site in .site
	@$(BIN)/python -m mkdocs build --quiet
	@echo "built: open .site/index.html; for its search take make docs-serve, as browsers let no file search files"

.PHONY: docs-serve
docs-serve: $(VENV)/dev ## show the documentation's site while you write, at 127.0.0.1:8000
	@$(BIN)/python -m mkdocs serve --no-strict

.PHONY: format
format: $(VENV)/dev ## format the code, and mend what lint can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: benchmark
benchmark: $(VENV)/run ## measure steps per second and latency beside plain Kafka, for both guarantees
	@$(BIN)/python -m benchmarks.steps

.PHONY: benchmark-agent
benchmark-agent: $(VENV)/run ## measure what durability adds to an agent's step, for both guarantees
	@$(BIN)/python -m benchmarks.agent

ROUNDS ?= 5
SECONDS ?= 8

.PHONY: benchmark-peers
benchmark-peers: $(VENV)/dev ## measure Segue beside DBOS, LangGraph, Restate, Faust and plain Kafka; ROUNDS=5 SECONDS=8
	@$(BIN)/python -m benchmarks.peers --rounds $(ROUNDS) --seconds $(SECONDS)

.PHONY: benchmark-shapes
benchmark-shapes: $(VENV)/run ## measure one task with 10,000 tool calls at once, and one with 10,000 in a row
	@$(BIN)/python -m benchmarks.shapes

.PHONY: benchmark-sleepers
benchmark-sleepers: $(VENV)/run ## measure what 100,000 sleeping tasks take of a worker's memory and CPU
	@$(BIN)/python -m benchmarks.sleepers

.PHONY: benchmark-sizes
benchmark-sizes: $(VENV)/run ## measure results of 1 KB to 900 KB, and what is written beside them
	@$(BIN)/python -m benchmarks.sizes

.PHONY: benchmark-start
benchmark-start: $(VENV)/run ## measure the start of the command, of an import, and of a worker until its first step
	@$(BIN)/python -m benchmarks.start

.PHONY: benchmark-restore
benchmark-restore: $(VENV)/run ## measure how fast a worker takes over 100,000 open tasks
	@$(BIN)/python -m benchmarks.restore

.PHONY: benchmark-churn
benchmark-churn: $(VENV)/run ## measure that what ended tasks leave on disk does not grow
	@$(BIN)/python -m benchmarks.churn

.PHONY: benchmark-slow
benchmark-slow: $(VENV)/dev ## measure 2,000 and 10,000 calls of 2 s in flight on one worker, beside what is possible
	@$(BIN)/python -m benchmarks.slow

.PHONY: benchmark-page
benchmark-page: $(VENV)/run ## measure the page while 1,500 tasks run, and beside 500 MB of dead letters
	@$(BIN)/python -m benchmarks.page

.PHONY: benchmark-takeover
benchmark-takeover: $(VENV)/run ## measure how long tasks wait while workers are killed, restarted and replaced
	@$(BIN)/python -m benchmarks.takeover

TASKS ?= 200000

.PHONY: flood
flood: $(VENV)/dev ## submit TASKS=200000 tasks at once: a worker's memory, and how long urgent ones wait
	@$(BIN)/python -m benchmarks.flood --tasks $(TASKS)

.PHONY: picture
picture: $(VENV)/dev ## draw README's picture from a run of the demo
	@$(BIN)/python docs/picture.py

MINUTES ?= 30
GUARANTEE ?= exactly_once

.PHONY: chaos
chaos: $(VENV)/dev ## break workers, broker, network, disks and clocks under load, then audit; MINUTES=30 SEED=7 GUARANTEE=at_least_once
	@$(BIN)/python -m chaos --minutes $(MINUTES) --guarantee $(GUARANTEE) $(if $(SEED),--seed $(SEED))

.PHONY: chaos-planted
chaos-planted: $(VENV)/dev ## show that the audit catches planted bugs; minutes each
	@$(BIN)/pytest -m planted tests/chaos

.PHONY: simulate
simulate: $(VENV)/dev ## play drawn schedules of the whole system in memory; SEEDS=5000, MINUTES=…, SEED=123 shows one
	@$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),$(if $(SEEDS),--seeds $(SEEDS), \
		$(if $(filter command line environment,$(origin MINUTES)),--minutes $(MINUTES))))

.PHONY: mutants
mutants: $(VENV)/mutants ## change single lines of the engine, and list the changes that no test notices; SAMPLE=200 (0: all), SEED=…
	@$(BIN)/python -m tests.mutants $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(SEED),--seed $(SEED))

COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
	--no-emit-index-url --no-emit-find-links --no-annotate --no-header

# What the demo and the tests need: all but S3 and the providers that they do not ask.
EXTRAS = --extra local --extra agents --extra mcp --extra openapi --extra anthropic --extra openai

.PHONY: lock
lock: $(VENV)/dev ## resolve anew what pyproject.toml permits, and Kafka's jars
	@echo 'uv~=0.13.9' | $(COMPILE) - --output-file locks/uv.txt
	@$(COMPILE) pyproject.toml $(EXTRAS) --group dev --constraint locks/constraints.txt --output-file locks/dev.txt
	@$(COMPILE) pyproject.toml $(EXTRAS) --group install --group examples --constraint locks/constraints.txt \
		--constraint locks/dev.txt --output-file locks/run.txt
	@$(COMPILE) locks/mutants.in --constraint locks/dev.txt --output-file locks/mutants.txt
	@$(COMPILE) benchmarks/peers/requirements.in --output-file benchmarks/peers/requirements.txt
	@$(BIN)/python -m segue.streams.local.jars > streams/local/jars.lock.new && mv streams/local/jars.lock.new streams/local/jars.lock

.PHONY: compatibility
compatibility: $(VENV)/dev ## call MCP servers from the registries, and write the table in docs/tools.md; needs npm
	@$(BIN)/python -m tests.compatibility

.PHONY: compatibility-models
compatibility-models: $(VENV)/dev ## ask models by the clients of many providers, and write the table in docs/routing.md
	@$(BIN)/python -m tests.compatibility.providers

.PHONY: clean
clean: ## remove the environment and caches; the state of the demo stays in .segue
	@rm -rf $(VENV) benchmarks/peers/.venv benchmarks/peers/node_modules .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .site

# ---------------------------------------------------------------- the environment

# uv installs ten times faster than pip. It reads no pip.conf, so where only pip knows the way (a mirror, a
# proxy), pip does it.
define install
	@echo "installing $(1) into $(VENV)"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r $(1) 2>$(VENV)/uv.log \
		|| $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(1) \
		|| { cat $(VENV)/uv.log >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index --editable .
	@touch $@
endef

$(VENV)/run: locks/run.txt pyproject.toml $(VENV)/uv
	$(call install,locks/run.txt)

$(VENV)/dev: locks/dev.txt pyproject.toml $(VENV)/uv
	$(call install,locks/dev.txt)

$(VENV)/mutants: locks/mutants.txt $(VENV)/dev
	$(call install,locks/mutants.txt)

$(VENV)/uv: locks/uv.txt
	@python=; for one in $(PYTHONS); do \
		if "$$one" -c '$(FITS)' 2>/dev/null; then python=$$one; break; fi; done; \
	if [ -z "$$python" ]; then \
		echo "Segue needs Python 3.11 or newer with the modules venv and ensurepip; none of these is:" >&2; \
		echo "  $(PYTHONS)" >&2; \
		echo "Install one (Debian: python3 and python3-venv), or name it: make PYTHON=/path/to/python3.12" >&2; \
		exit 1; fi; \
	echo "making $(VENV) with $$("$$python" --version)"; \
	"$$python" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@
