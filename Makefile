# Each target makes the environment it needs: Python 3.11 or newer and make are enough.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt
READY  := $(VENV)/.ready
DOCS   := $(VENV)/.ready-docs

.PHONY: help demo test check bench kernels sanitize composition docs clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile

demo: $(READY)  ## train a spiking network on handwritten digits and report on it
	$(BIN)/spikeloom run digits_vgg

test: $(READY)  ## run every test that needs neither a GPU nor the network
	$(BIN)/python -m pytest --durations=10

check: $(READY)  ## format, lint, strict types, import arrows
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)  ## time everything in benchmarks/ that needs no other library (*_against_*.py do)
	@set -e; for script in $(sort $(wildcard benchmarks/*.py)); do case "$$script" in \
		*_against_*) echo "== $$script: skipped, it needs its peer" ;; \
		*) echo "== $$script"; $(BIN)/python "$$script" ;; esac; done

kernels: $(READY)  ## compile the CPU kernels anew
	$(BIN)/python -m spikeloom.kernels.build

sanitize: $(READY)  ## test the CPU kernels with address and undefined-behaviour sanitizers
	$(BIN)/python -m spikeloom.kernels.build --sanitize --output build/kernels_sanitized.so
	LD_PRELOAD="$$(c++ -print-file-name=libasan.so) $$(c++ -print-file-name=libstdc++.so)" \
		ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
		SPIKELOOM_KERNELS=build/kernels_sanitized.so $(BIN)/python -m pytest tests/kernels

composition: $(READY)  ## write docs/composition.md anew: which parts train together
	$(BIN)/python -m tests.compose.composition

docs: $(DOCS)  ## build the documentation; a warning is an error
	$(BIN)/sphinx-build -q -W --keep-going docs docs/_build/html
	@echo docs/_build/html/index.html

clean:  ## remove the environment and everything built, but no runs and no data
	rm -rf $(VENV) build dist docs/_build .*_cache .hypothesis .coverage
	find src tests benchmarks docs -name __pycache__ -prune -exec rm -rf {} +

# torch comes first and alone: it is the one package whose build (CPU, CUDA) a machine may choose.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { $(PYTHON) --version; \
		echo 'Spikeloom needs Python 3.11 or newer: make PYTHON=/path/to/python3 ...'; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch
	$(PIP) hatchling
	$(PIP) --no-build-isolation --editable '.[dev]'
	@touch $@

$(DOCS): $(READY)
	$(PIP) --no-build-isolation --editable '.[docs]'
	@touch $@
