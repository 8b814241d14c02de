#!/usr/bin/env bash
# Installs what is missing, builds the command and runs the single-lambda Mackey-Glass job to its target.
# Arguments are passed on to `cuthresh fit`, e.g. tools/quickstart.sh --set run.seed=7 --out runs/seed7
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
build="$root/build/quickstart"
unset LIBRARY_PATH # a toolkit's stub libraries there would be linked before Debian's

mkdir -p "$build"
log="$build/quickstart.log"
: >"$log"

# phase WHAT COMMAND...: one line with the seconds it took; what the command says is shown when it fails.
phase() {
  local what="$1" begin=$SECONDS
  shift
  printf 'quickstart: %s ... ' "$what"
  if ! "$@" >>"$log" 2>&1 </dev/null; then
    printf 'failed after %d s\n' "$((SECONDS - begin))"
    tail -n 40 "$log" >&2
    echo "quickstart: the whole output is in $log" >&2
    exit 1
  fi
  printf '%d s\n' "$((SECONDS - begin))"
}

# sudo may ask for a password, so this phase keeps the terminal.
begin=$SECONDS
"$root/tools/deps.sh" --build
printf 'quickstart: packages ... %d s\n' "$((SECONDS - begin))"
# The CUDA room is built where a GPU can use it, for that GPU only; elsewhere it would be a minute for nothing.
cuda=(-DCUTHRESH_CUDA=OFF)
if capability="$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 | tr -d .)" &&
  [[ $capability =~ ^[0-9]+$ ]]; then
  cuda=(-DCUTHRESH_CUDA=AUTO "-DCMAKE_CUDA_ARCHITECTURES=$capability-real")
fi
# -O1: the loops that matter are compiled with -O3 whatever this says (src/cpu/CMakeLists.txt); the rest, mostly
# parsers of options and files, then takes a good part less time to build, and half again when files are compiled
# in batches. Results are the same bits.
phase configure cmake -S "$root" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_FLAGS_RELEASE="-O1 -DNDEBUG" \
  -DCMAKE_UNITY_BUILD=ON -DCMAKE_UNITY_BUILD_BATCH_SIZE=8 -DCUTHRESH_BUILD_TESTS=OFF -DCUTHRESH_BUILD_BENCH=OFF "${cuda[@]}"
phase build cmake --build "$build" --target cuthresh_command --parallel "$(nproc)"

echo "quickstart: cuthresh fit examples/mackey_glass_single.toml --force${*:+ $*}"
begin=$SECONDS
status=0
"$build/bin/cuthresh" fit "$root/examples/mackey_glass_single.toml" --force "$@" || status=$?
printf 'quickstart: fit ... %d s\n' "$((SECONDS - begin))"
exit "$status"
