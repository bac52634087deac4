# What a person does with this repository. Needs Python 3.11 to 3.13 with pip and venv, and make; `make` lists the targets.
# On Windows run it in Git Bash, whose sh, awk, find and rm it uses.
#   make demo PYTHON=/usr/bin/python3.12     picks the interpreter
#   make test ARGS="-k decode -x"            passes arguments to pytest

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo test test-all coverage lint format bench docs course pictures translations dist lock clean

VENV := .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
EXTRAS := torch,keras,search,track,parquet,weights,dev,docs
PYTHON ?= $(eval PYTHON := $(shell for p in python3.13 python3.12 python3.11 python3 python; do $$p -c \
  'import sys, pip, venv; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && echo $$p && break; done))$(PYTHON)

# Installing without bytecode and letting each module be compiled when it is first imported is the quickest way to a
# first result, so Python must be free to write it.
unexport PYTHONDONTWRITEBYTECODE
export UV_HTTP_TIMEOUT ?= 180

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.core ## install kilat alone (no torch), train on scikit-learn's handwritten digits, say where the report is
	@$(BIN)/kilat train digits --name demo
	@echo "Report: $$(ls -td "$$PWD"/runs/demo*/report.html | head -n 1)"

# A worker a core; the files of tests share what is costly to make, and whole verbs, which take longest, come first.
PARALLEL ?= -n 2 --dist loadfile --no-loadscope-reorder
test: $(VENV)/.full ## run the tests; offline once installed
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

test-all: $(VENV)/.full ## also those that need the shared pictures ($KILAT_DATA or ../shared/data) or a GPU
	$(BIN)/python -m pytest --all $(PARALLEL) $(ARGS)

coverage: ARGS := --cov --cov-report=term:skip-covered $(ARGS)
coverage: test ## run the tests and measure their coverage; fails below the floor in pyproject.toml

lint: $(VENV)/.full ## style, formatting, types, and whether generated pages, catalogs and pages of other languages are current
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python docs/generate.py --check
	$(BIN)/python docs/translations.py --check
	$(BIN)/python docs/page_structure.py

format: $(VENV)/.full ## format the code and mend what can be mended by rule
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

BENCH ?= $(sort $(filter-out benchmarks/gpu.py,$(wildcard benchmarks/[a-z]*.py)))  # gpu.py is for machines with one
bench: $(VENV)/.full ## measure again every number that the project publishes; BENCH=benchmarks/one.py for one of them
	@for script in $(BENCH); do echo "== $$script"; $(BIN)/python "$$script" $(ARGS) || exit 1; done

docs: $(VENV)/.full ## write what pages show anew (CHECK=--check only compares), then build the site into site/; offline
	$(BIN)/python docs/generate.py $(CHECK)
	$(BIN)/python docs/course.py $(CHECK)
	$(BIN)/python docs/examples.py $(CHECK)
	@for file in mkdocs.yml mkdocs.*.yml; do NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict -f $$file || exit 1; done
	@echo "Site: $(CURDIR)/site/index.html"

translations: $(VENV)/.full ## bring src/kilat/locale up to date with the code; BEGIN=de begins another one
	$(BIN)/python docs/translations.py $(BEGIN)

course: $(VENV)/.full ## run the course's experiments (ONLY="name other": these alone), then write their figures and effects
	$(BIN)/python docs/course.py --measure $(ONLY)

pictures: $(VENV)/.full ## make the pictures of README and guides anew; needs Chromium
	$(BIN)/python docs/pictures.py

dist: $(VENV)/.made ## build the source distribution and the wheel into dist/
	$(BIN)/uv build --quiet --out-dir dist

lock: $(VENV)/.made ## bring requirements.lock up to pyproject.toml; ARGS=--upgrade takes the newest versions that fit
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-annotate --no-emit-index-url $(ARGS) \
	  --no-emit-find-links --custom-compile-command 'make lock' --output-file requirements.lock pyproject.toml

clean: ## remove the environment, caches and builds; runs/ stays
	rm -rf $(VENV) build dist site .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache
	find src tests benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment. uv installs about four times as fast as pip and comes from the same place; where it cannot work
# (an index that only pip is told of, a platform without a wheel) pip does it.
BOOT = $(PYTHON) -m pip --python $(BIN)/python --disable-pip-version-check --quiet install --no-compile
define install
	@echo "Installing $(1) into $(VENV), versions from requirements.lock"
	@{ test -x $(BIN)/uv && $(BIN)/uv pip install --quiet --python $(BIN)/python -c requirements.lock pip -e '$(1)'; } \
	  || $(BOOT) -c requirements.lock pip -e '$(1)'
endef

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "kilat needs Python 3.11, 3.12 or 3.13 with pip and venv; make PYTHON=/path/to/python names one." >&2; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --without-pip $(VENV)
	@$(BOOT) -c requirements.lock uv || echo "uv is not to be had here: pip installs the rest, more slowly."
	@touch $@

$(VENV)/.core: $(VENV)/.made pyproject.toml requirements.lock
	$(call install,.)
	@touch $@

$(VENV)/.full: $(VENV)/.made pyproject.toml requirements.lock
	$(call install,.[$(EXTRAS)])
	@touch $(VENV)/.core $@
