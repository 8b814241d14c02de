#!/usr/bin/env bash
# Checks that the C++ and CUDA sources are formatted as .clang-format says: check_format.sh [--fix]
# Exit status: 0 they are, 1 some are not (each is named), 77 skipped for want of clang-format 14.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"

# Other versions format some constructs differently, so only 14 (Debian 12's) decides.
formatter=""
for name in clang-format-14 clang-format; do
  if command -v "$name" >/dev/null && "$name" --version | grep -q 'version 14\.'; then
    formatter="$name"
    break
  fi
done
if [[ -z $formatter ]]; then
  echo "skipped: no clang-format 14 here; tools/deps.sh --test installs it"
  exit 77
fi

folders=()
for folder in kernels include src tests tools bench examples; do
  [[ -d $folder ]] && folders+=("$folder")
done
mapfile -d '' -t files < <(find "${folders[@]}" -type f \
  \( -name '*.hpp' -o -name '*.cpp' -o -name '*.inl' -o -name '*.cuh' -o -name '*.cu' -o -name '*.h' -o -name '*.c' \) -print0 | sort -z)
if [[ ${#files[@]} -eq 0 ]]; then
  echo "no source files under $root" >&2
  exit 1
fi

case "${1:-}" in
  "") ;;
  --fix) "$formatter" -i --style=file "${files[@]}"; echo "${#files[@]} files formatted"; exit 0 ;;
  *) echo "check_format.sh: unknown option '$1'; use --fix or nothing" >&2; exit 2 ;;
esac

bad=0
for file in "${files[@]}"; do
  if ! "$formatter" --style=file --dry-run -Werror "$file" >/dev/null 2>&1; then
    echo "$file: not formatted"
    bad=$((bad + 1))
  fi
done
if [[ $bad -gt 0 ]]; then
  echo "$bad of ${#files[@]} files are not formatted; run tools/check_format.sh --fix"
  exit 1
fi
echo "${#files[@]} files are formatted"
