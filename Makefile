# make setup installs, make demo shows the bot, make test checks everything; make help lists the rest.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The first of these that is Python 3.11 or newer makes the environments; PYTHON=… names one.
PYTHON ?=
PYTHONS := $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11)
PORT ?= 8400
UV ?= uv

BIN := .venv/bin
RUNTIME := .venv/.runtime-installed
TESTS := .venv/.tests-installed
SDK := .venv-sdk/.installed
PIP_FLAGS := -qq --require-hashes

export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PIP_ROOT_USER_ACTION = ignore

# $(call make_venv,FOLDER): a virtual environment, or what is missing for one, in words.
define make_venv
	@set -e; test -x $(1)/bin/pip && exit 0; \
	for candidate in $(PYTHONS); do \
	  if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$${python:-}" ]; then \
	  echo "slackbot needs Python 3.11 or newer. Looked for: $(PYTHONS)."; \
	  for candidate in $(PYTHONS); do \
	    if command -v $$candidate >/dev/null 2>&1; then echo "  $$candidate is $$($$candidate --version 2>&1 | head -n 1)"; fi; \
	  done; \
	  echo "Install a newer Python, or name one that is not on the path: PYTHON=python3.12 make setup"; \
	  exit 1; \
	fi >&2; \
	if ! $$python -c 'import ensurepip, venv' 2>/dev/null; then \
	  version=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	  echo "$$python has no venv module, so it cannot make a virtual environment."; \
	  echo "On Debian or Ubuntu: sudo apt-get install python$$version-venv"; \
	  echo "Or name another Python: PYTHON=python3.12 make setup"; \
	  exit 1; \
	fi >&2; \
	echo "Making $(1) with $$python"; \
	$$python -m venv --clear $(1)
endef

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' Makefile

.PHONY: setup
setup: $(RUNTIME) ## install into .venv, with the command .venv/bin/slackbot
	@echo "Ready: $(BIN)/slackbot --help"

.PHONY: demo
demo: $(RUNTIME) ## the bot in a simulated Slack, in your browser (PORT=8400)
	@exec $(BIN)/slackbot demo --port $(PORT)

.PHONY: run
run: $(RUNTIME) ## the bot on real Slack and real Noxus, with the settings of .env
	@exec $(BIN)/slackbot run

.PHONY: test
test: lint $(SDK) ## everything: linters, types, import contracts, all tests, coverage
	@rm -f .coverage .coverage.*
	@echo "All tests, in three parts side by side: most of them wait for sockets"
	@$(call part,2,c-kno) >.pytest-2.log 2>&1 & second=$$!; \
	$(call part,3,r-z) >.pytest-3.log 2>&1 & third=$$!; \
	$(call part,1,ablmpq); first=$$?; \
	wait $$second; second=$$?; wait $$third; third=$$?; \
	cat .pytest-2.log .pytest-3.log; rm -f .pytest-2.log .pytest-3.log; \
	exit $$((first + second + third))
	$(BIN)/coverage combine -q
	$(BIN)/coverage report --fail-under=100 --include='$(PURE)'
	$(BIN)/coverage report --fail-under=90 | tail -n 1

part = $(BIN)/coverage run --data-file=.coverage.$(1) -m pytest -o cache_dir=.pytest_cache/$(1) tests/test_[$(2)]*.py

# What decides without input or output is covered branch by branch.
comma := ,
empty :=
PURE_FILES := domain/*.py errors.py routing.py budget.py signals.py text/*.py slack/events.py slack/addresses.py slack/blocks.py noxus/breaker.py noxus/events.py noxus/exchange.py noxus/hearing.py noxus/profile.py
PURE := $(subst $(empty) ,$(comma),$(addprefix slackbot/,$(PURE_FILES)))

.PHONY: lint
lint: $(TESTS) ## linters, types and import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: fmt
fmt: $(TESTS) ## format, and fix what can be fixed by itself
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: bench
bench: $(TESTS) $(SDK) ## what it bears and costs, how soon it is back, long life (BENCH=--quick, BENCH='soak --help')
	@exec $(BIN)/python -m tests.bench $(BENCH)

.PHONY: chaos
chaos: $(TESTS) ## kill the bot at every step of its work and surround it with trouble (CHAOS='kills --quick')
	@exec $(BIN)/python -m tests.chaos $(CHAOS)

.PHONY: lock
lock: ## resolve the lock files anew (needs uv)
	@command -v $(UV) >/dev/null || { echo "make lock needs uv: pip install uv, or UV=/path/to/uv make lock" >&2; exit 1; }
	$(call resolve,pyproject.toml --group build,requirements.lock)
	$(call resolve,pyproject.toml --group build --group test --constraint requirements.lock,requirements-test.lock)
	$(call resolve,--group sdk,requirements-sdk.lock)

resolve = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade --no-header \
	--no-annotate --no-emit-index-url --no-emit-find-links --no-sources $(1) --output-file $(2)

.PHONY: clean
clean: ## remove the environments and everything that was built
	rm -rf .venv .venv-sdk build dist .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUNTIME): requirements.lock pyproject.toml
	$(call make_venv,.venv)
	@echo "Installing slackbot into .venv"
	@$(BIN)/pip install $(PIP_FLAGS) -r requirements.lock
	@$(BIN)/pip install -qq --no-build-isolation --no-deps --editable .
	@touch $@

$(TESTS): $(RUNTIME) requirements-test.lock
	@echo "Installing the test tools into .venv"
	@$(BIN)/pip install $(PIP_FLAGS) -r requirements-test.lock
	@touch $@

$(SDK): requirements-sdk.lock
	$(call make_venv,.venv-sdk)
	@echo "Installing noxus-sdk into .venv-sdk"
	@.venv-sdk/bin/pip install $(PIP_FLAGS) -r requirements-sdk.lock
	@touch $@
