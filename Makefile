# fnbus: what can be done with a clone. `make help` lists it. Needs make and a Python >= 3.12; everything else is installed
# into .venv, from files with hashes.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

FUNCTIONS ?= examples/functions
PORT ?= 8080
WORKERS ?= 2

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# A stamp is newer than all that it was made from: a second `make run` installs nothing.
MADE := .venv/.made
RUN := .venv/.installed-run
DEV := .venv/.installed-dev

.PHONY: help
help: ## List all targets.
	@echo 'Targets:'
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  \1|\2/p' Makefile | while IFS='|' read -r name text; do printf '%-15s %s\n' "$$name" "$$text"; done
	@echo
	@echo 'Choose with: make run FUNCTIONS=<folder> PORT=<n>; make test WORKERS=<n>'

.PHONY: run
run: $(RUN) ## Run the whole platform here, for the functions in FUNCTIONS, on PORT; Ctrl-C stops it.
	@exec $(BIN)/fnbus dev '$(FUNCTIONS)' --port '$(PORT)'

.PHONY: test
test: check ## Run everything: the gates, then all tests.
	@echo 'tests: unit, contract, integration, acceptance'
	@$(BIN)/pytest -q -n $(WORKERS)
	@echo 'all gates and tests passed'

# A machine that others use as well may make a test late that is right. What fails alone, too, is broken, and so is a run with
# more failures than a busy machine explains.
.PHONY: retest
retest: $(DEV) ## Run the tests that failed last again, one after the other; more than three are not looked at again.
	@$(BIN)/python -m tests.retest

.PHONY: check
check: $(DEV) ## Run the gates: format, lint, types, import rules.
	@echo 'gate: format' && $(BIN)/ruff format --check --quiet .
	@echo 'gate: lint' && $(BIN)/ruff check --quiet .
	@echo 'gate: types' && $(BIN)/basedpyright
	@echo 'gate: import rules' && $(BIN)/lint-imports --no-cache

.PHONY: fmt
fmt: $(DEV) ## Format the code, and mend what the linter can mend.
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: bench
bench: $(DEV) ## Measure, and print one table with its conditions (needs wrk).
	@$(BIN)/python -m benchmarks.run

.PHONY: up
up: ## Run a cluster in containers: NATS, MongoDB, Jaeger and the services (needs docker).
	@docker compose up --build --detach

.PHONY: down
down: ## Stop the containers; their volumes stay.
	@docker compose down

.PHONY: requirements
requirements: ## Compile requirements/*.txt anew from pyproject.toml (needs uv).
	@command -v uv >/dev/null || { echo 'uv is missing: pip install uv' >&2; exit 1; }
	@echo 'compiling requirements/run.txt'
	@$(COMPILE) --extra all pyproject.toml requirements/build.in -o requirements/run.txt
	@echo 'compiling requirements/dev.txt'
	@$(COMPILE) --extra all --group dev -c requirements/run.txt pyproject.toml requirements/build.in -o requirements/dev.txt

COMPILE := uv pip compile --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
	--python-version 3.12 --no-header --quiet --no-annotate

.PHONY: clean
clean: ## Remove what was made here: .venv, caches, and the state of `make run`.
	@rm -rf .venv .fnbus .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A candidate counts when it runs and is new enough: a pyenv shim may be there for a version that is not chosen.
$(MADE): 
	@for python in python3.14 python3.13 python3.12 python3 python $$(ls -rd "$$HOME"/.pyenv/versions/*/bin/python3 2>/dev/null); do \
		"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))' >/dev/null 2>&1 || continue; \
		echo "making .venv with $$("$$python" --version 2>&1)"; \
		"$$python" -m venv .venv >.venv.log 2>&1 || { rm -rf .venv; continue; }; \
		rm -f .venv.log; touch $@; exit 0; \
	done; \
	if [ -s .venv.log ]; then \
		echo 'Python cannot make a virtual environment (Debian, Ubuntu: apt install python3-venv):' >&2; cat .venv.log >&2; rm -f .venv.log; \
	else \
		echo 'fnbus needs Python 3.12 or later, and found none. Install it, for example with: apt install python3.12 python3.12-venv, dnf install python3.12, brew install python@3.13, or pyenv install 3.13' >&2; \
	fi; exit 1

$(RUN): requirements/run.txt pyproject.toml | $(MADE)
	@echo 'installing what fnbus needs to run (the first time takes a minute)'
	@$(PIP) install --require-hashes -r requirements/run.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q services libs cli # or each service would do it at the first start
	@touch $@

$(DEV): requirements/dev.txt requirements/run.txt pyproject.toml | $(MADE)
	@echo 'installing what fnbus needs to be tested (the first time takes a minute)'
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $(RUN) $@
