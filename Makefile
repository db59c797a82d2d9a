# One line of help behind each target: make help
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
PORT ?= 5000
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

setup: .venv/installed  ## make .venv and install everything into it

run: setup  ## the main job: BIMP with ALLR on the embedded digits; ARGS="schedule=clr" changes it
	$(BIN)/python run.py $(ARGS)

sweep: setup  ## a sweep of sweeps/ by name: make sweep NAME=schedules
	$(BIN)/python run.py +sweeps=$(NAME) $(ARGS)

test: setup  ## the tests that need nothing but Python
	$(PYTEST) -m "not system" $(ARGS)

test-system: setup  ## the others: a real SLURM and a browser, which they install as root (Debian)
	$(PYTEST) -m system $(ARGS)

test-all: setup  ## both, as CI runs them
	$(PYTEST) $(ARGS)

bench: setup  ## speed on this machine, in ten minutes, into benchmarks/results/; with ARGS=PART only shown
	$(BIN)/python -m benchmarks $(or $(ARGS),--write)

lint: setup  ## ruff, mypy, and which package may import which (pyproject.toml)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

ui: setup  ## MLflow's pages about results/, on http://127.0.0.1:5000 (PORT=)
	@echo "Open http://127.0.0.1:$(PORT)/#/experiments/1/runs?workflowType=machine_learning"
	@MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
	$(BIN)/mlflow ui --backend-store-uri sqlite:///results/mlflow.db --host 127.0.0.1 --port $(PORT)

status: setup  ## how far the sweeps are: make status ARGS=--watch
	$(BIN)/bimp-exp status $(ARGS)

sync: setup  ## mirror all of results/ into MLflow, for runs whose server was out of reach
	$(BIN)/bimp-exp sync results $(ARGS)

clean:  ## remove .venv and caches; results/ stays
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis dist

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | awk -F'\t' '{printf "  make %-11s %s\n", $$1, $$2}'

.PHONY: setup run sweep test test-system test-all bench lint ui status sync clean help
