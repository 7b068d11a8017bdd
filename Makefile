# Everything starts from Python >= 3.11 and make; the rest is installed into .venv.
PYTHON ?= python3
# Extra flags for pip. On Linux without a GPU this saves gigabytes of CUDA libraries:
# make setup PIP_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu"
PIP_FLAGS ?=
JOBS ?= 2
ARGS ?=

PY := .venv/bin/python
STAMP := .venv/.installed
LOWEST := .venv-lowest
LOWEST_TESTS ?= tests/nn/frozen tests/neighbors tests/hessians tests/symmetry tests/simulate/test_relaxation.py \
  tests/simulate/test_dynamics.py tests/simulate/test_constraints.py tests/simulate/test_static.py \
  tests/models tests/data/formats tests/data/test_ase.py tests/test_calculator.py \
  tests/potentials/test_nequip.py tests/vibrations tests/crystals/test_matching.py
# Tests that reach most of the functions that take arrays.
TYPED_TESTS ?= tests/neighbors tests/symmetry tests/derivatives tests/nn/frozen tests/potentials \
  tests/generative tests/molecules tests/vibrations tests/data/test_ase.py tests/test_calculator.py
DOCS := .venv/.installed-docs
PYTEST := OMP_NUM_THREADS=1 $(PY) -m pytest
TYPED := --jaxtyping-packages=matkit,tests.typechecked

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-types test-slow test-lowest test-wheel lint docs docs-test bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile
	@echo 'Variables: PYTHON=python3.12, PIP_FLAGS="...", JOBS=4 (test processes), ARGS="..." (passed on)'

setup: $(STAMP) ## Create .venv and install matkit with the tested versions

demo: $(STAMP) ## Relax a crystal and a molecule on a surface, run MD, draw a figure
	$(PY) -m matkit.demo $(ARGS)

# One thread for each worker: torch would otherwise start one per core in every process.
test: $(STAMP) ## Run the tests
	$(PYTEST) -n $(JOBS) $(ARGS)

# By beartype: it takes as long again as the tests themselves. Trainings repeat the same calls.
test-types: $(STAMP) ## Run fast tests with every shape and type checked (all: TYPED_TESTS=tests)
	$(PYTEST) -n $(JOBS) $(TYPED) -k "not it_learns" $(TYPED_TESTS) $(ARGS)

test-slow: $(STAMP) ## Run the tests marked slow, with every shape and type checked
	$(PYTEST) -n $(JOBS) $(TYPED) -m slow $(ARGS)

# Floors of pyproject.toml are true if tests pass with them. torch is that of constraints.txt, since
# older ones come with gigabytes of CUDA; warnings of old packages are theirs.
test-lowest: $(LOWEST)/.installed ## Run the fast tests with the lowest versions of the dependencies
	OMP_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest -n $(JOBS) -m "not slow and not gpu" \
	  -o addopts=--import-mode=importlib -W ignore::DeprecationWarning \
	  -W ignore::PendingDeprecationWarning -W ignore::FutureWarning $(LOWEST_TESTS) $(ARGS)

test-wheel: ## Install the wheel in an empty environment and use it
	PYTHON=$(PYTHON) PIP_FLAGS="$(PIP_FLAGS)" bash .ci/wheel

lint: $(STAMP) ## Check style, types and spelling
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m mypy --config-file mypy-scripts.ini benchmarks experiments examples
	$(PY) -m codespell_lib

docs: $(DOCS) ## Build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict

docs-test: $(STAMP) ## Run every command and snippet of the documentation, and the examples
	$(PYTEST) -n $(JOBS) -m "slow or not slow" tests/test_docs.py $(ARGS)

bench: $(STAMP) ## Time the models (benchmarks/inference.py); recipes are in experiments/
	$(PY) benchmarks/inference.py $(ARGS)

clean: ## Remove .venv, build folders and caches
	rm -rf .venv .venv-lowest build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last, so an interrupted installation starts again.
$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { \
	  echo "matkit needs Python 3.11 or newer, but there is no '$(PYTHON)'. Install it, or name it: make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "matkit needs Python 3.11 or newer, but '$(PYTHON)' is $$($(PYTHON) -V 2>&1). Name another one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv || { \
	  echo "'$(PYTHON)' cannot create an environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(PY) -m pip install --quiet $(PIP_FLAGS) -c constraints.txt -e '.[dev,sevennet,train]'
	@touch $@

$(DOCS): $(STAMP)
	$(PY) -m pip install --quiet $(PIP_FLAGS) -c constraints.txt -e '.[docs]'
	@touch $@

$(LOWEST)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet uv
	grep '^torch==' constraints.txt > $(LOWEST)/torch.txt
	$(LOWEST)/bin/uv pip compile --quiet --resolution lowest-direct --overrides $(LOWEST)/torch.txt \
	  --extra dev --extra train pyproject.toml --output-file $(LOWEST)/lowest.txt
	$(LOWEST)/bin/python -m pip install --quiet $(PIP_FLAGS) -c $(LOWEST)/lowest.txt -e '.[dev,train]'
	@touch $@
