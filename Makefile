PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DEMO   := $(VENV)/.installed-demo
DEV    := $(VENV)/.installed-dev
DOCS   := $(VENV)/.installed-docs

export HAYSTACK_TELEMETRY_ENABLED ?= False
export TOKENIZERS_PARALLELISM ?= true

.PHONY: help demo setup test lint types reference docs hooks wheel clean
.NOTPARALLEL:

help: ## Print this list
	@sed -n 's/^\([a-z]*\):.*## /\1: /p' $(MAKEFILE_LIST) | awk -F ': ' '{printf "make %-10s %s\n", $$1, $$2}'

# Stamps for one environment, in any order: the demo needs a fraction of what the tests need.
$(DEMO): EXTRAS := offline,reader
$(DEV): EXTRAS := offline,reader,dev
$(DOCS): EXTRAS := docs
# torch first and pinned: anything else that needs it would otherwise fetch another build of it. All cores compile what
# was installed, of which pip takes one; a few packages hold files that no Python of today reads.
$(DEMO) $(DEV) $(DOCS): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt -e ".[$(EXTRAS)]"
	$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true
	touch $@

demo: $(DEMO) ## Index this project's documentation and ask it five questions
	$(BIN)/rrra demo

setup: $(DEV) ## Install everything that development needs into .venv

# Three workers on two cores too: many tests wait for processes that they start.
test: $(DEV) ## Run the linter, the type checker and all tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

lint: $(DEV) ## Mend what the linter can mend, and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(DEV) ## Run the type checker
	$(BIN)/mypy

reference: $(DEV) ## Write docs/reference.md anew from the docstrings
	$(BIN)/python docs/generate_reference.py

docs: $(DOCS) ## Build the documentation as a site into build/site, and check its links
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

hooks: $(DEV) ## Let git run linter and type checker before each commit
	$(BIN)/python -m pip install --quiet -c constraints.txt pre-commit
	$(BIN)/pre-commit install

wheel: $(DEV) ## Build the wheel into dist/
	$(BIN)/python -m build --wheel

clean: ## Remove the environment, caches, builds and the demo's store
	rm -rf $(VENV) .rrra dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
