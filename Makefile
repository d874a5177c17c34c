# `make` lists the targets. Everything runs in .venv, which is made when it is needed and again when pyproject.toml or
# constraints.txt change.

PYTHON ?= python3
PYTEST_ARGS ?=
# Seconds per test; a test that hangs is reported with its stack instead of blocking the run.
TEST_TIMEOUT ?= 300
# Tests at a time, each on one thread. Subprocesses that some of them start come on top.
TEST_WORKERS ?= 2
SLOW_TEST_TIMEOUT ?= 3600
# Of fuzzing, and of a soak.
MINUTES ?= 10
SOAK_MINUTES ?= 20

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: venv
venv: $(STAMP) ## Install everything into .venv (about 7 GB)

# The stamp is written last, so an install that was broken off is taken up again by the next make.
$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
		echo "error: '$(PYTHON)' not found. Debian/Ubuntu: sudo apt-get install python3 python3-venv;" \
			"or name another one: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "error: Python 3.11 or newer is needed, '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." \
			"Name a newer one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		version=$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
		echo "error: '$(PYTHON)' cannot make virtual environments (its module venv or ensurepip is missing)." \
			"Debian/Ubuntu: sudo apt-get install python$$version-venv" >&2; exit 1; }
	@rm -f $@
	@echo "Installing into $(VENV) (about 7 GB, some minutes)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
	@echo "Installed: $$($(BIN)/python --version), torch $$($(BIN)/python -c 'import importlib.metadata as m; print(m.version("torch"))')"

.PHONY: demo
demo: $(STAMP) ## Train on made-up clips on the CPU, evaluate, and draw what is found (no data needed)
	$(BIN)/python train.py +experiment=demo

.PHONY: test
test: $(STAMP) ## Run the tests, without the slow ones (PYTEST_ARGS='-k name' to choose)
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist worksteal --timeout=$(TEST_TIMEOUT) $(PYTEST_ARGS)

.PHONY: test-slow
test-slow: $(STAMP) ## Run the slow tests only
	$(BIN)/python -m pytest --timeout=$(SLOW_TEST_TIMEOUT) -m "slow and not kills" $(PYTEST_ARGS)

.PHONY: hostile
hostile: $(STAMP) ## Try every attack of tests/security on real commands
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist worksteal --timeout=$(TEST_TIMEOUT) -m 'slow or not slow' tests/security $(PYTEST_ARGS)

.PHONY: fuzz
fuzz: $(STAMP) ## Read damaged inputs with every reader (MINUTES=10)
	$(BIN)/python -m tests.fuzz --minutes $(MINUTES)

.PHONY: soak
soak: $(STAMP) ## Watch a camera that fails in every way for long (SOAK_MINUTES=20); nothing may grow
	$(BIN)/python -m tests.streaming.soak --minutes $(SOAK_MINUTES)

.PHONY: kills
kills: $(STAMP) ## Kill a hundred trainings and fill disks; all must go on exactly (an hour)
	$(BIN)/python -m pytest --timeout=$(SLOW_TEST_TIMEOUT) -m kills tests/kills $(PYTEST_ARGS)

.PHONY: lint
lint: $(STAMP) ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: types
types: $(STAMP) ## Check the types of the package
	$(BIN)/mypy tdcnet

.PHONY: docs
docs: $(STAMP) ## Build the pages of docs/ as a site in build/site, every link checked
	$(BIN)/mkdocs build --quiet --site-dir build/site

.PHONY: format
format: $(STAMP) ## Format the code and fix what ruff can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: clean
clean: ## Remove .venv and caches (data/ and logs/ stay)
	rm -rf $(VENV) *.egg-info build .pytest_cache .mypy_cache .ruff_cache
	find . -path ./data -prune -o -type d -name __pycache__ -exec rm -rf {} +
