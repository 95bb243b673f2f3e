# Everything runs in .venv, which the first use makes from the locked versions.
PYTHON ?= python3
TEST_PROCESSES ?= 4
BENCH_ARGUMENTS ?=

BIN := .venv/bin
INSTALLED := .venv/installed
# uv is several times faster. Both show their progress.
INSTALL = $(if $(shell command -v uv),uv pip install --python $(BIN)/python,\
	$(BIN)/pip install --disable-pip-version-check)

.DEFAULT_GOAL := help
.PHONY: help run test lint bench docs lock clean

help: ## Show what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' Makefile

run: $(INSTALLED) ## Run Postroom with its own PostgreSQL, Valkey and providers, until Ctrl-C
	@exec $(BIN)/postroom up

# A module runs in one process, which shares its servers; the order is that of tests/conftest.py.
test: $(INSTALLED) ## Run all tests
	$(BIN)/pytest -n $(TEST_PROCESSES) --dist loadscope --no-loadscope-reorder

lint: $(INSTALLED) ## Check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(INSTALLED) ## Measure speed
	$(BIN)/python -m bench $(BENCH_ARGUMENTS)

docs: $(INSTALLED) ## Regenerate the tables in docs, after a change of settings or connectors
	$(BIN)/python docs/generate.py

# Keeps each version that still fits; to take the newest of all, delete the locks first.
# The image gets what it needs to run, and setuptools, which installs Postroom itself.
lock: ## Write the locks anew, after a change of dependencies
	$(PYTHON) -m venv var/uv
	var/uv/bin/pip install --quiet --disable-pip-version-check uv
	var/uv/bin/uv pip compile --quiet --universal --generate-hashes \
		--custom-compile-command "make lock" \
		--all-extras pyproject.toml -o requirements.lock
	echo setuptools | var/uv/bin/uv pip compile --quiet --universal --generate-hashes \
		--custom-compile-command "make lock" \
		-c requirements.lock pyproject.toml - -o requirements-image.lock

clean: ## Remove .venv and all caches; var, with your messages, stays
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -not -path './var/*' -prune -exec rm -rf {} +

# Readable for all, since as root the embedded servers run from here as another user.
$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo 'Postroom needs Python 3.11 or newer. Name one: make PYTHON=python3.13' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
		echo '$(PYTHON) cannot make virtual environments; on Debian: apt install python3-venv' >&2; \
		exit 1; }
	@echo '1/3 Creating .venv'
	@umask 022 && $(PYTHON) -m venv .venv
	@echo '2/3 Installing the locked versions: about a minute, or seconds with uv'
	@umask 022 && $(INSTALL) --require-hashes -r requirements.lock
	@echo '3/3 Installing Postroom'
	@umask 022 && $(INSTALL) --no-deps --no-build-isolation -e .
	@rm -rf postroom.egg-info # left by the build; an old one would hide new connectors
	@touch $@
