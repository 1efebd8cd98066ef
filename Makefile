# make repro            set up, run the pipeline, and compare the results with the committed ones;
#                       QUIET=1 hides the progress of the epochs
# make setup            only set up: install the packages of requirements.lock in .venv
# make test             set up, then run the fast tests
# make test-slow        run the real pipeline on few images as a test
# make test-long        run what CI has no time for: kills, queues, all stages again
# make lint             check style, format and types
# make study SET=curve  run a set of experiments (tools/study/sets.yaml) in DVC's queue; a stopped
#                       set continues where it was. make curve and make notebook run two of them
# make demo             show the trained models on a page of this machine; PORT=8000 names its port
# make test-demo        run the tests of that page
# make bench            compare thaw with the naive way, 11 to 19 minutes; make bench-quick takes 5
# make bench-engines    measure the speed of each engine that computes features
# make bench-scaling    measure how the cost grows
# make bench-faster     measure what each replacement of a class of Keras' gains
# make bench-memory     measure the memory of each stage
# make bench-overhead   measure where an idle `dvc repro` spends its time
# make pr-comment BASE=main   print what the working tree changes against BASE, as Markdown
# make export-setup     install what `python -m thaw.export --format onnx` needs besides
# make browser          install chromium for the tests of report.html; needs root
# make reliability      test failures at length, which takes hours; docs/reliability.md lists them
# make audit            look for known vulnerabilities in requirements.lock; needs the network
# make lock             rewrite requirements.lock, requirements-demo.lock and versions.yaml from pyproject.toml
# make pretrain         make the bundled weights again, which takes hours; a stopped run continues
# make pretrain-library  pack what a machine with a GPU and no network needs: pretrain/GPU.md
# make test-pretrain    run the tests of pretrain/
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO_VENV := $(VENV)/demo
DEMO_STAMP := $(DEMO_VENV)/.installed
PRETRAIN_VENV := pretrain/.venv
PRETRAIN_BIN := $(CURDIR)/$(PRETRAIN_VENV)/bin
PRETRAIN_STAMP := $(PRETRAIN_VENV)/.installed
# Stages and tests then find the virtual environment's tools before the shell's own.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help repro test test-slow test-long test-demo lint lock setup demo export-setup bench bench-quick
.PHONY: bench-engines bench-memory
.PHONY: bench-faster bench-overhead bench-scaling study curve reliability audit notebook browser pr-comment pretrain pretrain-library test-pretrain
.DELETE_ON_ERROR:

# The first target, so that `make` alone only lists the others.
help:
	@sed -n '/^#/!q; s/^# //p' Makefile

repro: setup
	@$(BIN)/python -m tools.folder
	$(if $(QUIET),THAW_QUIET=1) $(BIN)/dvc repro $(if $(QUIET),--quiet)
	@$(BIN)/python -m tools.verdict

# Each process may take 3 GB, so no more of them on more cores.
test: setup
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

test-slow: setup
	$(BIN)/python -m pytest -m "slow and not long"

test-long: setup
	$(BIN)/python -m pytest -m long

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

export-setup: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes \
	  -r requirements-export.lock

audit:
	$(PYTHON) -m venv --clear $(VENV)/audit
	$(VENV)/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	$(VENV)/audit/bin/pip-audit --require-hashes --disable-pip --requirement requirements.lock

reliability: setup
	$(BIN)/python -m tests.reliability.same_bytes
	$(BIN)/python -m tests.reliability.environment
	$(BIN)/python -m tests.reliability.faults
	$(BIN)/python -m tests.reliability.disks
	$(BIN)/python -m tests.reliability.checkpoints
	$(BIN)/python -m tests.reliability.queued
	$(BIN)/python -m tests.reliability.mirrors
	$(BIN)/python -m tests.reliability.mutations
	$(BIN)/python -m tests.reliability.hostile

setup: $(STAMP)

