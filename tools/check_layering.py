#!/usr/bin/env python3
"""Checks that a source line includes only what stands below it (docs/design.md, "The house").

    check_layering.py [ROOT]          (default: the tree this script lies in)

Prints "file:line: include: rule" for every violation. Exit status: 0 none, 1 some, 2 nothing to check.
Tests may look everywhere and are not checked.
"""

import os
import re
import sys

SUFFIXES = (".h", ".hpp", ".cuh", ".inl", ".cpp", ".cc", ".cu")

# Who may include whom inside the tree; a layer may always include itself. src/X is called X.
ABOVE_ROOMS = {"kernels", "include", "backend", "core"}
ALLOWED = {
    "kernels": set(),
    "include": set(),
    "backend": {"kernels", "include"},
    "core": {"kernels", "include", "backend"},
    "cpu": ABOVE_ROOMS,
    "cuda": ABOVE_ROOMS,
    "io": ABOVE_ROOMS,
    "data": ABOVE_ROOMS | {"io"},
    "config": ABOVE_ROOMS | {"io"},
    "nn": ABOVE_ROOMS,
    "optim": ABOVE_ROOMS | {"nn"},
    "search": {"kernels", "include", "core"},
    "capi": ABOVE_ROOMS | {"search"},
    "train": ABOVE_ROOMS | {"io", "data", "config", "nn", "optim", "search"},
    "tool": {"include"},
    "bench": ABOVE_ROOMS | {"io", "data", "config", "nn", "optim", "search", "capi", "train"},
}
RULES = {
    "kernels": "kernels/ includes only kernels/ and the C++ standard library",
    "include": "include/ includes only include/ and the C++ standard library",
    "backend": "src/backend sees only kernels/ and include/",
    "core": "src/core sees only src/backend, kernels/ and include/",
    "cpu": "a room sees backend, core, kernels/ and include/, and never the other room",
    "cuda": "a room sees backend, core, kernels/ and include/, and never the other room",
    "io": "src/io sees backend, core, kernels/ and include/, never a room or what stands above it",
    "data": "src/data sees io, backend, core, kernels/ and include/, never a room or what stands beside it",
    "config": "src/config sees io, backend, core, kernels/ and include/, never a room or what stands beside it",
    "nn": "src/nn sees backend, core, kernels/ and include/, never a room or what stands beside it",
    "optim": "src/optim sees nn, backend, core, kernels/ and include/, never a room or what stands beside it",
    "search": "src/search is a pure state machine: it sees only core, kernels/ and include/",
    "capi": "src/capi sees search, backend, core, kernels/ and include/: no network, no trainer, no room",
    "train": "src/train is device-neutral: it never sees a room",
    "tool": "tools/ uses the public API only: cuthresh/..., its own folder and third parties",
    "bench": "bench/ is device-neutral: it never sees a room",
}
# The one place that knows which rooms were built, and what times a room from inside: the clock of a GPU's stream,
# loops divided among threads as the room's are, and its kernels in shapes that do not ship.
EXEMPT = {("src/core/registry.cpp", "cpu"), ("src/core/registry.cpp", "cuda"), ("bench/ceilings/cpu.cpp", "cpu"),
          ("bench/ceilings/cuda_instruments.cpp", "cuda"), ("bench/core/cuda_graph.hpp", "cuda"),
          ("bench/cases/step_shapes.cu", "cuda")}

STANDARD_ONLY = {"kernels", "include"}
ONEDNN_FILES = ("src/cpu/gemm_onednn.cpp", "src/cpu/conv_onednn.cpp", "src/cpu/conv_stage.hpp")
ONEDNN = re.compile(r"(oneapi/)?dnnl")
CUDA = re.compile(r"(cuda|cublas|cudnn|cufft|curand|cusparse|cusolver|nvrtc|nccl|nvtx|nvToolsExt|thrust/|cub/|"
                  r"device_launch_parameters|cooperative_groups|driver_types|vector_types|mma\.h)")
CUDA_INTEROP = "include/cuthresh/cuda.hpp"
TOML = re.compile(r"(toml\+\+|tomlplusplus)")

STANDARD = set("""
algorithm any array atomic barrier bit bitset charconv chrono codecvt compare complex concepts condition_variable
coroutine deque exception execution filesystem format forward_list fstream functional future initializer_list iomanip
ios iosfwd iostream istream iterator latch limits list locale map memory memory_resource mutex new numbers numeric
optional ostream queue random ranges ratio regex scoped_allocator semaphore set shared_mutex source_location span
sstream stack stdexcept stop_token streambuf string string_view strstream syncstream system_error thread tuple
type_traits typeindex typeinfo unordered_map unordered_set utility valarray variant vector version cassert cctype
cerrno cfenv cfloat cinttypes climits clocale cmath csetjmp csignal cstdarg cstddef cstdint cstdio cstdlib cstring
ctime cuchar cwchar cwctype assert.h ctype.h errno.h fenv.h float.h inttypes.h limits.h locale.h math.h setjmp.h
signal.h stdarg.h stddef.h stdint.h stdio.h stdlib.h string.h time.h uchar.h wchar.h wctype.h
""".split())

INCLUDE = re.compile(r"^\s*#\s*(?:include|include_next|import)\b\s*(.*)$")
NAMED = re.compile(r"(<([^>]+)>|\"([^\"]+)\")")
COMMENT_OR_STRING = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.DOTALL)


