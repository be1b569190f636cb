# The short names of what people do here. `make` lists them.

CARGO ?= cargo
FAULT_ROUNDS ?= 200
FAULTS ?= faults
FAULT_TABLE ?= target/faults.md
FUZZ_CASES ?= 10000000
FUZZ_RUNS ?= 200000
CONTRACT_CASES ?= 300
CONTRACT_SEED ?= $(shell date +%s)

.DEFAULT_GOAL := help
.PHONY: help run test lint bench bench-joblog bench-telemetry bench-pages bench-playbooks bench-profile bench-queue bench-build faults contract fuzz miri deps screenshots log-view

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Start a server with an example pipeline, no configuration needed
	$(CARGO) run --release -- master --demo

test: deps ## Everything CI runs: format, lints, tidy, docs, all tests
	$(CARGO) --locked xtask ci

lint: ## The quick part of `test`: no test is run
	$(CARGO) xtask lint
	@if command -v cargo-deny >/dev/null; then cargo-deny check; else echo "lint: cargo-deny is not installed, its checks are left out"; fi

bench: ## Measure throughput and latency beside the bare loops they can't beat
	$(CARGO) build --release -p danube
	$(CARGO) run --release -p danube-bench -- target/release/danube

bench-joblog: ## Measure the job log's path beside its floors (BENCH_ARGS=--quick)
	$(CARGO) build --release -p danube
	$(CARGO) run --release -p danube-bench --bin danube-bench-joblog -- $(BENCH_ARGS)

bench-telemetry: ## Measure metrics, log lines and what telemetry costs a job (BENCH_ARGS=--quick)
	$(CARGO) build --release -p danube
	$(CARGO) run --release -p danube-bench --features peers --bin danube-bench-telemetry -- $(BENCH_ARGS)

bench-queue: ## Measure submits and jobs by way of Redis beside raw XADD (BENCH_ARGS=--quick)
	$(CARGO) build --release -p danube
	$(CARGO) run --release -p danube-bench --bin danube-bench-queue -- target/release/danube $(BENCH_ARGS)

bench-profile: ## Measure what a profile costs a server while it is taken (BENCH_ARGS=--quick)
	$(CARGO) build --release -p danube
	$(CARGO) run --release -p danube-bench --bin danube-bench-profile -- target/release/danube $(BENCH_ARGS)

bench-pages: ## Measure the pages with a million jobs, and a log of ten million lines (BENCH_ARGS=--quick)
	$(CARGO) build --release -p danube
	$(CARGO) run --release -p danube-bench --bin danube-bench-pages -- target/release/danube $(BENCH_ARGS)

bench-playbooks: deps ## Measure empty playbooks beside bare ansible-playbook, and 1,000 on 4 workers (BENCH_ARGS=--quick)
	$(CARGO) build --release -p danube
	$(CARGO) run --release -p danube-bench --bin danube-bench-playbooks -- $(BENCH_ARGS)

bench-build: ## Time a clean release build, in a directory of its own
	./ci/bench-build.sh

# The list is asked for first: a filter that matches nothing would "pass". The table is printed however it went.
faults: deps ## Kill, starve and corrupt a server for long, and print a table (FAULT_ROUNDS=200 FAULTS=faults::power)
	@$(CARGO) test -p danube --test it -- $(FAULTS) --include-ignored --list | grep -q ': test$$' || { echo "faults: no such tests in -p danube --test it"; exit 1; }
	@printf '%s\n' '| fault | test | rounds | result | figure |' '| --- | --- | --- | --- | --- |' > $(FAULT_TABLE)
	@DANUBE_FAULT_TABLE=$(abspath $(FAULT_TABLE)) DANUBE_FAULT_ROUNDS=$(FAULT_ROUNDS) $(CARGO) test -p danube --test it -- $(FAULTS) --include-ignored --nocapture --test-threads=1; \
		outcome=$$?; cat $(FAULT_TABLE); exit $$outcome

screenshots: deps ## Draw each page in light and dark, desktop and phone, into docs/screenshots
	@mkdir -p docs/screenshots
	DANUBE_SCREENSHOTS=$(abspath docs/screenshots) $(CARGO) test -p danube --test it -- browser::looks

log-view: deps ## Move through and search a log of ten million lines in a browser
	DANUBE_LOG_LINES=10000000 $(CARGO) test -p danube --test it -- browser::logs::a_log_of_any_length --nocapture

contract: deps ## Call the API for long as its description says, and as it doesn't (CONTRACT_CASES=300 CONTRACT_SEED=…)
	DANUBE_CONTRACT_CASES=$(CONTRACT_CASES) DANUBE_CONTRACT_SEED=$(CONTRACT_SEED) $(CARGO) test -p danube --test it -- peers::contract --nocapture

fuzz: deps ## Search for inputs that break the redactor or the log (FUZZ_CASES=10000000 FUZZ_RUNS=200000)
	@FUZZ_CASES=$(FUZZ_CASES) FUZZ_RUNS=$(FUZZ_RUNS) sh ci/fuzz.sh

# Property tests of thousands of cases would take days there.
miri: ## Run the redactor's unit tests under Miri, which sees undefined behaviour
	@$(CARGO) +nightly miri --version >/dev/null 2>&1 || { echo "miri: not installed; rustup toolchain install nightly --component miri"; exit 1; }
	MIRIFLAGS=-Zmiri-disable-isolation DANUBE_FUZZ_CASES=50 $(CARGO) +nightly miri test -p danube-redact --lib -- --skip any_split --skip single_bytes --skip random_bytes --skip user::

deps: ## Install what the tests need, where it is missing
	@sh ci/deps.sh
