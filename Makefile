# One thread per process: two cores shared by threads are slower than one thread each.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

# Tests stay in the order of their files, whose fixtures are made once; who is idle takes from the end.
PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: demo test slow cases attack docs format clean

demo: $(READY)
	$(BIN)/uncollapse demo

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(PYTEST) -m "not slow and not case"

slow: $(READY)
	$(PYTEST) -m "slow and not case"

# Before a release.
cases: $(READY)
	$(PYTEST) -m case

# 10,000 mutants of files that are read, 200 kills, pairs and full disks: docs/security.md.
attack: $(READY)
	PYTHONPATH=tests $(BIN)/python -m attacks

docs: $(READY)
	$(BIN)/typer uncollapse.cli.app utils docs --name uncollapse --output docs/cli.md
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	# Not compiled: each module is when it is first imported, and most never are.
	$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt -e '.[dev]'
	touch $(READY)
