# Two commands do everything on a fresh machine: `make demo` and `make test`.
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow check ui bench lock clean

PYTHON ?= $(shell command -v python3.11 || command -v python3)
RUN := .venv/bin
DEMO ?= demo
# One thread per process: two threads on a busy small machine are up to ten times slower.
export OMP_NUM_THREADS ?= 1
export RAY_AUTH_MODE ?= disabled
export WDS_SECURE := 1
export DAGSTER_HOME ?= $(CURDIR)/.dagster

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: .venv/ready ## create the environment and check the system libraries

.venv/ready: requirements.txt pyproject.toml docker/install_system.sh
	@bash docker/install_system.sh
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v == (3, 11) else f"isa4d needs Python 3.11, {sys.executable} is {v[0]}.{v[1]}; install it, or run make PYTHON=/path/to/python3.11")'
	@test -x $(RUN)/python || $(PYTHON) -m venv .venv || { echo "the venv module is missing: apt-get install python3.11-venv"; exit 1; }
	@command -v uv >/dev/null || test -x $(RUN)/uv || { $(RUN)/python -m ensurepip -q 2>/dev/null; $(RUN)/python -m pip install -q uv; }
	@uv=$$(command -v $(RUN)/uv || command -v uv); \
	 SAM2_BUILD_CUDA=0 $$uv pip install -q --python $(RUN)/python --require-hashes -r requirements.txt && \
	 $$uv pip install -q --python $(RUN)/python --no-deps --no-build-isolation -e .
	@touch $@

demo: setup ## the main job, small, on the CPU; VIDEO=path adds your footage
	@$(RUN)/isa4d demo --root $(DEMO) $(if $(VIDEO),--video "$(VIDEO)")

test: setup ## every test that fits into fifteen minutes on two cores
	@$(RUN)/python -m pytest -n 2 --dist loadfile

test-slow: setup ## the tests that take longer
	@$(RUN)/python -m pytest -m slow --timeout 1800

check: setup ## lint, format, types, tests
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/pyright
	@$(MAKE) test

ui: setup ## the Dagster UI on http://127.0.0.1:3000
	@mkdir -p $(DAGSTER_HOME) && cp orchestration/dagster.yaml $(DAGSTER_HOME)/dagster.yaml
	@echo "at its first start the UI gets one range of rendered clips to show: about a minute"
	@ISA4D_ROOT=$(abspath $(DEMO)) $(RUN)/python -m orchestration.seed_ui
	@ISA4D_ROOT=$(abspath $(DEMO)) $(RUN)/dagster dev -h 127.0.0.1 -p 3000 -m orchestration.definitions

bench: setup ## speed and memory, side by side with a peer; see tests/benchmarks/RESULTS.md
	@for file in tests/benchmarks/bench_*.py; do $(RUN)/python $$file; done

lock: ## compile requirements.txt anew from pyproject.toml
	@UV_CUSTOM_COMPILE_COMMAND="make lock" uv pip compile -q --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --extra dev pyproject.toml -o requirements.txt

clean: ## remove what the demo and the tests made
	@rm -rf $(DEMO) .dagster .pytest_cache .ruff_cache
