# make demo: the main job on the embedded dataset. make test: everything a change must pass.
PYTHON ?= python3
BIN := .venv/bin
SEED ?= 0
OUT ?= runs/demo-$(SEED)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-slow check format clean

demo: .venv/installed
	$(BIN)/gateshift demo --out $(OUT) --seed $(SEED)

test: check
	$(BIN)/python -m pytest -q -n 2 -m "not slow and not gpu"

test-slow: .venv/installed-dev
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "slow and not gpu" --timeout 3000

check: .venv/installed-dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

format: .venv/installed-dev
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

clean:
	rm -rf .venv runs

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) -e .
	@touch $@

.venv/installed-dev: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) -e '.[dev]'
	@touch $@ .venv/installed
