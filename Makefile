# Needs Python 3.11 or newer with pip, and make; everything else goes into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SEED ?= 1

# pip of $(PYTHON) works on the new environment, so the venv package of Debian is not needed.
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(PYTHON) -m pip --python $(BIN)/python install --quiet

.PHONY: help test nightly check lint types coverage demo bench bench-peers sim tutorials chromium testbeds clean

help:
	@echo "make demo        the census of the standard library on four engines"
	@echo "make test        every test, in an environment of its own"
	@echo "make nightly     longer runs against real processes; an hour at most"
	@echo "make check       lint, types, unit and property tests: under two minutes"
	@echo "make bench       speed, beside what Python and bare ZeroMQ offer"
	@echo "make bench-peers speed, beside Ray, Dask and others too, each in an environment of its own"
	@echo "make sim SEED=n  one run of the simulator again"
	@echo "make coverage    every test, and the lines none of them reaches"
	@echo "make tutorials   the notebooks of docs/tutorial run again, their outputs stored"
	@echo "make clean       removes what the others made"

$(BIN)/python:
	$(PYTHON) -m venv --without-pip $(VENV)

# Each stamp is as old as the last installation for the pyproject.toml that is there now.
$(VENV)/runtime: pyproject.toml | $(BIN)/python
	@echo "installing enginery into $(VENV)"
	@$(PIP) pip --editable .
	@touch $@

$(VENV)/complete: pyproject.toml | $(BIN)/python
	@echo "installing enginery and its tests' tools into $(VENV)"
	@$(PIP) pip --editable '.[test]'
	@touch $@ $(VENV)/runtime

chromium:
	@.ci/chromium

# What the tests of ssh and of several hosts need, where it can be installed.
testbeds:
	@.ci/testbeds

test: $(VENV)/complete chromium testbeds
	$(BIN)/python -m pytest tests

# Longer runs, an hour at most; a table of what they found is at the end.
nightly: $(VENV)/complete testbeds
	$(BIN)/python -m pytest -p no:cacheprovider tests/nightly

check: lint types
	$(BIN)/python -m pytest -q tests/unit tests/property

lint: $(VENV)/complete
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/complete
	$(BIN)/mypy

coverage: $(VENV)/complete chromium testbeds
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest tests
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --skip-covered --show-missing

tutorials: $(VENV)/complete
	$(BIN)/python -m tests.notebook

demo: $(VENV)/runtime
	$(BIN)/python examples/stdlib_census.py

bench: $(VENV)/complete
	$(BIN)/python -m bench

# One environment per adapter that has a list of what it needs. Who cannot be installed here is
# named in the table, and does not keep the others from it.
PEERS := .venv-peers
PEER_LISTS := $(wildcard bench/peers/*.txt)

$(PEERS)/%/complete: bench/peers/%.txt
	@echo "installing $* into $(PEERS)/$*"
	@mkdir -p $(PEERS) && echo '*' > $(PEERS)/.gitignore
	@$(PYTHON) -m venv --clear --without-pip $(PEERS)/$*
	-@PIP_DISABLE_PIP_VERSION_CHECK=1 $(PYTHON) -m pip --python $(PEERS)/$*/bin/python \
		install --quiet --requirement $< && touch $@

bench-peers: $(VENV)/complete $(PEER_LISTS:bench/peers/%.txt=$(PEERS)/%/complete)
	$(BIN)/python -m bench --peers --plot build/bench.svg

sim: $(VENV)/complete
	$(BIN)/python -m tests.sim $(SEED)

clean:
	rm -rf $(VENV) $(PEERS) build dist src/*.egg-info .coverage .coverage.* \
		.mypy_cache .pytest_cache .ruff_cache .hypothesis tests/notebook/artifacts
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
