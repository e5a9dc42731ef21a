#!/usr/bin/env bash
# Checks licences, banned crates and sources of everything in Cargo.lock with cargo-deny, and known
# vulnerabilities where the database of advisories can be reached. Installs cargo-deny into the
# cache folder, unoptimised since it runs for a second, where that version is not there yet.
set -euo pipefail

version=0.20.2
advisories=https://github.com/rustsec/advisory-db

cd "$(dirname "$0")/.."
cache=${LANEWAY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/laneway}
tools=$cache/tools
deny=$tools/bin/cargo-deny

if [ "$("$deny" --version 2>/dev/null || true)" != "cargo-deny $version" ]; then
    if [ "$(cargo deny --version 2>/dev/null || true)" = "cargo-deny $version" ]; then
        deny=cargo-deny
    else
        echo "deny: installing cargo-deny $version into $tools"
        CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_DEBUG=false CARGO_PROFILE_RELEASE_LTO=off \
            cargo install --quiet --locked --force --root "$tools" cargo-deny --version "=$version"
    fi
fi

"$deny" --log-level warn check bans licenses sources

# Only its reach is asked here; the check itself then fetches what is new.
if timeout 20 git ls-remote --quiet --exit-code "$advisories" HEAD >/dev/null 2>&1; then
    "$deny" --log-level warn check advisories
else
    echo "deny: advisories SKIPPED, $advisories cannot be reached from here"
fi
