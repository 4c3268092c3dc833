# Three commands do everything on a bare clone: `make demo`, `make test` and `make try`.

# PYTHON makes the environment, VENV is where it lives: `make test PYTHON=python3.13 VENV=.venv-3.13`.
PYTHON ?= python3
VENV ?= .venv
ARGS ?=
WORKERS ?= 4

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO_STAMP := $(VENV)/.installed-demo
NODE_STAMP := node_modules/.installed
OLDEST_CELERY := celery==5.4.0 billiard==4.2.1 kombu==5.4.2
OLDEST_VENV := .venv-celery-5.4
OLDEST_STAMP := $(OLDEST_VENV)/.installed-oldest

# Warnings are errors and development mode is on. Workers take a file at a time, because its tests share servers. Twice
# as many as there are cores: the proofs mostly wait, for leases, time-outs and processes that start.
PYTEST := env PYTHONDEVMODE=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile
ON_POSTGRES := $(BIN)/python -m tests.servers.postgres
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
define MAKE_VENV
$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer, please: make PYTHON=python3.11")' \
  && { test -x $(BIN)/python || $(PYTHON) -m venv $(VENV); }
endef
# With ARGS it is no failure that none of the chosen tests is a contract (pytest's exit code 5).
NONE_IS_FINE = $(if $(ARGS),|| test $$? -eq 5)

.PHONY: help install browser demo try test contract test-fast test-all test-oldest lint types format js peers bench fuzz clean

help:
	@echo 'make demo       press a button, see a Celery task reach its page; PORT=8001 moves it'
	@echo 'make try        type a line, see it come back over Server-Sent Events'
	@echo 'make test       all tests but the slow ones; ARGS="tests/store -k tick" chooses'
	@echo 'make test-fast  what to run before a commit: under a minute'
	@echo 'make test-all   the slow ones too, and the engine with the oldest Celery (make test-oldest: that alone)'
	@echo 'make lint       ruff and mypy;  make types: mypy alone;  make format: let ruff rewrite'
	@echo 'make js         bundle the JavaScript anew; needs node'
	@echo 'make bench      measure, for twenty minutes, on a machine with nothing else to do'
	@echo 'make fuzz       100,000 generated requests; ARGS=--seed=5 repeats them'
	@echo 'make clean      remove what these commands made'

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(MAKE_VENV)
	$(PIP_INSTALL) --editable '.[dev]'
	@touch $@ $(DEMO_STAMP)

$(OLDEST_STAMP): pyproject.toml constraints.txt
	$(MAKE) install VENV=$(OLDEST_VENV)
	$(OLDEST_VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(OLDEST_CELERY)
	@touch $@

# What `make test` needs is three times as much; whoever only looks need not wait for it.
$(DEMO_STAMP): pyproject.toml constraints.txt
	@$(MAKE_VENV)
	@echo 'Installing the demo into $(VENV), once'
	@$(PIP_INSTALL) --editable '.[demo]'
	@touch $@

# What bundles and checks the JavaScript, and React for a page of the tests. Where node is missing, or the network on a
# person's machine, the tests of it say that they are skipped.
$(NODE_STAMP): package.json
	@if command -v npm >/dev/null; then \
	  echo 'Installing esbuild, TypeScript and React into node_modules'; \
	  if npm install --no-package-lock --no-audit --no-fund --loglevel=error; then touch $@; else test -z "$$CI"; fi; \
	fi

# Installing a browser is for root on Debian, which is what CI is. Elsewhere the browser tests say that they are skipped.
browser:
	@if ! command -v chromium >/dev/null || ! command -v chromedriver >/dev/null; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo 'Installing chromium and chromium-driver'; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium chromium-driver >/dev/null; \
	  fi; \
	fi

demo: $(DEMO_STAMP)
	@$(BIN)/python -m demo

try: install
	@$(BIN)/python demo/line.py $(ARGS)

test: install browser $(NODE_STAMP)
	$(PYTEST) -m 'not slow' $(ARGS)
	$(MAKE) contract

# The contract tests again, on PostgreSQL.
contract: install
	$(ON_POSTGRES) $(PYTEST) -m 'contract and not slow' $(ARGS) $(NONE_IS_FINE)

test-fast: install $(NODE_STAMP)
	$(PYTEST) -m 'not slow and not proof and not browser' $(ARGS)

test-all: install browser $(NODE_STAMP)
	$(PYTEST) $(ARGS)
	$(ON_POSTGRES) $(PYTEST) -m contract $(ARGS) $(NONE_IS_FINE)
	$(MAKE) test-oldest

# The engine's tests with the oldest Celery that is supported, and its companions of that time.
test-oldest: $(OLDEST_STAMP)
	$(subst $(BIN)/,$(OLDEST_VENV)/bin/,$(PYTEST)) tests/engines $(ARGS) $(NONE_IS_FINE)

lint: install types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy reads the tests' settings and leaves without cleaning up: a database named here saves it a temporary folder.
types: install
	TASKBELL_TEST_DATABASE=:memory: $(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# For whoever changes src/taskbell/js; it needs node. The bundle is committed, so nobody else does.
js: install $(NODE_STAMP)
	$(BIN)/python -m tests.js.bundle

# The servers that Taskbell is measured beside. Elsewhere the measure says which are not here. RUNLEVEL=1: none is started.
peers:
	@if ! test -e /usr/lib/nginx/modules/ngx_nchan_module.so || ! command -v pushpin >/dev/null; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo 'Installing nchan and Pushpin'; \
	    { apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
	      apt-get install -y -qq --no-install-recommends libnginx-mod-nchan pushpin zurl >/dev/null; } || true; \
	  fi; \
	fi

bench: install peers
	$(BIN)/python bench/run.py $(ARGS)

fuzz: install
	$(BIN)/python -m tests.gateway.requests $(ARGS)

clean:
	rm -rf $(VENV) node_modules .venv-* .demo .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist bench/build
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