$(STAMP): requirements.lock
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info[:2] <= (3, 13); sys.exit(0 if ok else \
	  "error: thaw needs Python 3.11 to 3.13. Received: Python " + sys.version.split()[0] + \
	  ". Name another: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "error: Python's venv module is \
	missing. On Debian and Ubuntu: sudo apt-get install python3-venv" >&2; exit 1; }
	@echo "installing the packages of requirements.lock: 190 on Linux, a download of 1 GB, 3 GB on the \
	disk. pip says nothing meanwhile; with a fast network it takes 2 to 5 minutes"
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

demo: $(DEMO_STAMP)
	@$(DEMO_VENV)/bin/python -m thaw.demo $(if $(PORT),--port $(PORT))

test-demo: $(DEMO_STAMP)
	$(DEMO_VENV)/bin/python -m pytest tests/test_demo.py

# Gradio wants older versions than the locked ones of packages that it hardly uses. So it lies apart,
# on top of $(VENV), and pip installs only what is not there. Without its dependencies' bounds, hence
# --no-deps: the lock has them all.
$(DEMO_STAMP): $(STAMP) requirements-demo.lock
	$(BIN)/python -m venv --clear $(DEMO_VENV)
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > \
	  "$$($(DEMO_VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/thaw.pth"
	$(DEMO_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
	  --no-deps -r requirements-demo.lock
	@touch $@

bench: setup
	$(BIN)/python -m benchmarks

bench-quick: setup
	$(BIN)/python -m benchmarks --quick

bench-faster: setup
	$(BIN)/python -m benchmarks.faster

bench-memory: setup
	$(BIN)/python -m benchmarks.memory

bench-overhead: setup
	$(BIN)/python -m benchmarks.overhead

bench-engines: setup
	$(BIN)/python -m benchmarks.engines

bench-scaling: setup
	$(BIN)/python -m benchmarks.scaling

study: setup
	$(BIN)/dvc repro
	$(BIN)/python -m tools.study $(SET)

curve notebook:
	$(MAKE) study SET=$@

browser:
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || \
	  { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; } || \
	  { echo "error: there is no chromium, and apt-get could not install it: install chromium or \
	google-chrome" >&2; exit 1; }

pr-comment: $(STAMP)
	@$(BIN)/python -m tools.pr_comment $(BASE) $(if $(IMAGES),--images $(IMAGES))

# The evaluation in pretrain/params.yaml fine-tunes on thaw's own images, hence preprocess.
pretrain: setup $(PRETRAIN_STAMP)
	$(BIN)/dvc repro preprocess
	cd pretrain && PATH="$(PRETRAIN_BIN):$$PATH" dvc repro

pretrain-library: $(PRETRAIN_STAMP)
	cd pretrain && PATH="$(PRETRAIN_BIN):$$PATH" dvc repro collect
	PATH="$(PRETRAIN_BIN):$$PATH" python -m pretrain.lease.library

test-pretrain: $(PRETRAIN_STAMP)
	PATH="$(PRETRAIN_BIN):$$PATH" python -m pytest pretrain/tests

$(PRETRAIN_STAMP): $(STAMP) requirements.lock pretrain/requirements.txt
	$(BIN)/python -m venv --clear $(PRETRAIN_VENV)
	$(PRETRAIN_BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes \
	  -r requirements.lock
	$(PRETRAIN_BIN)/python -m pip install --quiet --disable-pip-version-check \
	  -r pretrain/requirements.txt
	@touch $@

# pip installs from the lock, but only uv can write one lock for all platforms and Python versions.
lock:
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-annotate --quiet --output-file requirements.lock
	uv pip compile --group export --constraint requirements.lock --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-annotate --quiet --output-file requirements-export.lock
	sed -E -n '/^(pillow|tomlkit)==/s/ .*//p' requirements.lock | \
	  uv pip compile pyproject.toml --group dev --extra demo --constraints requirements.lock \
	  --overrides /dev/stdin --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-annotate --quiet --output-file requirements-demo.lock
	$(BIN)/python -m tools.versions
