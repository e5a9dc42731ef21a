#!/usr/bin/env bash
# Says what is missing to build Laneway, before a build fails halfway for it.
set -euo pipefail

minimum=94 # of 1.x: rust-version in Cargo.toml
missing=()

if ! version=$(rustc --version 2>/dev/null) || ! command -v cargo >/dev/null; then
    missing+=("Rust 1.$minimum or newer: install it with rustup (https://rustup.rs)")
elif ! [[ $version =~ ^rustc\ 1\.([0-9]+)\. ]] || [ "${BASH_REMATCH[1]}" -lt "$minimum" ]; then
    missing+=("Rust 1.$minimum or newer, this is $version: rustup update stable")
else
    cargo fmt --version >/dev/null 2>&1 || missing+=("rustfmt: rustup component add rustfmt")
    cargo clippy --version >/dev/null 2>&1 || missing+=("clippy: rustup component add clippy")
fi
# librdkafka and OpenSSL below it, aws-lc and zstd are built from source.
command -v cc >/dev/null || missing+=("a C compiler: apt-get install gcc")
command -v make >/dev/null || missing+=("make: apt-get install make")
command -v perl >/dev/null || missing+=("perl: apt-get install perl")

if [ ${#missing[@]} -gt 0 ]; then
    echo "needed to build Laneway, and not there:" >&2
    printf '  - %s\n' "${missing[@]}" >&2
    exit 1
fi
