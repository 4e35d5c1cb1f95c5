# Every task of the project. `make help` lists them; CI and the README call only these.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LOCK := container/locks/dev.txt
# The demo starts without the packages that only the tests need: half of the time of a first installation.
DEMO_STAMP := $(VENV)/.installed-demo
DEMO_LOCK := container/locks/demo.txt
DASHBOARD := apps/elastic_inference/flows/gateway/dashboard/index.html
OPENAPI := apps/elastic_inference/flows/gateway/openapi.json
CATALOGUE := apps/elastic_inference/adapters/catalogue/catalogue.json
DASHBOARD_SOURCES := $(shell find spa -path spa/node_modules -prune -o -type f -print 2>/dev/null) $(OPENAPI)
SCRIPT_FOLDERS := .ci container findings tools
SCRIPT_STYLE := -i 4 -bn
NODE_STAMP := spa/node_modules/.installed
FUZZ := build/fuzz
ARGS ?=
# Tests wait four fifths of the time, so each core has room for four workers.
WORKERS ?= $(shell cores=$$(nproc); echo $$((cores < 2 ? 4 : 8)))
# Compilers and linters keep what they make. To copy it out of Node's small nursery takes a tenth of their CPU time.
export NODE_OPTIONS ?= --max-semi-space-size=64
# The tests start services hundreds of times. Without bytecode, each start would compile the whole package.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install install-demo demo test checks dashboard-types dashboard-tests test-python test-side-by-side \
    test-alone test-load test-dashboard test-components test-browser test-sinks test-outages test-models test-faults \
    test-fuzz test-cluster test-elasticity bench bench-ratio bench-soak bench-dashboard bench-tracking lint \
    lint-dashboard dashboard-checks lint-scripts lint-python types docs clean dashboard screenshots has-node

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | \
	  awk -F'\t' '{printf "  %-18s %s\n", $$1, $$2}'

HAS_PYTHON := $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
    { echo "Python 3.11 or newer is needed: make PYTHON=…"; exit 1; }

$(STAMP): setup.py $(LOCK)
	@$(HAS_PYTHON)
	@tools/lib/python-environment.sh $(VENV) "$(PYTHON)" $(LOCK) $(notdir $(STAMP) $(DEMO_STAMP))

$(DEMO_STAMP): setup.py $(DEMO_LOCK)
	@$(HAS_PYTHON)
	@tools/lib/python-environment.sh $(VENV) "$(PYTHON)" $(DEMO_LOCK) $(notdir $(DEMO_STAMP))

install-demo: $(DEMO_STAMP)

install: $(STAMP) ## create or update .venv with all packages

$(NODE_STAMP): spa/package.json spa/package-lock.json
	@echo "installing the dashboard's packages"
	@cd spa && npm ci --no-audit --no-fund --silent
	@touch $(NODE_STAMP)

$(DASHBOARD): $(DASHBOARD_SOURCES) | $(NODE_STAMP)
	@echo "building the dashboard"
	@cd spa && npm run --silent build
	@touch $(DASHBOARD)

has-node:
	@node -e 'process.exit(process.versions.node.split(".")[0] < 20 ? 1 : 0)' 2>/dev/null

dashboard: $(DASHBOARD) ## build the dashboard if it is missing or out of date

# Python's packages keep one core busy, the dashboard has the other.
demo: ## real detections on real video at http://localhost:31002 (ARGS="-h" shows the options)
	@if $(MAKE) --silent has-node; then $(MAKE) --no-print-directory -j2 install-demo dashboard; \
	else echo "Node.js 20 or newer is missing: there is no dashboard, only REST, snapshots and websockets."; \
	$(MAKE) --no-print-directory install-demo; fi
	@exec $(BIN)/ei-demo $(ARGS)

# Python's packages keep one core busy while they are installed, the dashboard has the other. The tests leave some of
# the CPU idle: what only checks text has that.
test: ## style, types, all tests but those of test-load
	@$(MAKE) --no-print-directory -j2 install dashboard-checks
	@$(MAKE) --no-print-directory -j2 test-side-by-side checks
	@$(MAKE) --no-print-directory test-alone
	@$(MAKE) --no-print-directory test-browser

checks:
	@nice -n 15 $(MAKE) --no-print-directory lint-scripts lint-python types

test-python: install ## the Python tests (ARGS="tests/unit -k name" runs a part)
ifeq ($(ARGS),)
	@$(MAKE) --no-print-directory test-side-by-side test-alone
else
	@$(BIN)/pytest $(ARGS)
endif

test-side-by-side: install
	@tools/lib/python-tests.sh side-by-side $(WORKERS)

test-alone: install
	@tools/lib/python-tests.sh alone

test-load: install ## a system under load for minutes: scale ratio, fair shares, restarts, many cameras (ARGS="-k name")
	@tools/lib/python-tests.sh load $(ARGS)

build/functions/.installed: tests/sinks/requirements.txt | $(STAMP)
	@echo "installing what runs the example of a function into build/functions"
	@rm -rf build/functions && $(BIN)/python -m venv build/functions
	@build/functions/bin/pip install -q --disable-pip-version-check -r tests/sinks/requirements.txt
	@touch $@

test-sinks: install build/functions/.installed ## delivery to a function, and to Kafka (EI_KAFKA_COMMAND); two minutes
	@tools/lib/python-tests.sh sinks $(ARGS)

test-outages: install ## sinks, event workers and Redis fail in turn under 200 events a second; 20 minutes (ARGS="-h")
	@$(BIN)/python -m tests.outages $(ARGS)

test-dashboard: test-components test-browser ## the dashboard's tests, also in a real browser

test-components: dashboard-types dashboard-tests

dashboard-types: dashboard
	@cd spa && npm run --silent types:check && npm run --silent check

