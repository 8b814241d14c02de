#!/usr/bin/env bash
# Gets a data set and prints the folder for data.path: get_data.sh NAME [DIR]
#   fashion-mnist  installs Debian's package dataset-fashion-mnist (28x28, 10 classes; MIT licence)
#   mnist          what to have where; nothing is downloaded
#   cifar10        the same
# With DIR the files are linked there, and DIR is the folder. Messages go to standard error, so that
#   path="$(tools/get_data.sh fashion-mnist)"
# works. Calls apt-get only when the package is missing; needs root or sudo only then.
set -euo pipefail

say() { echo "get_data.sh: $*" >&2; }
usage() { sed -n '2,8s/^# \{0,1\}//p' "$0"; }

case "${1:-}" in
  -h | --help) usage; exit 0 ;;
  "") usage >&2; exit 2 ;;
esac
if [[ $# -gt 2 ]]; then
  say "a name and at most one folder, got '$*'"
  exit 2
fi
name="$1"
dir="${2:-}"

case "$name" in
  fashion-mnist) ;;
  mnist)
    say "no Debian package has MNIST. Put train-images-idx3-ubyte, train-labels-idx1-ubyte," \
      "t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte (plain or .gz) into a folder and set" \
      "data.kind = \"idx\" and data.path to it"
    exit 1
    ;;
  cifar10)
    say "no Debian package has CIFAR-10. Put the binary version's data_batch_1.bin to" \
      "data_batch_5.bin and test_batch.bin (plain or .gz) into a folder and set" \
      "data.kind = \"cifar10\" and data.path to it"
    exit 1
    ;;
  *)
    say "unknown data set '$name'; known are fashion-mnist, mnist and cifar10. Other images in IDX" \
      "files need no script: see docs/config.md, [data]"
    exit 2
    ;;
esac

package=dataset-fashion-mnist
files=(train-images-idx3-ubyte train-labels-idx1-ubyte t10k-images-idx3-ubyte
       t10k-labels-idx1-ubyte)

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  say "this is no Debian; get the four files of Fashion-MNIST yourself (${files[*]}, plain or .gz)" \
    "and set data.path to their folder"
  exit 1
fi

installed() {
  [[ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)" == installed ]]
}

if ! installed; then
  as_root=()
  if [[ "$(id -u)" -ne 0 ]]; then
    if ! command -v sudo >/dev/null; then
      say "neither root nor sudo; have an administrator run: apt-get install $package"
      exit 1
    fi
    as_root=(sudo)
  fi
  say "installing Debian's $package (about 30 MB)"
  log="$(mktemp)"
  trap 'rm -f "$log"' EXIT
  apt() {
    ${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive \
      apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120 "$@" >>"$log" 2>&1 </dev/null
  }
  # Only the installation decides: an unrelated source that cannot be read makes `update` fail.
  apt update || true
  if ! apt install -y --no-install-recommends "$package"; then
    tail -n 20 "$log" >&2
    say "apt-get could not install $package; its last lines are above. It is in Debian 12's main:" \
      "check the sources in /etc/apt"
    exit 1
  fi
fi

found="$(dpkg-query -L "$package" | grep -m1 '/train-images-idx3-ubyte\(\.gz\)\?$' || true)"
folder="${found%/*}"
for file in "${files[@]}"; do
  if [[ -z "$found" || (! -e "$folder/$file" && ! -e "$folder/$file.gz") ]]; then
    say "the package $package is installed and lacks $file; install it again:" \
      "apt-get install --reinstall $package"
    exit 1
  fi
done

if [[ -n "$dir" ]]; then
  mkdir -p "$dir"
  for file in "${files[@]}"; do
    for end in "" .gz; do
      [[ -e "$folder/$file$end" ]] && ln -sfn "$folder/$file$end" "$dir/$file$end"
    done
  done
  folder="$(cd "$dir" && pwd)"
fi
say "set data.kind = \"idx\" and data.path = \"$folder\""
echo "$folder"
