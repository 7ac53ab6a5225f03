# make demo, make test, make docs: each makes what it needs (a virtual environment, the package, its dependencies) and runs.
# Only Python 3.11 or newer and make have to be there.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed
DOCS = $(VENV)/.docs

.PHONY: help demo demo-quick test results-check lint types docs package clean

help:
	@echo "make demo           draw motion_pairs, train TSN and TEINet on it, test, write a page with the result (minutes)"
	@echo "make test           run the test suite"
	@echo "make results-check  train and test two cells of a study again, compare (minutes)"
	@echo "make lint           check style, format and spelling"
	@echo "make types          check types"
	@echo "make docs           build the documents as a site into site/"
	@echo "make package        build the wheel and the source distribution into dist/"

$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" || { echo "teinet needs Python 3.11 or newer; none found (set PYTHON=...)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/teinet demo --output teinet-demo

demo-quick: $(STAMP)
	$(BIN)/teinet demo --quick --output teinet-demo/quick

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

results-check: $(STAMP)
	$(BIN)/python -m benchmarks.evidence.check --threads 1 --workers 0 --jobs 2

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

types: $(STAMP)
	$(BIN)/pyright

$(DOCS): $(STAMP)
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $(DOCS)

docs: $(DOCS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

package: $(STAMP)
	$(BIN)/python -m build

clean:
	rm -rf $(VENV) dist build site teinet-demo
