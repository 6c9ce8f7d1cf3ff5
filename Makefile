# Everything runs in .venv, which `make` sets up itself. Needs Python 3.11 to 3.13.
PYTHON ?= $(firstword $(foreach v,python3.13 python3.12 python3.11 python3,$(if $(shell $(v) -c 'import sys,venv; sys.exit(not (3,11) <= sys.version_info[:2] <= (3,13))' 2>/dev/null && echo ok),$(v))))
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test test-quick test-reliability test-s3 fuzz lint audit docs bench bench-recordings bench-containment bench-faults bench-bounds bench-large bench-diagnosis bench-throughput bench-scale eval lock up clean

help: ## Show the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# uv needs a fraction of pip's time. It is pinned in the lock like everything else, and installs the same files as pip.
# Where it can't be had, or reaches no index (it reads no pip.conf), pip does it all; `make UV=` skips uv.
UV ?= $(BIN)/uv
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps
$(INSTALLED): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "No Python 3.11, 3.12 or 3.13 was found. Install one, or name it: make PYTHON=/path/to/python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the locked dependencies (once) ..."
	@{ test -n "$(UV)" && awk '/^[^ ]/ {is_uv = /^uv==/} is_uv' requirements.lock > $(VENV)/uv.txt \
		&& $(PIP) --require-hashes -r $(VENV)/uv.txt \
		&& $(UV) pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r requirements.lock \
		&& $(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .; } \
		|| { echo "Installing by pip, which takes a minute or two ..." && $(PIP) --require-hashes -r requirements.lock && $(PIP) --no-build-isolation -e .; }
	@touch $@

# uv leaves compiling to whoever imports first. Confined processes and services may write nothing, and would compile anew each
# time: so all packages are compiled, which takes 15 s. A file that doesn't compile stops nothing: nobody may ever import it.
$(READY): $(INSTALLED)
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null 2>&1 || true
	@touch $@

# A demo doesn't wait for that: its processes share what each compiles, also where the environment forbids to write it.
demo: $(INSTALLED) ## Run the whole platform on a simulated fleet (KEEP=1 leaves the UI running)
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/argus demo $(if $(KEEP),--keep)

up: $(READY) ## Run the platform
	@$(BIN)/argus up

test: $(READY) ## Run all tests, two files at a time; a tier whose server is not installed is skipped and says so
	$(BIN)/python -m pytest --hypothesis-profile=repeatable -n 2 --dist loadfile --max-worker-restart=0

test-quick: $(READY) ## Only the tests that need no daemon and no S3 gateway
	$(BIN)/python -m pytest --hypothesis-profile=repeatable -m "not integration and not reliability and not s3 and not browser"

test-reliability: $(READY) ## Break everything that can break, and write docs/reliability.md (as root: disks and memory too)
	ARGUS_TEST_RELIABILITY=full $(BIN)/python -m pytest -m "reliability or reliability_full" tests/reliability tests/deploy

test-s3: $(READY) ## The bucket and access tests on a Ceph RADOS gateway
	$(BIN)/python -m pytest -m s3 tests/s3

fuzz: $(READY) ## Fuzz decoders and fields: SECONDS_EACH for each TARGET, JOBS side by side (all of them, as many as cores)
	@$(BIN)/python -m fuzz $(TARGET) --seconds $(or $(SECONDS_EACH),300) $(if $(JOBS),--jobs $(JOBS))

lint: $(READY) ## ruff, pyright, import-linter and Dagster's own check
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports
	@home=$$(mktemp -d) && touch $$home/dagster.yaml && DAGSTER_HOME=$$home $(BIN)/dagster definitions validate -w workspace.yaml; status=$$?; rm -rf $$home; exit $$status

audit: $(READY) ## Ask whether the locked dependencies have known vulnerabilities (ARGUS_AUDIT=required fails where nobody answers)
	$(BIN)/python scripts/audit.py requirements.lock

docs: $(READY) ## Make the documents that are made from the code, and what deploy/ says as dagster.yaml does
	$(BIN)/python -m argus_assets.documentation docs
	$(BIN)/python scripts/deploy_files.py

bench: $(READY) ## Measure drop to diagnosis and upload memory
	$(BIN)/python -m benchmarks.spine

bench-throughput: $(READY) ## Measure many batches against plain Dagster: CPU, batches a minute, latency, memory (15 minutes)
	$(BIN)/python -m benchmarks.throughput

bench-scale: $(READY) ## Measure up to 20,000 live partitions, and write the figures of docs/scale.md (5 minutes)
	$(BIN)/python -m benchmarks.scale --to docs

bench-recordings: $(READY) ## Measure our readers against the formats' own libraries (writes the session once)
	$(BIN)/python -m benchmarks.recordings

bench-containment: $(READY) ## Measure what reading in confined processes costs, with and without in one run
	$(BIN)/python -m benchmarks.containment

bench-faults: $(READY) ## Measure the fault detectors against parsing and against loops over single frames
	$(BIN)/python -m benchmarks.faults

bench-diagnosis: $(READY) ## Measure evidence, retrieval and answer with 1,000 and 100,000 cases (7 minutes)
	$(BIN)/python -m benchmarks.diagnosis

eval: $(READY) ## Score diagnoses on drives whose cause is known, simulated and documented (LLM=1, RECORD=1, SEALED=1)
	$(BIN)/python -m evals simulated --split $(or $(SPLIT),test) $(if $(LLM),--llm --max-calls $(or $(MAX_CALLS),200)) $(if $(RECORD),--record)
	$(BIN)/python -m evals stories $(if $(RECORD),--record)
	$(BIN)/python -m evals model $(if $(LLM),--llm --max-calls $(or $(MAX_CALLS),200))
	$(if $(SEALED),$(BIN)/python -m evals stories --split sealed --open-sealed $(if $(RECORD),--record))

bench-bounds: $(READY) ## Take every hostile recording of 5 MB to the page: seconds, memory, disk (25 minutes; WRITE=1 writes docs, ONLY=name)
	$(BIN)/python -m benchmarks.bounds $(if $(ONLY),--only $(ONLY)) $(if $(WRITE),--write docs)

bench-large: $(READY) ## Parse a recording of 20 GB and print the peak of memory
	$(BIN)/python -m benchmarks.large

lock: $(READY) ## Resolve the dependencies anew, with hashes, for Python 3.11 to 3.13
	$(BIN)/uv pip compile --universal --generate-hashes --python-version 3.11 --all-extras --no-emit-index-url --no-header --upgrade -q pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --universal --generate-hashes --python-version 3.11 --extra celery --extra kubernetes -c requirements.lock --no-emit-index-url --no-header --no-annotate -q pyproject.toml deploy/build.in -o deploy/requirements.lock

clean: ## Remove the environment and caches
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache .bench .fuzz
