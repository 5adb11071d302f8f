# Two commands to know: `make lab` and `make test`. Both set up first.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.synced
RUN := $(VENV)/bin
# The machine's own certificates too: many a company's network has one of its own.
export UV_SYSTEM_CERTS := true
export UV_NATIVE_TLS := true
PYTEST := $(RUN)/python -m pytest

.PHONY: venv lab test soak bench conformance lint format types screenshots matrix clean

venv: $(STAMP)

# uv is taken from the machine where there is one, else installed into the environment by pip.
$(STAMP): uv.lock pyproject.toml
	@test -x $(RUN)/python || $(PYTHON) -m venv $(VENV)
	@if command -v uv >/dev/null 2>&1; then uv=uv; else \
	  test -x $(RUN)/uv || $(RUN)/python -m pip install --quiet --disable-pip-version-check uv; uv=$(RUN)/uv; fi; \
	UV_PROJECT_ENVIRONMENT=$(VENV) $$uv sync --frozen --quiet --inexact --python $(RUN)/python
	@touch $(STAMP)

lab: venv
	@$(RUN)/unstall lab

test: venv
	$(PYTEST) -m "not soak"

soak: venv
	$(PYTEST) -m soak

conformance: venv
	$(PYTEST) -m conformance tests/kubelet

bench: venv
	@set -e; for script in bench/bench_*.py; do echo "== $$script"; $(RUN)/python $$script; done

lint: venv
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .

format: venv
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .

types: venv
	$(RUN)/mypy

# The runtime's tests on every interpreter that pyenv or the machine has, each in an environment of its own.
matrix: venv
	@set -e; for version in 3.11 3.12 3.13; do \
	  python=$$(ls -d $${PYENV_ROOT:-$$HOME/.pyenv}/versions/$$version.*/bin/python 2>/dev/null | tail -1); \
	  test -n "$$python" || python=$$(command -v python$$version || true); \
	  if test -z "$$python"; then echo "Python $$version: not on this machine"; continue; fi; \
	  uv=$$(command -v uv || echo $(RUN)/uv); \
	  UV_PROJECT_ENVIRONMENT=.matrix/$$version $$uv sync --frozen --quiet --python $$python; \
	  echo "== Python $$version"; .matrix/$$version/bin/python -m pytest -q -m "not soak" tests/runtime; \
	done

screenshots: venv
	$(RUN)/python scripts/screenshots.py

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis dist
