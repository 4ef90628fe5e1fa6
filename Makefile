# The commands of this project. Each of them makes its own virtual environment in .venv first,
# from nothing but Python 3.11 or newer and make; `make help` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SOURCES := $(wildcard stompd stompcli spec-tests benchmarks examples)

# Arguments for the targets that take some: make run ARGS="--log-level debug"
ARGS ?=
BROKER ?= 127.0.0.1:61613

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# -- The environment: made once, made again when the lock file or pyproject.toml changes ----------

.PHONY: venv
venv: $(READY) ## only make the environment

# Our own package is installed last and without looking at dependencies: stomp.py, against which the
# tests run, installs a console script `stomp` too, and the last one wins.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "make: '$(PYTHON)' is $$($(PYTHON) --version 2>&1), but stompd needs Python 3.11 or newer." >&2; \
	    echo "      Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	    echo "make: '$(PYTHON) -m venv' failed; on Debian and Ubuntu it is in the package python3-venv." >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
	    --force-reinstall --editable .
	@touch $@

.PHONY: lock
lock: ## pin every dependency anew in requirements.lock
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --disable-pip-version-check uv
	{ sed '/^[^#]/,$$d' requirements.lock; \
	  build/lock/bin/uv pip compile --quiet --no-config --upgrade --universal --python-version 3.11 \
	      --group dev --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
	      pyproject.toml; } > build/requirements.lock
	mv build/requirements.lock requirements.lock

# -- Use ------------------------------------------------------------------------------------------

.PHONY: run
run: $(READY) ## start stompd on 127.0.0.1:61613 (ARGS="…" for its flags)
	$(BIN)/stompd $(ARGS)

# -- Checks ---------------------------------------------------------------------------------------

.PHONY: check
check: lint test cover ## everything that has to hold before a commit

.PHONY: lint types layers
lint: $(READY) ## formatting, lint rules, types, layers
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(MAKE) --no-print-directory types layers

types: $(READY) ## mypy --strict, tests included
	$(BIN)/mypy --strict $(SOURCES)

layers: $(READY) ## imports run one way only
	$(BIN)/lint-imports

.PHONY: format
format: $(READY) ## let ruff format and mend what it can
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

.PHONY: test
test: $(READY) ## the whole test suite (ARGS="-k word" for a part)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest $(ARGS)

# A line reached only from afar is not tested: each layer is covered by the tests of its own folder.
.PHONY: cover cover-protocol cover-broker
cover: cover-protocol cover-broker ## every branch of protocol/ and broker/, by their own tests

cover-protocol cover-broker: cover-%: $(READY)
	$(BIN)/coverage run --data-file=.coverage.$* --source=stompd.$* -m pytest --quiet spec-tests/$*
	$(BIN)/coverage report --data-file=.coverage.$* --fail-under=100

.PHONY: man
man: $(READY) ## make the manual pages in docs/man anew, of the programs' tables
	cd spec-tests && PYTHONPATH=.. ../$(BIN)/python -m docs.man_pages

.PHONY: fuzz
fuzz: $(READY) ## any octets give frames or one protocol error (ARGS="…")
	$(BIN)/python spec-tests/fuzz.py $(ARGS)

.PHONY: crash soak
crash: $(READY) ## cut the power and kill stompd hundreds of times (ARGS="--kills 1000 --seed 1")
	$(BIN)/python -m pytest -q $(wildcard spec-tests/store) spec-tests/crash
	PYTHONPATH=spec-tests $(BIN)/python -m crash.rounds $(ARGS)

soak: $(READY) ## an hour of mixed load with restarts: nothing is lost, nothing grows (SECONDS=600)
	PYTHONPATH=spec-tests $(BIN)/python -m crash.soak $(if $(SECONDS),--seconds $(SECONDS)) $(ARGS)

# pip-audit is no dependency: it asks others, so it cannot be pinned to what they know.
.PHONY: audit
audit: ## what is known against the pinned dependencies (ARGS=--if-reachable: or nobody to ask)
	@test -x build/audit/bin/pip-audit || { $(PYTHON) -m venv build/audit && \
	    build/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit; } || \
	    echo "make: pip-audit could not be installed" >&2
	@$(PYTHON) spec-tests/dependency_audit.py build/audit/bin/pip-audit $(ARGS)

.PHONY: conformance
conformance: $(READY) ## score any broker against the specification (BROKER=host:port; empty: stompd)
	$(BIN)/python spec-tests/conformance_run.py $(if $(BROKER),--broker $(BROKER)) $(ARGS)

.PHONY: bench backlog
bench: $(READY) ## measure stompd beside the brokers found on this machine (ARGS="…")
	PYTHONPATH=. $(BIN)/python -m benchmarks $(ARGS)

backlog: $(READY) ## a million kept messages, a kill and the way back (ARGS="--messages 100000")
	PYTHONPATH=. $(BIN)/python -m benchmarks.backlog $(ARGS)

.PHONY: clean
clean: ## remove the environment and everything made
	rm -rf $(VENV) build dist .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
