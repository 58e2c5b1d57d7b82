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

.PHONY: verify test test-fast test-slow test-sceptic check interpreter clean

# The Python that would be used; fails where there is none of that name.
interpreter:
	@echo $(PYTHON)

verify: $(VENV)/.lean-$(VERSION)
	$(BIN)/ntkrobust verify --out $(RESULTS)

# Tests of one file share what they train and compile: they run in one process.
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

test: check
	$(PYTEST) -m "not slow"

# Two minutes: every room, in small.
test-fast: check
	$(PYTEST) -m "fast and not slow"

test-slow: $(VENV)/.dev-$(VERSION)
	$(BIN)/python -m pytest -m slow

# Numbers a sceptic would try to break, each printed beside the right one.
test-sceptic: $(VENV)/.dev-$(VERSION)
	$(PYTEST) -m "sceptic and not slow" tests/sceptic

check: $(VENV)/.dev-$(VERSION)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/.lean-$(VERSION): $(REQUIREMENTS)
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	$(UV_INSTALL) --editable .
	touch $@

$(VENV)/.dev-$(VERSION): $(VENV)/.lean-$(VERSION)
	$(UV_INSTALL) --editable '.[dev,notebooks]'
	touch $@

clean:
	rm -rf $(VENV) .venv-3.* $(RESULTS) .pytest_cache .mypy_cache .ruff_cache
