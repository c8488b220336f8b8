# Every target sets up .venv by itself; nothing is installed outside this folder.
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BASE_STAMP := $(VENV)/.installed-base
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt
# A worker that died ends the run and is named: one that pytest-xdist starts in its place waits for ever under loadgroup.
PYTEST := $(BIN)/pytest -n 2 --dist loadgroup --max-worker-restart 0
PYTEST_ARGS ?=

.PHONY: demo test test-slow lint docs screenshots wheel install-gpu clean help

help:  ## what there is
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

# The first Python of these that is 3.11 or newer and can make a virtual environment; `make PYTHON=...` names another.
NEW_ENOUGH := import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in python3 python3.12 python3.11 python3.13 python3.14; do \
	$$python -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$python && break; \
	done)

$(BIN)/python:
	@$(or $(PYTHON),false) -c '$(NEW_ENOUGH)' 2>/dev/null || { echo "visearch needs Python 3.11 or newer with venv (on Debian: python3-venv): install it, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(STAMP): setup.py constraints.txt | $(BIN)/python
	$(INSTALL) --editable '.[train,test,dev,report,heif,remote,scale]'
	@touch $@ $(BASE_STAMP)

$(BASE_STAMP): setup.py constraints.txt | $(BIN)/python
	$(INSTALL) --editable .
	@touch $@

demo: $(BASE_STAMP)  ## index a rendered shop and its rooms, search it with a phone photo, draw a sheet, open the page
	$(BIN)/visearch index data/homestore/demo/catalog.jsonl data/homestore/demo/scenes.jsonl --collection out/demo
	$(BIN)/visearch search data/homestore/demo/photos/photo-0006.jpg --box 0.1889,0.25,0.7074,0.8444 --collection out/demo \
		--limit 10 --sheet out/demo.png
	@echo "Query and results as one picture: out/demo.png"
	@if [ -t 1 ] && [ -z "$$CI" ]; then $(BIN)/visearch serve --collection out/demo --open; \
	else echo "The same in the browser: $(BIN)/visearch serve --collection out/demo --open"; fi

lint: $(STAMP)  ## style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

test: lint  ## style, types and the fast tests
	$(PYTEST) $(PYTEST_ARGS)

test-slow: $(STAMP)  ## every test, the long amounts too
	$(PYTEST) -m 'slow or not slow' --hypothesis-profile new $(PYTEST_ARGS)

docs: $(STAMP)  ## rewrite docs/settings.md from the settings table
	$(BIN)/python docs/make_settings.py

screenshots: $(STAMP)  ## rewrite the README's pictures of the page (needs chromium, and the collection of `make demo`)
	$(BIN)/python docs/make_screenshots.py

wheel: $(STAMP)  ## build dist/visearch-*.whl
	rm -rf build dist
	$(BIN)/python -m build --wheel --outdir dist

# The GPU forms hold the same modules as the CPU forms, so the two must never be installed together. They bring the
# CUDA libraries they need (12 for faiss, 13 for ONNX Runtime); the driver has to be one for CUDA 13.
install-gpu: $(STAMP)  ## swap faiss-cpu and onnxruntime for their GPU forms; `make clean` goes back
	$(BIN)/pip uninstall --quiet --yes faiss-cpu onnxruntime
	$(INSTALL) faiss-gpu 'onnxruntime-gpu[cuda,cudnn]'

clean:  ## remove what the other targets made
	rm -rf $(VENV) build dist out *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
