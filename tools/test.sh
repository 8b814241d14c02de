#!/usr/bin/env bash
# Installs what is missing, builds, and runs all tests through CTest: test.sh [--fast|--sanitizers]
#   (nothing)     the `ci` preset, then AddressSanitizer with UBSan, then ThreadSanitizer
#   --fast        the `ci` preset only
#   --sanitizers  the sanitizers only
set -uo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
presets=(ci asan tsan)
case "${1:-}" in
  "") ;;
  --fast) presets=(ci) ;;
  --sanitizers) presets=(asan tsan) ;;
  -h | --help) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 0 ;;
  *) echo "test.sh: unknown option '$1'; use --fast or --sanitizers, or nothing for all" >&2; exit 2 ;;
esac
if [[ $# -gt 1 ]]; then
  echo "test.sh: one option at a time, got '$*'" >&2
  exit 2
fi
cd "$root" || exit 1

unset LIBRARY_PATH # a toolkit's stub libraries there would be linked before Debian's
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}"

summary=()
failed=0

# phase WHAT COMMAND...: runs it, notes the outcome and the seconds for the summary.
phase() {
  local what="$1" begin=$SECONDS word=passed status=0
  shift
  printf '\n== %s: %s\n' "$what" "$*"
  "$@" || status=$?
  if [[ $status -ne 0 ]]; then
    word=FAILED
    failed=1
  fi
  summary+=("$(printf '%-16s %-7s %5d s' "$what" "$word" "$((SECONDS - begin))")")
  printf '== %s: %s after %d s\n' "$what" "$word" "$((SECONDS - begin))"
  return "$status"
}

finish() {
  printf '\n== summary\n'
  printf '%s\n' "${summary[@]}"
  printf '%-16s %-7s %5d s\n' total "$([[ $failed -eq 0 ]] && echo passed || echo FAILED)" "$SECONDS"
  exit "$failed"
}

phase packages tools/deps.sh --test || finish
for preset in "${presets[@]}"; do
  run=()
  # g++ 12's ThreadSanitizer cannot map its shadow where the kernel randomises addresses by more than 28
  # bits (vm.mmap_rnd_bits); setarch -R turns that off for the tests, where the machine lets it.
  if [[ $preset == tsan ]] && setarch "$(uname -m)" -R true 2>/dev/null; then
    run=(setarch "$(uname -m)" -R)
  fi
  # A preset that does not build does not keep the others from running.
  phase "$preset configure" cmake --preset "$preset" &&
    phase "$preset build" ${run[@]+"${run[@]}"} cmake --build --preset "$preset" --parallel "$(nproc)" &&
    phase "$preset tests" ${run[@]+"${run[@]}"} ctest --preset "$preset" --no-tests=error --output-on-failure -j2
done
finish
