#!/usr/bin/env bash
# What a CUDA runner runs: everything that needs a GPU, one JSON report.
#
#   gpu_check.sh [--out FILE] [--steps LIST]     in a bundle: run it
#   gpu_check.sh --source [--arch A] [--out F]   in a source tree: configure and build here, then run
#   gpu_check.sh --build DIR [--out FILE]        run what was built in DIR before
#   gpu_check.sh --make-bundle DIR [--arch A] [--build DIR2]
#                                                build for another machine (no GPU needed here)
#
# --steps: which of tests,runs,python,bench,sanitizers,experiments (all), where a runner limits how long one command may take.
# --images FOLDER: for the full-size experiments; its folders fashion-mnist, mnist and cifar10 hold the data, what is not
#   there is skipped. --experiment-seconds N: for each of them (6 hours).
# --arch: CUDA architectures, e.g. 90-real (the default of --make-bundle) or 80-real;90-real.
# The report goes to FILE, else to $OUT/gpu_check.json, else to ./gpu_check.json.
# Exit status: 0 everything that ran passed; 1 something failed; 2 wrong use; 77 nothing could be proven.
set -uo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
mode="" arch="" build="" bundle="" out="${OUT:-.}/gpu_check.json"
steps=()

usage() {
  sed -n '2,16s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
}
wrong() {
  echo "gpu_check.sh: $1; see gpu_check.sh --help" >&2
  exit 2
}
while [[ $# -gt 0 ]]; do
  case "$1" in
    -h | --help) usage; exit 0 ;;
    --source) mode=source; shift; continue ;;
    --out | --steps | --arch | --build | --make-bundle | --images | --experiment-seconds) [[ $# -ge 2 && -n $2 ]] || wrong "$1 needs a value" ;;
    *) wrong "unknown option '$1'" ;;
  esac
  case "$1" in
    --out) out="$2" ;;
    --steps) steps+=(--steps "$2") ;;
    --images | --experiment-seconds) steps+=("$1" "$2") ;;
    --arch) arch="$2" ;;
    --build) build="$2" ;;
    --make-bundle) mode=bundle bundle="$2" ;;
  esac
  shift 2
done

command -v python3 >/dev/null || wrong "python3 is needed"

# In a bundle: its programs beside this script.
if [[ -f $here/BUNDLE.json ]]; then
  [[ -z $mode && -z $build ]] || wrong "this is a bundle; it takes --out, --steps, --images and --experiment-seconds only"
  exec python3 -B "$here/gpu/check.py" --bin "$here/bin" --data "$here" --built "$here/BUNDLE.json" --out "$out" \
    ${steps[@]+"${steps[@]}"}
fi

root="$(cd "$here/.." && pwd)"
for tool in /usr/local/cuda/bin; do
  [[ -x $tool/nvcc ]] && PATH="$PATH:$tool"
done
programs=(gpu_rooms_test gpu_test cuthresh-bench cuthresh_command)

# compile DIR CMAKE-OPTIONS...: configures DIR and builds the programs there.
compile() {
  local folder="$1" generator=()
  shift
  command -v ninja >/dev/null && generator=(-G Ninja)
  cmake -S "$root" -B "$folder" ${generator[@]+"${generator[@]}"} -DCMAKE_BUILD_TYPE=Release -DCUTHRESH_CUDA=ON \
    -DCUTHRESH_ONEDNN=OFF -DCUTHRESH_BUILD_BENCH=ON -DCUTHRESH_BUILD_TESTS=ON -DCUTHRESH_BUILD_TOOL=ON \
    ${arch:+"-DCMAKE_CUDA_ARCHITECTURES=$arch"} "$@" &&
    cmake --build "$folder" --parallel "$(nproc)" --target "${programs[@]}"
}

check_build() {
  exec python3 -B "$here/gpu/check.py" --bin "$1/bin" --data "$root" --source "$root" --out "$out" \
    ${steps[@]+"${steps[@]}"}
}

case "$mode" in
  "")
    [[ -n $build ]] || wrong "say --source, --build DIR or --make-bundle DIR"
    check_build "$build"
    ;;
  source)
    # What is not there is named before CMake stops at the first of it.
    missing=()
    for tool in cmake nvcc g++; do
      command -v "$tool" >/dev/null || missing+=("$tool")
    done
    for header in gtest/gtest.h:GoogleTest gmock/gmock.h:GoogleMock rapidcheck.h:RapidCheck CLI/CLI.hpp:CLI11 \
      toml++/toml.h:toml++ fmt/core.h:fmt spdlog/spdlog.h:spdlog nlohmann/json.hpp:nlohmann-json; do
      printf '#include <%s>\n' "${header%%:*}" | g++ -x c++ -std=c++20 -E - >/dev/null 2>&1 || missing+=("${header##*:}")
    done
    if [[ ${#missing[@]} -gt 0 ]]; then
      reason="a source build needs $(printf '%s, ' "${missing[@]}" | sed 's/, $//'), which this machine lacks; install \
them (tools/deps.sh does on Debian 12), or bring a bundle: tools/gpu_check.sh --make-bundle DIR where they are"
      exec python3 -B "$here/gpu/check.py" --nothing "$reason" --source "$root" --out "$out"
    fi
    build="${build:-$root/build/gpu-check}"
    if ! compile "$build"; then
      exec python3 -B "$here/gpu/check.py" --failed "the source build failed" --source "$root" --out "$out"
    fi
    check_build "$build"
    ;;
  bundle)
    arch="${arch:-90-real}"
    build="${build:-$root/build/gpu-bundle}"
    # DT_RPATH instead of DT_RUNPATH: it holds for the libraries of libraries too.
    compile "$build" -DCMAKE_INSTALL_LIBDIR=lib -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON \
      '-DCMAKE_INSTALL_RPATH=$ORIGIN/../lib' -DCMAKE_EXE_LINKER_FLAGS=-Wl,--disable-new-dtags \
      -DCMAKE_SHARED_LINKER_FLAGS=-Wl,--disable-new-dtags || exit 1
    exec python3 -B "$here/gpu/make_bundle.py" --source "$root" --build "$build" --arch "$arch" "$bundle"
    ;;
esac
