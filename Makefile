# Everything a person or a machine does with this repository. `make help` lists it.
.DEFAULT_GOAL := help
SHELL := /bin/sh
.DELETE_ON_ERROR:

VENV := .venv
READY := $(VENV)/.ready
BIN := $(VENV)/bin
SERVICES := agent memory model-gateway tool-executor
COMPOSE = $(shell deploy/compose.sh)
OFFLINE := -f docker-compose.yml -f deploy/compose.offline.yml

# The host's socket group: the tool-executor runs as nobody in particular and joins this group to reach the engine.
export DOCKER_GID ?= $(shell stat -L -c %g /var/run/docker.sock 2>/dev/null || echo 0)
export COMPOSE_PROJECT_NAME ?= natscope
# Empty: hundreds of processes of a test run find what an earlier one compiled, also where the machine forbids to keep it.
export PYTHONDONTWRITEBYTECODE =

.PHONY: help
help: ## List every target.
	@awk -F':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- set up ---------------------------------------------------------------------------------------------------------

.PHONY: setup
setup: $(READY) ## Create .venv with every pinned dependency (again only when the lock or the project changes).

$(READY): requirements.lock pyproject.toml
	@deploy/setup.sh $(VENV)
	@touch $@

.PHONY: lock
lock: $(READY) ## Pin the dependencies again; UPGRADE=1 takes newer versions.
	@deploy/lock.sh $(BIN)/uv $(SERVICES)

# --- try, check, measure --------------------------------------------------------------------------------------------

.PHONY: demo
demo: $(READY) ## Start the platform in one process, publish one task, show its answer and its trace.
	@$(BIN)/natscope demo

.PHONY: test
test: $(READY) ## Run the whole test suite (with Docker wherever an engine answers).
	@deploy/offline/ready-for-tests.sh $(SERVICES)
	$(BIN)/pytest -n 2 --dist loadgroup $(ARGS)

.PHONY: lint
lint: $(READY) ## Style, types, walls between the rooms, drift of the generated pages.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check

.PHONY: docs
docs: $(READY) ## Write docs/reference/ again from the code.
	$(BIN)/python docs/generate.py

.PHONY: bench
bench: $(READY) ## Measure a run beside two raw model calls; figures for docs/performance.md.
	$(BIN)/python -m tests.bench $(ARGS)

.PHONY: bench-gateway
bench-gateway: $(READY) ## Measure model calls through the gateway beside the same calls made by hand; repair figures.
	$(BIN)/python -m tests.bench.gateway $(ARGS)

.PHONY: bench-sandbox
bench-sandbox: sandbox-image .bench/autogen/.ready ## Measure programs in the sandbox beside AutoGen (HUMANEVAL= names its file).
	$(BIN)/python -m tests.bench.sandbox $(if $(HUMANEVAL),--humaneval $(HUMANEVAL)) $(ARGS)

.bench/autogen/.ready: $(READY)
	@$(BIN)/uv venv --quiet --clear .bench/autogen
	@$(BIN)/uv pip install --quiet --python .bench/autogen/bin/python 'autogen-ext[docker]' autogen-core
	@touch $@

.PHONY: bench-agent
bench-agent: .bench/agentscope/.ready ## Measure durable runs beside AgentScope's in its own process.
	$(BIN)/python -m tests.bench.agentscope $(ARGS)

# Of AgentScope's requirements one is eased: it wants a newer list of certificates than every index has.
.bench/agentscope/.ready: $(READY)
	@$(BIN)/uv venv --quiet --clear .bench/agentscope
	@$(BIN)/uv pip install --quiet --compile-bytecode --python .bench/agentscope/bin/python \
	  --override tests/bench/agentscope/overrides.txt agentscope==2.0.11 uvloop
	@touch $@

.PHONY: chaos
chaos: $(READY) ## Kill -9 everything while runs go on, and hold every promise (RUNS=500 BACKEND=bubblewrap).
	$(BIN)/python -m tests.chaos --runs $(or $(RUNS),500) --backend $(or $(BACKEND),bubblewrap) $(ARGS)

.PHONY: chaos-sandbox
chaos-sandbox: $(READY) ## Kill executors, workers, programs, containers and the engine a thousand times (KILLS=).
	NATSCOPE_KILLS=$(or $(KILLS),1000) $(BIN)/pytest -s tests/chaos/test_killing_the_sandbox.py $(ARGS)

.PHONY: chaos-lifecycle
chaos-lifecycle: $(READY) ## Measure how soon cells are back after kill -9 or the engine's loss (ROUNDS=, ENGINE_RESTART= a command).
	@$(BIN)/python -m tests.chaos.lifecycle --rounds $(or $(ROUNDS),5) $(if $(ENGINE_RESTART),--restart-engine '$(ENGINE_RESTART)') $(ARGS)

.PHONY: sandbox-promises
sandbox-promises: $(READY) ## Show what each backend of the sandbox promises, by running the suite of all backends.
	@$(BIN)/python -m tests.integration.tool_executor.conformance $(ARGS)

# --- containers -----------------------------------------------------------------------------------------------------

.PHONY: up
up: sandbox-image ## Start the house in containers (needs a registry, or BASE_IMAGE=).
	@deploy/env.sh
	@$(COMPOSE) up --detach --build
	@deploy/wait.sh $(COMPOSE)

.PHONY: up-offline
up-offline: offline-images ## The same with no registry: every image is built here; no Jaeger.
	@deploy/env.sh
	@$(COMPOSE) $(OFFLINE) up --detach --no-build
	@deploy/wait.sh $(COMPOSE) $(OFFLINE)

.PHONY: down
down: ## Stop the containers; their data stays (DATA=drop removes it too).
	@$(COMPOSE) down --remove-orphans $(if $(filter drop,$(DATA)),--volumes)

.PHONY: logs
logs: ## Follow the containers' logs.
	@$(COMPOSE) logs --follow --tail 100

.PHONY: offline-images
offline-images: $(READY) ## Build every image with no registry.
	@deploy/offline/images.sh $(SERVICES)

.PHONY: sandbox-image
sandbox-image: ## Build the cell that foreign code runs in (BASE_IMAGE= another base, PACKAGES="numpy pandas" one with these besides).
	@deploy/offline/sandbox.sh

.PHONY: clean
clean: ## Remove what was built here (not .venv, not the images).
	rm -rf build dist .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
