#!/usr/bin/env bash
# Installs from Debian 12 what is missing: deps.sh [--build|--test|--peers]
#   --build  to build the library and the command (the default)
#   --test   and to build and run the tests
#   --peers  and to time PyTorch beside us (tools/peers)
# Calls apt-get only when something is missing; needs root or sudo only then.
set -euo pipefail

build=(g++ cmake ninja-build ccache git ca-certificates libcli11-dev libtomlplusplus-dev
       nlohmann-json3-dev libspdlog-dev libfmt-dev libdnnl-dev zlib1g-dev)
tests=(libgtest-dev libgmock-dev librapidcheck-dev python3 python3-numpy python3-torch pkg-config)
# Without these a check is skipped: the format; the libtorch example (44 MB beside python3-torch); the Python wheel.
checks=(clang-format-14 libtorch-dev python3-pip python3-setuptools python3-venv python3-wheel)
peers=(python3-torch libopenblas0-pthread)

wanted=("${build[@]}")
optional=()
case "${1:---build}" in
  --build) ;;
  --test) wanted+=("${tests[@]}"); optional+=("${checks[@]}") ;;
  --peers) wanted+=("${tests[@]}" "${peers[@]}"); optional+=("${checks[@]}") ;;
  -h | --help) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 0 ;;
  *) echo "deps.sh: unknown option '$1'; use --build, --test or --peers" >&2; exit 2 ;;
esac
if [[ $# -gt 1 ]]; then
  echo "deps.sh: one option at a time, got '$*'; --peers holds --test, which holds --build" >&2
  exit 2
fi

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "deps.sh: this is no Debian; install these packages' counterparts yourself: ${wanted[*]}" >&2
  exit 1
fi

# Prints those of its arguments that are not installed.
missing_of() {
  local package
  for package in "$@"; do
    [[ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)" == installed ]] ||
      echo "$package"
  done
}

mapfile -t missing < <(missing_of "${wanted[@]}")
mapfile -t missing_optional < <(missing_of ${optional[@]+"${optional[@]}"})
if [[ ${#missing[@]} -eq 0 && ${#missing_optional[@]} -eq 0 ]]; then
  exit 0
fi

as_root=()
if [[ "$(id -u)" -ne 0 ]]; then
  if command -v sudo >/dev/null; then
    as_root=(sudo)
  elif [[ ${#missing[@]} -eq 0 ]]; then
    echo "deps.sh: going on without ${missing_optional[*]} (neither root nor sudo)"
    exit 0
  else
    echo "deps.sh: neither root nor sudo; have an administrator run:" \
      "apt-get install ${missing[*]}" >&2
    exit 1
  fi
fi

log="$(mktemp)"
trap 'rm -f "$log"' EXIT
apt() {
  ${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive \
    apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120 "$@" >>"$log" 2>&1 </dev/null
}

echo "deps.sh: installing ${missing[*]-} ${missing_optional[*]-}"
# An unrelated source that cannot be read makes `update` fail although Debian's own lists are there, so only
# the installation decides.
apt update || true
if [[ ${#missing[@]} -gt 0 ]] && ! apt install -y --no-install-recommends "${missing[@]}"; then
  tail -n 20 "$log" >&2
  mapfile -t missing < <(missing_of "${missing[@]}")
  echo "deps.sh: apt-get could not install ${missing[*]-}; its last lines are above." \
    "The packages are Debian 12's: check the sources in /etc/apt" >&2
  exit 1
fi
if [[ ${#missing_optional[@]} -gt 0 ]] &&
  ! apt install -y --no-install-recommends "${missing_optional[@]}"; then
  echo "deps.sh: going on without ${missing_optional[*]} (apt-get could not install it)"
fi
