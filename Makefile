# Everything a person or CI does here, each in one word. `make help` lists it.
.DEFAULT_GOAL := help
PYTHON ?= python3
UV := 0.13.9
# PyTorch is the one big part (its usual Linux build brings CUDA along). For a small CPU build:
# make setup TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH := 2.13.0
TORCH_INDEX ?=
BIN := .venv/bin
STAMP := .venv/.installed
CLIENTS := .venv/.clients
CLIENT_PINS := $(addprefix tests/end_to_end/,oldest_sdk/requirements.txt sdk_1_66/requirements.txt search_11_6/requirements.txt frameworks/requirements.txt)
NODE := tests/end_to_end/node
# three at a time on two cores: most tests wait for a process more than they compute
SIDE_BY_SIDE := -n 3 --dist loadgroup --durations 12
# collecting is dear: where few tests are wanted, only the files that have such are read
FILES_WITH = $(sort $(shell grep -rlE --include='test_*.py' 'mark\.($(1))\b' tests))
export LINARITE_MODELS_DIR ?= $(CURDIR)/.models
# images of containers often set it, and each process of the tests would compile all it imports
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup model demo test test-crash test-slow test-long test-all lint fmt docs ci bench clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) $(CLIENTS)  ## make .venv with all that the demo and the tests need

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Linarite needs Python 3.11 or newer; set PYTHON=…" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv==$(UV)'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) 'torch==$(TORCH)'
	$(BIN)/uv pip install --quiet --python .venv --constraint constraints.txt --editable '.[local,train,ingest,wandb,demo]' --group dev
	@touch $@

# Clients that tests run in an environment of their own, each in a folder of its name.
$(CLIENTS): $(CLIENT_PINS) $(NODE)/package.json $(NODE)/package-lock.json | $(STAMP)
	for pins in $(CLIENT_PINS); do \
		folder=.venv/$$(basename $$(dirname $$pins)); rm -rf $$folder; \
		$(BIN)/uv pip install --quiet --python .venv --target $$folder --no-deps -r $$pins || exit 1; \
	done
	cd $(NODE) && $(CURDIR)/$(BIN)/npm ci --ignore-scripts --loglevel=error
	@touch $@

model: $(STAMP)  ## fetch the embedded models and make them ready to serve
	@$(BIN)/linarite models pull --quiet

demo: model  ## the main job on the embedded model: a batch, then tuning (KEEP=1 leaves the server up, DPO=1 tunes on preferences, AGAIN=1 even if an earlier demo tuned; INGEST=1 ingests documents and asks them instead)
	@$(BIN)/linarite demo $(if $(KEEP),--keep) $(if $(DPO),--dpo) $(if $(AGAIN),--again) $(if $(INGEST),--ingest)

test: setup model  ## all but the slow folders, on SQLite and on PostgreSQL
	$(BIN)/pytest $(SIDE_BY_SIDE) --whole-contract -m 'not crash and not slow'

test-crash: setup model  ## kill processes and look at what is left
	$(BIN)/pytest $(SIDE_BY_SIDE) -m crash --timeout 900 $(call FILES_WITH,crash)

test-slow: setup model  ## what takes minutes
	$(BIN)/pytest $(SIDE_BY_SIDE) -m 'slow and not crash' --timeout 900 $(call FILES_WITH,slow)

# not by their number of tests, by which the longest come last and leave the other workers idle
test-long: setup model  ## test-crash and test-slow in one: the first waits where the second computes
	$(BIN)/pytest $(SIDE_BY_SIDE) --no-loadscope-reorder -m 'crash or slow' --timeout 900 $(call FILES_WITH,crash|slow)

test-all: setup model  ## all tests in one run: what waits stands beside what computes, to the end
	$(BIN)/pytest $(SIDE_BY_SIDE) --whole-contract --timeout 900

lint: setup  ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

fmt: setup  ## format, and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup  ## write the generated pages
	$(BIN)/python docs/reference.py

ci: lint test-all  ## what CI runs

bench: model  ## every benchmark, each printing its ratio (hours: some take half of one)
	$(BIN)/python -m bench

clean:  ## remove what the targets made, the models too
	rm -rf .venv .models .mypy_cache .pytest_cache .ruff_cache dist $(NODE)/node_modules
