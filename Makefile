# make setup | demo | test | lint | types | reference | wheel | clean

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

export HAYSTACK_TELEMETRY_ENABLED ?= False
export TOKENIZERS_PARALLELISM ?= true

.PHONY: setup demo test lint types reference wheel clean

setup: $(STAMP)

# torch first and pinned: anything else that needs it would otherwise fetch another build of it.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[offline,reader,dev]"
	touch $(STAMP)

demo: setup
	$(BIN)/rrra demo

test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest

lint: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: setup
	$(BIN)/mypy

reference: setup
	$(BIN)/python docs/generate_reference.py

wheel: setup
	$(BIN)/python -m build --wheel

clean:
	rm -rf $(VENV) .rrra dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
