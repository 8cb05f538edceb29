# Two commands do all set-up on a fresh machine: `make demo` and `make test`.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev
BENCH := $(VENV)/.bench
# Two more than there are cores: for a third of their time tests wait for processes and disks.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 2)')
# Many tests start programs. Where no bytecode may be written, each of them compiles the sources.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo demo-nodes serve test test-fast check linted typed tested compiled format messages papers release-migrations bench lock clean
.DEFAULT_GOAL := demo

$(RUNTIME): requirements/runtime.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements/build.txt
	$(BIN)/python -m pip install -qq --no-compile --disable-pip-version-check --require-hashes -r requirements/runtime.txt
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

$(DEV): $(RUNTIME) requirements/dev.txt
	$(BIN)/python -m pip install -qq --no-compile --disable-pip-version-check --require-hashes -r requirements/dev.txt
	touch $@

$(BENCH): $(RUNTIME) requirements/bench.txt
	$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements/bench.txt
	touch $@

demo: $(RUNTIME) ## play the story of two children through the real API; at a terminal, leave the server running
	$(BIN)/case-ledger demo

demo-nodes: $(RUNTIME) ## a ledger node and three countries' nodes, and what happens when they fail
	$(BIN)/case-ledger demo-nodes

serve: $(RUNTIME) ## the same, and leave the server running wherever it is started
	$(BIN)/case-ledger demo --keep-running

test: ## lint and layers, then every test, and types meanwhile
	$(MAKE) --no-print-directory $(DEV)
	$(MAKE) --no-print-directory -j 2 compiled linted
	$(MAKE) --no-print-directory -j 2 tested typed

check: linted typed

linted: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

typed: $(DEV)
	$(BIN)/mypy

tested: $(DEV)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --reruns 1 --rerun-show-tracebacks

test-fast: $(DEV) ## tests that need no database, process, browser or other language
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not (database or process or browser or language)"

# Once for all processes of the tests, while the linters use the other core.
compiled: $(DEV)
	$(BIN)/python -m compileall -q ledger projections api auditor tests/support
	-$(BIN)/python -m pytest --collect-only -q > /dev/null

format: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

messages: $(RUNTIME) ## list the messages that translations lack, or have and nothing uses; FOLDER=… of languages elsewhere
	$(BIN)/python -m api.paper.subject_access.catalogues $(FOLDER)

papers: $(RUNTIME) ## write the papers of docs/privacy anew, in each language
	for paper in "records XK" agreement retention; do \
	  for language in en sq cnr; do \
	    $(BIN)/case-ledger privacy $$paper --language $$language > docs/privacy/$${paper%% *}$$(echo .$$language | sed s/.en//).md || exit 1; \
	  done; done
	for paper in README impact-assessment; do for language in sq cnr; do \
	  $(BIN)/case-ledger privacy translate docs/privacy/$$paper.md --language $$language > docs/privacy/$$paper.$$language.md || exit 1; \
	done; done

release-migrations: $(RUNTIME) ## list the migrations of the version in pyproject.toml with their hashes, before its release
	$(BIN)/python -m tests.support.released_migrations

bench: ## appends and reads beside other stores: a table, a plot and their figures
	benchmarks/run

lock: ## pin again, with hashes and without index addresses (needs uv)
	uv pip compile --quiet --generate-hashes --no-emit-index-url --universal --python-version 3.11 requirements/build.in -o requirements/build.txt
	uv pip compile --quiet --generate-hashes --no-emit-index-url --universal --python-version 3.11 --extra all --group dev pyproject.toml -o requirements/dev.txt
	uv pip compile --quiet --generate-hashes --no-emit-index-url --universal --python-version 3.11 --extra all -c requirements/dev.txt pyproject.toml -o requirements/runtime.txt
	uv pip compile --quiet --generate-hashes --no-emit-index-url --universal --python-version 3.11 --extra node --extra pdf --extra objects -c requirements/dev.txt pyproject.toml -o requirements/node.txt
	uv pip compile --quiet --generate-hashes --no-emit-index-url --universal --python-version 3.11 -c requirements/dev.txt pyproject.toml -o requirements/client.txt
	uv pip compile --quiet --generate-hashes --no-emit-index-url --universal --python-version 3.11 --extra cli -c requirements/dev.txt pyproject.toml -o requirements/cli.txt
	uv pip compile --quiet --generate-hashes --no-emit-index-url --universal --python-version 3.11 --group bench -c requirements/dev.txt -o requirements/bench.txt

clean:
	rm -rf $(VENV)
