# Everything a user or a gate needs. Each target builds .venv by itself.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Without compiled modules each of the many processes would compile all of them again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test test-long test-browser breaker-table format lint layers types tests lock clean

help: ## What can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# The stamp holds the hash of what decides the environment, so that a fresh
# checkout with old or new file times builds exactly when it must.
WANTED := $(shell cat requirements.lock pyproject.toml | (sha256sum 2>/dev/null || shasum -a 256) | cut -c1-16)

$(STAMP)-$(WANTED):
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@rm -f $(STAMP)-*
	@touch $@

setup: $(STAMP)-$(WANTED) ## Build .venv from requirements.lock

demo: setup ## Mock, reference service and load, with the dashboard on a terminal
	$(BIN)/harness demo

test: format lint layers types tests ## The gate

format: setup ## Formatting, checked
	$(BIN)/ruff format --check .

lint: setup ## Lint rules
	$(BIN)/ruff check .

layers: setup ## The floors of the house
	$(BIN)/lint-imports --no-cache

types: setup ## mypy, strict, packages and tests
	$(BIN)/mypy

# What is judged in real time has the machine for itself, two at a time, for it mostly
# waits; not in random order, so that the longest, the demo, is among the first.
LIVE = $(shell grep -rl --include='test_*.py' 'mark\.live' tests | sort -r)

tests: setup ## All tests but the long ones
	$(BIN)/python -m pytest -m "not live and not long and not browser" -n 2
	$(BIN)/python -m pytest -m "live and not long and not browser" -n 2 --maxschedchunk 1 -p no:randomly $(LIVE)

test-long: setup ## Soaks, thousands of kills and seeds
	$(BIN)/python -m pytest -m long --timeout 3600 -n 2

test-browser: setup ## What needs a real Chromium (chromium on the path)
	$(BIN)/python -m pytest -m browser

breaker-table: setup ## Sixteen properties of six circuit breakers, measured
	$(BIN)/python loadtests/benchmarks/breaker_table.py

# Extras stay in the names: an old pip does not see that coverage==1 also pins
# coverage[toml], and refuses the whole file once a newer coverage is out.
lock: ## Renew requirements.lock (needs uv)
	printf 'hatchling\neditables\n' | uv pip compile --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --no-annotate --no-strip-extras --all-extras pyproject.toml - -o requirements.lock

clean: ## Remove what was built
	rm -rf $(VENV) runs .mypy_cache .ruff_cache .pytest_cache .hypothesis
