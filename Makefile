# Two commands do everything on a bare clone: `make test` and `make try`.

# PYTHON makes the environment, VENV is where it lives: `make test PYTHON=python3.13 VENV=.venv-3.13`.
PYTHON ?= python3
VENV ?= .venv
ARGS ?=

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Warnings are errors and development mode is on. Two workers, a file at a time: more would only make the proofs,
# which start servers of their own, wait for each other.
PYTEST := env PYTHONDEVMODE=1 $(BIN)/python -m pytest -n 2 --dist loadfile
ON_POSTGRES := $(BIN)/python -m tests.servers.postgres
# With ARGS it is no failure that none of the chosen tests is a contract (pytest's exit code 5).
NONE_IS_FINE = $(if $(ARGS),|| test $$? -eq 5)

.PHONY: help install browser try test contract test-fast test-all lint types format bench clean

help:
	@echo 'make try        type a line, see it come back over Server-Sent Events'
	@echo 'make test       all tests but the slow ones; ARGS="tests/store -k tick" chooses'
	@echo 'make test-fast  what to run before a commit: under a minute'
	@echo 'make test-all   the slow ones too'
	@echo 'make lint       ruff and mypy;  make types: mypy alone;  make format: let ruff rewrite'
	@echo 'make bench      measure'
	@echo 'make clean      remove what these commands made'

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer, please: make PYTHON=python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

# Installing a browser is for root on Debian, which is what CI is. Elsewhere the browser tests say that they are skipped.
browser:
	@if ! command -v chromium >/dev/null || ! command -v chromedriver >/dev/null; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo 'Installing chromium and chromium-driver'; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium chromium-driver >/dev/null; \
	  fi; \
	fi

try: install
	@$(BIN)/python demo/line.py $(ARGS)

test: install browser
	$(PYTEST) -m 'not slow' $(ARGS)
	$(MAKE) contract

# The contract tests again, on PostgreSQL.
contract: install
	$(ON_POSTGRES) $(PYTEST) -m 'contract and not slow' $(ARGS) $(NONE_IS_FINE)

test-fast: install
	$(PYTEST) -m 'not slow and not proof and not browser' $(ARGS)

test-all: install browser
	$(PYTEST) $(ARGS)
	$(ON_POSTGRES) $(PYTEST) -m contract $(ARGS) $(NONE_IS_FINE)

lint: install types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy reads the tests' settings and leaves without cleaning up: a database named here saves it a temporary folder.
types: install
	TASKBELL_TEST_DATABASE=:memory: $(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install
	$(BIN)/python bench/run.py $(ARGS)

clean:
	rm -rf $(VENV) .venv-* .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist bench/build
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
