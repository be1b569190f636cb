#!/bin/sh
set -eu
# Times a release build from nothing, with the sources already fetched.
target=$(mktemp -d)
trap 'rm -rf "$target"' EXIT
cargo fetch --locked
began=$(date +%s)
CARGO_TARGET_DIR="$target" cargo build --release --locked -p danube
ended=$(date +%s)
echo "clean release build: $((ended - began)) s on $(nproc) cores"
