# Every target sets up what it needs by itself; nothing has to be installed or started by hand.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help demo test lint docs test-lowest test-newest test-python bench bench-attack bench-guarantees bench-intake \
    bench-service bench-views chaos evaluation fuzz venv reference freeze

# Where the demo keeps its servers, its clips and their logs; nothing outside this folder is touched.
DEMO_DIR := build/demo
STAMP := .venv/.installed
# Which Python test-lowest, test-newest and test-python take, and the virtual environment that each makes for it.
PYTHON ?= .venv/bin/python
ELSEWHERE = build/venv-$(@:test-%=%)-$(notdir $(PYTHON))

# Two processes more than two cores: many tests wait, for leases and for servers. conftest.py orders the files.
SHARED := -n 4 --no-loadscope-reorder
# What is only true of pinned packages, and of torch's build for CPUs.
OF_PINS := --deselect tests/unit/deploy/test_image.py::test_every_package_that_pip_would_install_is_pinned_as_installed_here

# Runs the tests in the target's own environment, into which pip installs with these options.
define test_elsewhere
@if ! $(ELSEWHERE)/bin/python -m pip --version >/dev/null 2>&1; then $(PYTHON) -m venv --clear $(ELSEWHERE); fi
$(ELSEWHERE)/bin/python -m pip install -q --disable-pip-version-check --upgrade $(1) -e '.[dev]'
$(ELSEWHERE)/bin/python -m pytest $(SHARED) $(OF_PINS)
endef

##@ See it work

demo: venv ## certify rendered clips through real servers, from nothing, and print the table
	rm -rf $(DEMO_DIR)
	mkdir -p $(DEMO_DIR)
	env -u FLOWCERT_DATABASE_URL -u FLOWCERT_BROKER_URL FLOWCERT_DATA_DIR="$$PWD/$(DEMO_DIR)" .venv/bin/flowcert demo

##@ Check a change

test: venv ## run every test
	.venv/bin/pytest $(SHARED)

lint: venv docs ## check style, types, import contracts, that migrations and tables agree, and that the site builds
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/pytest -q tests/integration/test_migrations_match_tables.py

docs: venv ## build the documents as a site, whose links all lead somewhere; it goes to build/site
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict --quiet

##@ Check what it runs on: a quarter of an hour, and an environment of its own below build

test-lowest: venv ## run every test with the oldest dependencies that pyproject.toml allows
	$(call test_elsewhere,-c constraints-lowest.txt)

test-newest: venv ## run every test with the newest dependencies that pyproject.toml allows
	$(call test_elsewhere,--upgrade-strategy eager)

test-python: venv ## run every test with another Python: make test-python PYTHON=python3.13
	$(call test_elsewhere,-c constraints.txt)

##@ Measure

bench: venv ## measure points per second; results go to build/bench
	.venv/bin/python -m benchmarks.points_per_second

bench-attack: venv ## compare upper bounds with other attacks; results go to build/bench
	.venv/bin/python -m benchmarks.upper_bounds

bench-guarantees: venv ## attack certificates and measure how tight they are; results go to build/bench
	.venv/bin/python -m benchmarks.guarantees

bench-intake: venv ## check, submit and plan as many clips as UCF101 has; results go to build/bench
	.venv/bin/python -m benchmarks.intake

bench-service: venv ## merge a million subtrees, and more, with 64 simulated workers; results go to build/bench
	.venv/bin/python -m benchmarks.service

bench-views: venv ## ask every view of 13,320 clips and a million subtrees; results go to build/bench
	.venv/bin/python -m benchmarks.views

chaos: venv ## harm the running service for minutes and check that nothing is lost; results go to build/bench
	.venv/bin/python -m benchmarks.chaos

evaluation: venv ## certify UCF101's test clips at hand; writes build/evaluation.json and docs/evaluation.md
	.venv/bin/python -m benchmarks.evaluation

# Minutes of `make fuzz`: make fuzz MINUTES=60.
MINUTES ?= 10

fuzz: venv ## try hostile input of every kind for MINUTES (10); results go to build/fuzz.json
	.venv/bin/python -m tests.fuzz --minutes $(MINUTES)

##@ Set up and write down

reference: venv ## write docs/cli.md anew from the command line's own help
	@mkdir -p build
	.venv/bin/python -m scheduler.cli.reference > build/cli.md && mv build/cli.md docs/cli.md

venv: $(STAMP) ## make the virtual environment .venv with everything pinned

# Installed again whenever the dependencies change; an interrupted installation leaves no stamp.
$(STAMP): pyproject.toml constraints.txt
	@rm -f $@
	@if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then \
	    rm -rf .venv; \
	    python=; \
	    for name in python3.11 python3.12 python3.13 python3; do \
	        if $$name -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' >/dev/null 2>&1; then python=$$name; break; fi; \
	    done; \
	    if [ -z "$$python" ]; then \
	        echo "Python 3.11, 3.12 or 3.13 is needed, as python3.11, python3.12, python3.13 or python3" >&2; exit 1; \
	    fi; \
	    if ! $$python -c 'import ensurepip, venv' >/dev/null 2>&1 && [ "$$(id -u)" = 0 ]; then \
	        echo "$$python cannot make virtual environments; installing Debian's python3-venv"; \
	        apt-get update -q && apt-get install -q -y python3-venv || true; \
	    fi; \
	    if ! $$python -c 'import ensurepip, venv' >/dev/null 2>&1; then \
	        echo "$$python cannot make virtual environments; on Debian: apt install python3-venv (or python3.11-venv)" >&2; \
	        exit 1; \
	    fi; \
	    echo "making .venv with $$python; this takes minutes, once"; \
	    $$python -m venv .venv; \
	fi
	.venv/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

freeze: venv ## write down this release's database and protocol, for later ones to be tested with
	[ -e tests/frozen/wire-$$(.venv/bin/python -c 'from common.wire import PROTOCOL; print(PROTOCOL)').json ] \
	    || .venv/bin/python -m tests.freeze_wire
	.venv/bin/python -m tests.freeze_database

help: ## list the targets
	@awk -F ':.*## ' '/^##@ / { print "\n" substr($$0, 5) ":" } \
	    /^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' Makefile
