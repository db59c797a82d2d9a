# One line of help behind each target: make help
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
PORT ?= 5000

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

setup: .venv/installed  ## make .venv and install everything into it

run: setup  ## the main job: BIMP with ALLR on the embedded digits; ARGS="schedule=clr" changes it
	$(BIN)/python run.py $(ARGS)

sweep: setup  ## a sweep of sweeps/ by name: make sweep NAME=schedules
	$(BIN)/python run.py +sweeps=$(NAME) $(ARGS)

test: setup  ## all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile $(ARGS)

bench: setup  ## speed on this machine, in ten minutes, into benchmarks/results/; with ARGS=PART only shown
	$(BIN)/python -m benchmarks $(or $(ARGS),--write)

lint: setup  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

ui: setup  ## MLflow's pages about results/, on http://127.0.0.1:5000 (PORT=)
	@echo "Open http://127.0.0.1:$(PORT)/#/experiments/1/runs?workflowType=machine_learning"
	@MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
	$(BIN)/mlflow ui --backend-store-uri sqlite:///results/mlflow.db --host 127.0.0.1 --port $(PORT)

status: setup  ## how far the sweeps are: make status ARGS=--watch
	$(BIN)/python -m bimp_exp.cli.status $(ARGS)

sync: setup  ## mirror all of results/ into MLflow, for runs whose server was out of reach
	$(BIN)/python -m bimp_exp.cli.sync results $(ARGS)

clean:  ## remove .venv and caches; results/ stays
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | awk -F'\t' '{printf "  make %-7s %s\n", $$1, $$2}'

.PHONY: setup run sweep test bench lint ui status sync clean help
