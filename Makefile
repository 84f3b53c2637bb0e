# edgexai: the commands people type. PYTHON picks the interpreter that makes the environments.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: quickstart install-dev test check slow

# The whole path on data that edgexai draws itself: installs into $(VENV), trains, prunes, deploys, reports.
quickstart: $(BIN)/edgexai
	$(BIN)/edgexai recipe run quickstart

$(BIN)/edgexai:
	@echo "installing into $(VENV): PyTorch is large, this takes some minutes the first time"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check .

install-dev:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev,reference]'

$(BIN)/pytest:
	$(MAKE) install-dev

# The fast tests. One process per core; more threads in each would only make them wait for one another.
# `make test BIN=some/venv/bin` uses another environment.
test: $(BIN)/pytest
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow and not data"

check: $(BIN)/pytest
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) test

# Minutes: README commands, kill and resume, end-to-end recipes, real data where EDGEXAI_DATA names it.
slow: $(BIN)/pytest
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "slow or data"
