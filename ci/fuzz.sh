#!/bin/sh
# Searches for inputs that break the redactor or the reader of a log: first very
# many seeded cases on all cores, then cargo-fuzz, which follows the branches of
# the code. FUZZ_CASES and FUZZ_RUNS say how many; about an hour on two cores.
set -eu

cases=${FUZZ_CASES:-10000000}
runs=${FUZZ_RUNS:-200000}
targets='redact_split redact_oracle joblog_index'
# A case of the log makes files, and takes ten times as long.
log_cases=$((cases / 10))

say() { printf 'fuzz: %s\n' "$*"; }

# seeded CASES PACKAGE TEST...: a filter that matches nothing would "pass".
seeded() {
    count=$1 package=$2
    shift 2
    for name; do
        cargo test --locked --release -q -p "$package" -- "$name" --list 2>/dev/null | grep -q ": test$" ||
            { say "no test $name in $package"; exit 1; }
        say "$count cases: $name"
        DANUBE_FUZZ_CASES=$count cargo test --locked --release -q -p "$package" -- "$name" --nocapture
    done
}

seeded "$cases" danube-redact \
    a_hundred_thousand_inputs_in_any_pieces_give_what_the_oracle_gives \
    a_hundred_thousand_outputs_in_any_pieces_leak_nothing_and_keep_the_rest
seeded "$log_cases" danube-joblog any_index_over_any_files_is_read_to_an_end

if ! cargo +nightly --version >/dev/null 2>&1; then
    say "the rest needs a nightly compiler: rustup toolchain install nightly --profile minimal" >&2
    exit 1
fi
if ! cargo +nightly fuzz --version >/dev/null 2>&1; then
    say "the rest needs cargo-fuzz: cargo install cargo-fuzz --locked" >&2
    exit 1
fi
for target in $targets; do
    # What is new goes apart: to keep an input, move it to fuzz/corpus.
    mkdir -p "fuzz/found/$target"
    say "$runs runs: $target"
    # The log's thread for syncs makes every run look like a leak to be searched.
    cargo +nightly fuzz run "$target" "fuzz/found/$target" "fuzz/corpus/$target" -- \
        "-runs=$runs" -max_len=256 -detect_leaks=0 -print_final_stats=1
done
say "done: $((2 * cases + log_cases)) seeded cases, $runs runs of each of: $targets"
