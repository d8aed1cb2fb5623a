# Everything here needs Python >= 3.11 and make, nothing else. `make help` lists the targets.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUN_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help venv bench test lint format bench-self report example schema clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(VENV)/.installed ## create the virtual environment and install from the constraints

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than 3.11; name a newer one: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,parquet]'
	@touch $@

bench: venv ## run the quick suite on this machine and write reports/latest.html
	$(BIN)/harness run benchmarks/suites/quick.toml --report reports/latest.html $(RUN_ARGS)

report: venv ## write reports/latest.html from the newest run
	$(BIN)/harness report --latest -o reports/latest.html

test: venv ## ruff, mypy, pytest (installs chromium when root and missing)
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; }; } || echo "chromium is not installed: browser tests will be skipped (apt-get install chromium)"
	$(MAKE) --no-print-directory lint
	$(BIN)/pytest $(TEST_ARGS)

lint: venv ## ruff and mypy only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: venv ## let ruff format and fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench-self: venv ## measure the harness itself: fidelity, cost of a trial, truth of the rate
	$(BIN)/pytest benchmarks --timeout 1800 $(TEST_ARGS)

example: venv ## make reports/example anew from a real quick run
	$(BIN)/harness run benchmarks/suites/quick.toml --report reports/example/index.html $(RUN_ARGS)

schema: venv ## export the JSON schemas of suite, trial and record to docs/schema
	$(BIN)/python -m harness.schema docs/schema

clean: ## remove the virtual environment, caches and generated reports; results stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .benchmarks build *.egg-info reports/latest.html