dashboard-tests: dashboard
	@cd spa && npm test --silent

dashboard-checks: dashboard-tests
	@$(MAKE) --no-print-directory lint-dashboard dashboard-types

test-browser: install dashboard
	@if [ -n "$$CI$$EI_TEST_CHROMIUM" ] \
	    || command -v chromium-headless-shell chromium chromium-browser google-chrome >/dev/null; then \
	    cd spa && npm run --silent test:e2e; \
	else echo "skipped: the dashboard's tests in a browser (Chromium is missing; CI must have it)"; fi

$(FUZZ)/.installed: tests/fuzz/requirements.txt | $(STAMP)
	@echo "installing the fuzzers into $(FUZZ)"
	@rm -rf $(FUZZ) && $(BIN)/python -m venv $(FUZZ)
	@$(FUZZ)/bin/pip install -q --disable-pip-version-check --require-hashes -r tests/fuzz/requirements.txt
	@touch $@

test-fuzz: install $(FUZZ)/.installed ## fuzzers over all outside input, two minutes (ARGS="--seed 7", "--minutes 9")
	@$(BIN)/python -m tests.fuzz $(ARGS)

test-models: install ## boxes beside those of the exporters themselves (fetches 3 GB of exporters; ARGS="yolov8n")
	@mkdir -p build/models && $(BIN)/python -m tests.models.compare --images $(foreach n,a b c,build/models/$(n).png)
	@test -x build/exporters/bin/pip || $(BIN)/python -m venv build/exporters
	@build/exporters/bin/pip install -q -r tests/models/requirements.txt
	@build/exporters/bin/pip install -q --no-deps -r tests/models/requirements-alone.txt
	@build/exporters/bin/python -m tests.models.exporter build/models \
	  build/models/a.png,build/models/b.png,build/models/c.png $(ARGS)
	@$(BIN)/python -m tests.models.compare build/models $(ARGS)

test-cluster: install ## images, manifests and the whole suite on a real cluster (doc/deployment.md)
	@$(BIN)/pytest tests/cluster -m cluster -v -s $(ARGS)

test-elasticity: install ## the autoscalers against real pods on a real cluster (under 50 minutes; ARGS="-h")
	@$(BIN)/python -m tests.elasticity $(ARGS)

test-faults: install dashboard ## one fault after another under load, about ten minutes (doc/reliability.md; ARGS="-h")
	@$(BIN)/python -m tests.faults $(ARGS)

bench: install dashboard ## benchmarks of every part, half an hour (ARGS="-h")
	@$(BIN)/python -m tests.bench $(ARGS)
ifeq ($(ARGS),)
	@$(MAKE) --no-print-directory bench-dashboard
endif

bench-ratio: install ## the scale ratio compared with demand over capacity, 20 minutes as root (ARGS="-h")
	@$(BIN)/python -m tests.bench.ratio $(ARGS)

bench-soak: install dashboard ## ten minutes of load without growth of memory or latency (ARGS="--minutes N")
	@$(BIN)/python -m tests.bench.soak $(ARGS)
	@echo "the dashboard's heap over five minutes"
	@cd spa && npm run --silent bench:soak

build/trackers/.installed: tests/tracking/requirements.txt | $(STAMP)
	@echo "installing the library that the tracker is compared with into build/trackers"
	@rm -rf build/trackers && $(BIN)/python -m venv build/trackers
	@build/trackers/bin/pip install -q --disable-pip-version-check -r tests/tracking/requirements.txt
	@touch $@

bench-tracking: install build/trackers/.installed ## the tracker's IDF1 and MOTA beside a library's; several pods
	@$(BIN)/python -m tests.tracking build/trackers/bin/python

bench-dashboard: install dashboard ## frame rate of the dashboard with 16 streams, in a real browser
	@cd spa && npm run --silent bench

screenshots: install dashboard ## the images in doc/images, from the running system
	@cd spa && npm run --silent screenshots

# The slowest part first: with -j2 the others run beside it.
lint: lint-dashboard lint-scripts lint-python ## style (ruff, shellcheck, shfmt, ESLint, Prettier), vulnerable packages

lint-dashboard: $(NODE_STAMP)
	@cd spa && npm run --silent lint && npm run --silent format:check

lint-scripts: install
	@$(BIN)/shfmt -f $(SCRIPT_FOLDERS) | xargs $(BIN)/shellcheck -x
	@$(BIN)/shfmt $(SCRIPT_STYLE) -d $(SCRIPT_FOLDERS)

lint-python: install
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/python tools/lib/audit.py

types: install ## mypy, strict
	@$(BIN)/mypy

docs: install ## write the generated documents
	@$(BIN)/python -m elastic_inference.base.config_document > doc/configuration.md
	@$(BIN)/python -m elastic_inference.base.shell_variables > tools/lib/variables.sh
	@$(BIN)/python -m elastic_inference.flows.gateway.openapi > $(OPENAPI)
	@$(BIN)/python -m elastic_inference.adapters.catalogue.fast_file > $(CATALOGUE).new && mv $(CATALOGUE).new $(CATALOGUE)
	@if $(MAKE) --silent has-node; then $(MAKE) --no-print-directory $(NODE_STAMP) && cd spa && npm run --silent types; \
	else echo "Node.js 20 or newer is missing: spa/src/api/schema.d.ts stays as it is."; fi
	@$(BIN)/python -m tests.elasticity.report
	@$(BIN)/python -m tests.faults.report
	@$(BIN)/python -m tests.bench.planner --document

clean: ## remove everything generated, except models and videos
	rm -rf $(VENV) $(VENV).lock build dist .demo spa/node_modules apps/*.egg-info \
	  apps/elastic_inference/flows/gateway/dashboard