def includes(text):
    """(line number, name, quoted) of every #include outside comments; name None when it is a macro."""
    def blank(match):
        found = match.group(0)
        return found if found.startswith('"') else re.sub(r"[^\n]", " ", found)

    # A directive may go on after a backslash; joining keeps the line count by moving the newlines behind it.
    text = re.sub(r"((?:[^\n]*\\\n)+)([^\n]*)",
                  lambda m: m.group(1).replace("\\\n", "") + m.group(2) + "\n" * m.group(1).count("\\\n"), text)
    for number, line in enumerate(COMMENT_OR_STRING.sub(blank, text).split("\n"), 1):
        match = INCLUDE.match(line)
        if match:
            named = NAMED.match(match.group(1))
            if named:
                yield number, named.group(2) or named.group(3), named.group(3) is not None
            else:
                yield number, None, False


def layer_of(path):
    """The layer of a path relative to the root, or None where no rule holds (third parties, tests)."""
    parts = path.split("/")
    if len(parts) < 2:
        return None
    if parts[0] in ("kernels", "include", "bench"):
        return parts[0]
    if parts[0] == "tools":
        return "tool"
    if parts[0] == "src":
        return parts[1] if len(parts) > 2 else "src"
    return "tests" if parts[0] == "tests" else None


def resolve(root, source, name, quoted):
    """The path of an included file relative to the root, or None for one from outside. A file that does not
    exist is placed by its first folder, so that a rule is not dodged by a missing file."""
    bases = ([os.path.dirname(source)] if quoted else []) + ["", "src", "include"]
    for base in bases:
        path = os.path.normpath(os.path.join(base, name)).replace(os.sep, "/")
        if not path.startswith("..") and os.path.isfile(os.path.join(root, path)):
            return path
    name = os.path.normpath(name).replace(os.sep, "/")
    while name.startswith("../"):
        name = name[3:]
    first = name.split("/")[0]
    if "/" not in name:
        return None
    if first == "cuthresh":
        return "include/" + name
    if first in ("kernels", "include", "src", "bench", "tools", "tests"):
        return name
    return "src/" + name if first in ALLOWED else None


def violations_of(root, source):
    """(line, include, rule) of one file."""
    layer = layer_of(source)
    with open(os.path.join(root, source), encoding="utf-8", errors="replace") as f:
        found = list(includes(f.read()))
    for line, name, quoted in found:
        if name is None:
            yield line, "(a macro)", "an include is written out, so that it can be checked"
            continue
        if layer not in ALLOWED:
            yield line, name, f"src/{layer} is no layer that tools/check_layering.py knows; give it its rule"
            continue
        target = resolve(root, source, name, quoted)
        below = layer_of(target) if target else None
        if target:
            if below != layer and below not in ALLOWED[layer] and (source, below) not in EXEMPT:
                yield line, name, RULES[layer]
            elif layer == "tool" and below == "tool" and not same_program(source, target):
                yield line, name, RULES[layer]
            elif target.startswith("kernels/block/") and layer not in ("kernels", "cuda") and (source, "cuda") not in EXEMPT:
                yield line, name, "CUDA kernels (kernels/block) are for src/cuda and tests"
            continue
        if source.startswith("kernels/block/") and re.match(r"(cub/|cooperative_groups)", name):
            yield line, name, "kernels in kernels/block use no cub and no cooperative_groups"
        elif ONEDNN.match(name):
            if source not in ONEDNN_FILES:
                yield line, name, f"only {' and '.join(ONEDNN_FILES)} include oneDNN"
        elif CUDA.match(name):
            if layer != "cuda" and source != CUDA_INTEROP and (source, "cuda") not in EXEMPT:
                yield line, name, f"CUDA headers belong to src/cuda and {CUDA_INTEROP}"
        elif layer in STANDARD_ONLY and name not in STANDARD:
            yield line, name, RULES[layer]


def same_program(source, target):
    """Whether two files of tools/ belong to one folder tools/X."""
    return source.split("/")[:2] == target.split("/")[:2] if len(source.split("/")) > 2 else "/" not in target[6:]


def sources(root):
    for top in ("kernels", "include", "src", "bench", "tools"):
        for folder, folders, files in os.walk(os.path.join(root, top)):
            folders.sort()
            for name in sorted(files):
                if name.endswith(SUFFIXES):
                    yield os.path.relpath(os.path.join(folder, name), root).replace(os.sep, "/")


def check(root):
    """(file, line, include, rule) of every violation in a tree, and the number of files looked at."""
    found, toml_users, count = [], [], 0
    for source in sources(root):
        count += 1
        found += [(source, *violation) for violation in violations_of(root, source)]
        with open(os.path.join(root, source), encoding="utf-8", errors="replace") as f:
            toml_users += [(source, line, name) for line, name, _ in includes(f.read()) if name and TOML.match(name)]
    files = sorted({source for source, _, _ in toml_users})
    if len(files) > 1:
        found += [(source, line, name, "only one file includes toml++, here " + " and ".join(files))
                  for source, line, name in toml_users]
    return found, count


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    found, count = check(root)
    if count == 0:
        print(f"{root}: no source files under kernels, include, src, bench or tools; give the root of the tree")
        return 2
    for source, line, name, rule in found:
        print(f"{source}:{line}: {name}: {rule}")
    print(f"{count} files checked, {len(found)} violation{'' if len(found) == 1 else 's'}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
