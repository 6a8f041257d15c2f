# Two commands: `make book` renders the study, `make test` checks it. Both set up .venv first.
# Every path is relative, so the checkout may lie in a folder with spaces in its name.

PYTHON  ?= python3
JOBS    ?= 2
ARGS    ?=
PAPER   ?= resaspp-unet
PROFILE ?= paper
DEVICE  ?= auto
SEEDS   ?=
PORT    ?= 8000

PY    := .venv/bin/python
STAMP := .venv/.retlib-installed
UV    := $(PY) -m uv pip

# albumentations would ask PyPI for a newer version at import
export NO_ALBUMENTATIONS_UPDATE := 1

.DEFAULT_GOAL := help
.PHONY: help setup book test bench reproduce rehearse notebooks browser lint format serve clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## create .venv with the pinned set (Python 3.11 or newer; choose one with PYTHON=...)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "retlib needs Python 3.11 or newer, found: $$($(PYTHON) --version 2>&1). Try: make setup PYTHON=python3.12"; exit 1; }
	@$(PY) -m pip --version >/dev/null 2>&1 || { echo "creating .venv"; $(PYTHON) -m venv --clear .venv; }
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	@# Compiled once here: every notebook starts a Python of its own, and most of its time would go into this.
	$(UV) install --python $(PY) --compile-bytecode -c constraints.txt -e '.[book,test]'
	@# opencv-python and its headless build share one cv2 folder, and the last one installed wins.
	@# The full build needs libGL, so where both are present the headless files go in last.
	@if $(UV) show --quiet --python $(PY) opencv-python 2>/dev/null; then \
	  $(UV) install --python $(PY) --reinstall --no-deps -c constraints.txt opencv-python-headless; fi
	@touch $(STAMP)

book: $(STAMP)  ## execute every notebook and render the book into _build/html
	@$(PY) book/_tools/build.py

test: $(STAMP)  ## run the whole test suite (about ten minutes on two cores)
	OMP_NUM_THREADS=1 $(PY) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

bench: $(STAMP)  ## measure speed for the book's page on performance, on a quiet machine (ARGS=--all: the book too)
	$(PY) -m tests.benchmarks.bench $(ARGS)

reproduce: $(STAMP)  ## train what is missing of one paper: PAPER=af-unet PROFILE=paper DEVICE=cuda SEEDS=0,1,2
	@$(PY) book/_tools/pairing.py run '$(PAPER)' -p profile '$(PROFILE)' -p device '$(DEVICE)' -p train missing $(if $(SEEDS),-p seeds '[$(SEEDS)]')

rehearse: $(STAMP)  ## dry run: time a few full-size steps of each run of the papers (ARGS: names, --again)
	@$(PY) -m tests.benchmarks.rehearse $(ARGS)

notebooks: $(STAMP)  ## write notebooks/*.ipynb from notebooks/*.py
	@$(PY) book/_tools/pairing.py pair

browser:  ## find a Chromium for the browser tests; on Debian as root, install one
	@sh book/_tools/browser.sh

lint: $(STAMP)  ## check style with ruff
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: $(STAMP)  ## apply ruff's fixes and formatting
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

serve: $(STAMP)  ## serve the rendered book at http://localhost:8000 (PORT=...)
	@test -f _build/html/index.html || { echo "no book yet: run make book"; exit 1; }
	$(PY) -m http.server --directory _build/html --bind 127.0.0.1 $(PORT)

clean:  ## remove what was built; .venv stays
	rm -rf _build .pytest_cache .ruff_cache .benchmarks .hypothesis
	find retlib tests book notebooks -type d -name __pycache__ -prune -exec rm -rf {} +
