# Everything happens in .venv, which the first target to need it makes.  Nothing else is needed than
# Python 3.10 to 3.13 and make.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint clean

demo: .venv/installed
	$(BIN)/albert-edge demo

test: .venv/installed
	$(BIN)/python -m pytest

lint: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python -m mypy
	$(BIN)/python -m benchmarks.readme --check

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis demo

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@
