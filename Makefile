# Everything here needs Python >= 3.11 and make, nothing else. `make help` lists the targets.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUN_ARGS ?=
SUITE ?= benchmarks/suites/quick.toml
BASE ?= main
LIVE ?= 0
HOROVOD_VERSION ?= 0.28.1
HOROVOD_JOBS ?= $(shell nproc)
WHEELS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/dynamometer/wheels

.DEFAULT_GOAL := help
.PHONY: help venv bench test lint horovod bench-self gate calibrate profile example clean

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

test: venv ## ruff, mypy, pytest (installs chromium when root and missing)
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; }; } || echo "chromium is not installed: browser tests will be skipped (apt-get install chromium)"
	$(MAKE) --no-print-directory lint
	$(BIN)/pytest $(TEST_ARGS)

lint: venv ## ruff and mypy only; with FIX=1 ruff formats and fixes, and the JSON schemas in docs/schema are exported anew
ifdef FIX
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/python -m harness.schema docs/schema
else
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
endif
	$(BIN)/mypy

# Horovod's CMake removes -std from CXXFLAGS and asks for C++14 last; torch's headers need C++17: a compiler front adds it
# after everything. No pip cache: pip would take a wheel that was built against another torch.
horovod: venv ## build Horovod for this torch (4 to 15 minutes, once) and install it
	@set -e; \
	built_for=$$($(BIN)/python -c 'import platform, sys, torch; print(f"torch{torch.__version__}-{sys.implementation.cache_tag}-{platform.machine()}")'); \
	kept="$(WHEELS)/$$built_for-$(or $(HOROVOD_GPU_OPERATIONS),gloo)"; \
	if ! ls "$$kept"/horovod-$(HOROVOD_VERSION)-*.whl >/dev/null 2>&1; then \
	  for tool in cmake g++; do command -v $$tool >/dev/null || { echo "make horovod needs $$tool: apt-get install cmake g++"; exit 1; }; done; \
	  echo "building Horovod $(HOROVOD_VERSION) for $$built_for: 4 to 15 minutes, then kept in $$kept"; \
	  work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; \
	  printf '#!/bin/sh\nexec g++ "$$@" -std=c++17\n' > "$$work/cxx17"; chmod +x "$$work/cxx17"; \
	  $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt setuptools wheel packaging cloudpickle psutil pyyaml cffi; \
	  HOROVOD_WITH_PYTORCH=1 HOROVOD_WITHOUT_TENSORFLOW=1 HOROVOD_WITHOUT_MXNET=1 HOROVOD_WITHOUT_MPI=1 HOROVOD_WITH_GLOO=1 \
	    HOROVOD_CPU_OPERATIONS=GLOO MAKEFLAGS=-j$(HOROVOD_JOBS) CXX="$$work/cxx17" \
	    $(BIN)/pip wheel --quiet --disable-pip-version-check --no-cache-dir --no-deps --no-build-isolation -w "$$work/wheel" horovod==$(HOROVOD_VERSION); \
	  mkdir -p "$$kept"; mv "$$work"/wheel/horovod-*.whl "$$kept"; \
	fi; \
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt "$$kept"/horovod-$(HOROVOD_VERSION)-*.whl; \
	echo "installed $$(ls "$$kept"/horovod-$(HOROVOD_VERSION)-*.whl)"

bench-self: venv ## measure the harness itself: fidelity, parity, memory, cost of a trial, truth
	$(BIN)/pytest benchmarks --timeout 1800 $(TEST_ARGS)

gate: venv ## is this tree slower than BASE (a git ref; main)? Step by step in turn, exit codes as harness gate
	$(BIN)/harness ab --a $(BASE) --b . benchmarks/suites/gate.toml --markdown reports/gate.md --junit reports/gate.xml --json reports/gate.json --output reports/gate.html $(RUN_ARGS)

calibrate: venv ## are the verdicts right? Replayed rounds of identical code; LIVE=20 runs harness ab for real too (an hour)
	$(BIN)/python -m benchmarks.calibrate --live $(LIVE)

profile: venv ## trace three steps of every cell of SUITE (quick) and open them in TensorBoard on this machine; Ctrl-C ends it
	@$(BIN)/python -c 'import tensorboard, torch_tb_profiler' 2>/dev/null || $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[trace]'
	$(BIN)/harness profile $(SUITE) $(RUN_ARGS)

example: venv ## make reports/example anew from a real quick run
	$(BIN)/harness run benchmarks/suites/quick.toml --report reports/example/index.html $(RUN_ARGS)

clean: ## remove the virtual environment, caches and generated reports; results stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .benchmarks build *.egg-info reports/latest.html reports/index.html
