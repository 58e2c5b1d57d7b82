# `make verify` and `make test` each do everything on a fresh machine with Python 3.11 to 3.13.
PYTHON ?= python3
VENV ?= .venv
RESULTS ?= ntkrobust-results

# A pyenv shim runs only the versions that are switched on: where it doesn't run, take the newest one installed.
ifeq ($(shell $(PYTHON) -c 'print(1)' 2>/dev/null),)
override PYTHON := $(shell ls -d $$(pyenv root 2>/dev/null)/versions/*/bin/$(notdir $(PYTHON)) 2>/dev/null | sort -V | tail -1)
endif
ifeq ($(PYTHON),)
$(error the Python interpreter asked for does not run: name another with make PYTHON=...)
endif

BIN := $(VENV)/bin
# Another Python, or other requirements, make the environment anew.
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
UV_INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --override requirements-overrides.txt
REQUIREMENTS := pyproject.toml constraints.txt requirements-overrides.txt

.PHONY: help verify test test-fast test-slow test-sceptic test-dist check notebooks docs dist interpreter clean
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | while IFS='|' read -r name says; do printf '%-14s %s\n' "make $$name" "$$says"; done
	@echo 'PYTHON=python3.13 takes another interpreter, VENV=DIR another environment, RESULTS=DIR another folder of results.'

verify: $(VENV)/.lean-$(VERSION) ## set up, then judge the overview of both papers on digits (minutes)
	$(BIN)/ntkrobust verify --out $(RESULTS)

# Tests of one file share what they train and compile: they run in one process.
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

test: check ## set up, then lint, types and all tests: what CI runs
	$(PYTEST) -m "not slow"

test-fast: check ## every room in small, in two minutes
	$(PYTEST) -m "fast and not slow"

test-slow: $(VENV)/.dev-$(VERSION) ## larger networks, more seeds, all notebooks
	$(BIN)/python -m pytest -m slow

test-sceptic: $(VENV)/.dev-$(VERSION) ## numbers that a sceptic would try to break, each beside the right one
	$(PYTEST) -m "sceptic and not slow" tests/sceptic

check: $(VENV)/.dev-$(VERSION) ## lint and types alone
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/.lean-$(VERSION): $(REQUIREMENTS)
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	$(UV_INSTALL) --editable .
	touch $@

$(VENV)/.dev-$(VERSION): $(VENV)/.lean-$(VERSION)
	$(UV_INSTALL) --editable '.[dev,notebooks,docs]'
	touch $@

notebooks: $(VENV)/.lean-$(VERSION) ## JupyterLab with the notebooks of this folder
	$(UV_INSTALL) --editable '.[jupyter]'
	$(BIN)/jupyter lab notebooks

docs: $(VENV)/.dev-$(VERSION) ## the documentation as a site, in site/: nothing on it is fetched from anywhere
	$(BIN)/python -m sphinx -W --keep-going -E --quiet -c docs . site
	@echo site/index.html

dist: $(VENV)/.dev-$(VERSION) ## wheel and sdist, in dist/
	rm -rf dist
	$(BIN)/python -m hatchling build

# In an environment of its own, which holds nothing of this folder.
test-dist: dist ## what the wheel installs, in a fresh environment: every block of the README
	$(PYTHON) -m venv --clear $(VENV)-dist
	$(BIN)/uv pip install --quiet --python $(VENV)-dist/bin/python --constraint constraints.txt --override requirements-overrides.txt dist/*.whl
	$(VENV)-dist/bin/python benchmarks/readme_blocks.py

# The Python that would be used; fails where there is none of that name.
interpreter:
	@echo $(PYTHON)

clean: ## remove environments, results, distributions and caches
	rm -rf $(VENV) $(VENV)-dist .venv-3.* dist site $(RESULTS) .pytest_cache .mypy_cache .ruff_cache
