#!/usr/bin/env python3
"""Compiles the kernels as they ship, for sm_80, sm_90 and sm_100, and reads ptxas' report and the PTX.

usage: check_codegen.py SOURCE_DIR [--nvcc FILE] [--jobs N] [--list]

Every kernel must be in the table below and keep to it: no spill, no local memory, no more registers than its
ceiling, 16-byte loads and stores in the bodies that move data. A row without a kernel is a mistake too. Exit status:
0 all hold, 1 some do not, 77 without nvcc (CTest's skip).
"""
import argparse
import concurrent.futures
import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ARCHITECTURES = ("80", "90", "100")
SOURCES = ("tests/codegen/variants.cu", "src/cuda/control.cu", "src/cuda/conv.cu", "src/cuda/dense.cu", "src/cuda/prox.cu", "src/cuda/loss.cu",
           "src/cuda/select.cu", "src/cuda/small_network.cu", "src/cuda/random.cu", "src/cuda/rates.cu", "src/cuda/gather.cu",
           "src/cuda/images.cu", "src/cuda/norm.cu",
           "src/cuda/pointwise.cu", "src/cuda/pool_layer.cu")
SKIP = 77


@dataclasses.dataclass(frozen=True)
class Row:
    """What a kernel keeps to. in_flight: 16-byte loads that follow each other with no store and no branch between;
    loads, stores: 16-byte ones at all."""
    pattern: str  # of the mangled name, from the kernel's own name on
    registers: int
    in_flight: int = 0
    loads: int = 0
    stores: int = 0


# 64 registers let 1024 threads share a multiprocessor, 80 let 768. The first row that matches counts. A step's extras
# stand before its threads a block, ELi8ELj256: zeros skipped.
TABLE = (
    # What is not zero alone: 80 registers, with which 768 threads have 96 KiB in flight.
    Row(r"prox_step_kernelIfNS_13ThresholdStepIfEE.*ELi8ELj256", 80, in_flight=4, stores=5),
    Row(r"prox_step_kernelIfNS_9PlainStepIfEE.*ELi8ELj256", 80, in_flight=8, stores=5),
    Row(r"prox_step_kernel.*ELi8ELj256", 80, in_flight=5, stores=6),
    # The threshold alone, and the second half of an exact step, read w only.
    Row(r"prox_step_kernel.*ThresholdStep.*ELi[04]ELj256", 64, in_flight=4, stores=4),
    # The support's bits are read between the loads of w and g and the stores.
    Row(r"prox_step_kernelIf.*FrozenSupport", 64, in_flight=6, stores=5),
    Row(r"control_kernel", 64),
    Row(r"copy_counts_kernel", 32),
    Row(r"keep_(begin|lambda|ties)_kernel", 48),
    Row(r"share_begin_kernel", 48),
    Row(r"share_pick_kernel", 128),  # two blocks a multiprocessor
    Row(r"support_kernel", 64),
    Row(r"refresh_master_kernel", 40),
    # float32: eight loads, with momentum six of three arrays; the certificate's state leaves 3 or 4.
    Row(r"prox_step_kernelIfNS_9PlainStepIfEE.*ELi0ELj256", 64, in_flight=8, stores=5),
    Row(r"prox_step_kernelIf.*ELi0ELj256", 64, in_flight=6, stores=6),
    Row(r"prox_step_kernelIf.*ELi[123]ELj256", 64, in_flight=3, stores=2),
    # float64 has half as many entries a load. 16-bit weights: a unit of gradients is two of master copies and momentum.
    Row(r"prox_step_kernelIdNS_9PlainStepIdEE.*ELi0ELj256", 80, in_flight=8, stores=5),
    Row(r"prox_step_kernelId.*ELi0ELj256", 80, in_flight=6, stores=6),
    Row(r"prox_step_kernel.*PlainStep.*ELi0ELj256", 80, in_flight=6, stores=6),
    Row(r"prox_step_kernel.*ELi0ELj256", 80, in_flight=5, stores=5),
    Row(r"prox_step_kernel.*ELi[123]ELj256", 80, in_flight=3, stores=2),
    Row(r"count_nonzero_kernel", 64, in_flight=8),
    Row(r"kkt_residual_kernel", 64, in_flight=4),
    Row(r"select_count_kernel", 64, loads=4),
    Row(r"select_pick_kernel", 80),
    Row(r"bias_activation_kernelINS_14(Gelu|Silu)Activation", 64, loads=3, stores=4),
    Row(r"bias_activation_kernel", 64, loads=3, stores=2),
    # dz is dy where the derivative is 1: nothing is stored.
    Row(r"activation_backward_kernelINS_18IdentityActivation", 64, loads=2),
    Row(r"activation_backward_kernelINS_14(Gelu|Silu)Activation", 64, loads=2, stores=1),
    Row(r"activation_backward_kernel", 64, loads=4, stores=2),
    Row(r"conv_filter_(gradient_)?kernel", 64),
    Row(r"squared_error_gradient_kernel", 64, loads=2, stores=1),
    Row(r"squared_error_sum_kernel", 40),
    Row(r"softmax_narrow_kernel", 64),
    Row(r"softmax_wide_kernel", 64),
    Row(r"gather_images_kernel", 64, stores=2),
    Row(r"set_values_kernel", 32),
    Row(r"follow_rates_kernel", 32),
    Row(r"gather_rows_kernel", 40, loads=1, stores=1),
    Row(r"initialise_uniform_kernel", 32, stores=1),
    # Batch normalisation: the loads of a loop over rows, and those of a channel's constants.
    Row(r"batch_(mean|deviation)_kernel", 64, loads=1),
    Row(r"norm_sums_kernelINS_18IdentityActivation", 64, in_flight=2, loads=4),
    Row(r"norm_sums_kernel", 64, in_flight=3, loads=3, stores=1),
    Row(r"norm_gradient_kernel", 64, in_flight=2, loads=4, stores=2),
    Row(r"normalise_kernelINS_14(Gelu|Silu)Activation", 64, loads=5, stores=4),
    Row(r"normalise_kernel", 64, loads=5, stores=2),
    Row(r"pointwise_kernelINS_14(Gelu|Silu)Activation", 64, in_flight=2, loads=6, stores=8),
    Row(r"pointwise_kernel", 80, in_flight=2, loads=6, stores=4),
    Row(r"pointwise_backward_kernel", 64, in_flight=2, loads=4, stores=1),
    Row(r"dropout_kernel", 32, loads=1, stores=1),
    Row(r"transpose_kernel", 48),
    # Two blocks of 256 threads a multiprocessor: 32 or 16 sums, and 32 or 64 registers of loads for two iterations.
    Row(r"small_network_pass_kernel", 128, in_flight=4, loads=16, stores=4),
    Row(r"small_network_step_kernel", 128, in_flight=8, loads=16),
    # 80: three 64-bit indices of an image and the geometry of two axes.
    Row(r"(max|average)_pool_(backward_)?kernel", 80, loads=1, stores=1),
)


@dataclasses.dataclass
class Kernel:
    name: str
    architecture: str
    registers: int = -1
    stack: int = -1
    spills: int = -1
    loads: int = 0
    stores: int = 0
    in_flight: int = 0
    scalar: int = 0  # 32- and 64-bit accesses to global memory

    @property
    def short(self):
        """The mangled name from the kernel's own name on."""
        found = re.search(r"\d((?:[a-z]+_)+kernel.*)", self.name)
        return found.group(1) if found else self.name


def read_ptxas(text):
    """{(mangled name, architecture): Kernel} from `ptxas -v`."""
    kernels = {}
    current = None
    for line in text.splitlines():
        if found := re.search(r"Compiling entry function '(\w+)' for '(\w+)'", line):
            current = kernels[found.groups()] = Kernel(*found.groups())
        elif current is None:
            continue
        elif found := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            stack, stores, loads = map(int, found.groups())
            # Functions that were not inlined are reported under the kernel too: all count.
            current.stack = max(current.stack, stack)
            current.spills = max(current.spills, stores + loads)
        elif found := re.search(r"Used (\d+) registers", line):
            current.registers = int(found.group(1))
    return kernels


# 128 bits: four words, two double words, or one of b128.
WIDE = r"(?:\.v4\.[ubsf]32|\.v2\.[ubsf]64|\.b128)"


def read_ptx(text):
    """{mangled name: (loads, stores, in flight, narrow accesses)} of 16-byte accesses to global memory."""
    bodies = {}
    for found in re.finditer(r"\.entry (\w+)\(.*?\n\{(.*?)\n\}", text, re.S):
        loads = stores = narrow = run = longest = 0
        for line in found.group(2).splitlines():
            if re.search(r"\bld\.global(?:\.\w+)*?" + WIDE, line):
                loads += 1
                run += 1
                longest = max(longest, run)
            elif re.search(r"\bst\.global(?:\.\w+)*?" + WIDE, line):
                stores += 1
                run = 0
            elif re.search(r"\b(?:ld|st)\.global", line):
                narrow += 1
                run = 0
            elif re.match(r"\s*(\$\w+:|(@!?%p\d+\s+)?bra|bar)", line):
                run = 0
        bodies[found.group(1)] = (loads, stores, longest, narrow)
    return bodies


def complaints(kernels, table, sources):
    """What is wrong, a line each. `sources`: whether rows without a kernel count."""
    lines = []
    used = set()
    for kernel in kernels:
        what = f"sm_{kernel.architecture.removeprefix('sm_')} {kernel.short}"
        row = next((row for row in table if re.match(row.pattern, kernel.short)), None)
        if row is None:
            lines.append(f"{what}: not in the table of check_codegen.py; add what it keeps to")
            continue
        used.add(row)
        if kernel.spills != 0:
            lines.append(f"{what}: spills {kernel.spills} bytes")
        if kernel.stack != 0:
            lines.append(f"{what}: {kernel.stack} bytes of local memory")
        if not 0 < kernel.registers <= row.registers:
            lines.append(f"{what}: {kernel.registers} registers, at most {row.registers}")
        for name in ("in_flight", "loads", "stores"):
            if getattr(kernel, name) < getattr(row, name):
                lines.append(f"{what}: 16-byte accesses, {name}: {getattr(kernel, name)}, at least {getattr(row, name)}")
    if sources:
        lines += [f"no kernel matches the table's row {row.pattern}" for row in table if row not in used]
    return lines


def compile_kernels(nvcc, root, source, folder, architectures=ARCHITECTURES, strict=True):
    """The kernels of one file, with what ptxas and the PTX say of them."""
    folder = pathlib.Path(folder) / pathlib.Path(source).stem
    folder.mkdir()
    # As the build compiles them (cmake/CuthreshOptions.cmake, CuthreshWarnings.cmake); with `strict` no warning passes.
    command = [nvcc, "-std=c++20", "-O3", "-DNDEBUG", "-fmad=false", "-fatbin", "-Xptxas", "-v",
               *(["-Werror", "all-warnings", "-Xptxas", "--warn-on-spills,-Werror"] if strict else []),
               "-I", root, "-I", os.path.join(root, "include"), "-I", os.path.join(root, "src"),
               "--keep", "--keep-dir", str(folder), "-o", str(folder / "out.fatbin"), source]
    for architecture in architectures:
        command += ["-gencode", f"arch=compute_{architecture},code=sm_{architecture}"]
    run = subprocess.run(command, cwd=root, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if run.returncode != 0:
        raise RuntimeError(f"{source} does not compile\n{run.stdout}")
    kernels = read_ptxas(run.stdout)
    for architecture in architectures:
        # One architecture alone is not part of the name.
        stem = pathlib.Path(source).stem
        ptx = folder / f"{stem}.compute_{architecture}.ptx"
        text = (ptx if ptx.exists() else folder / f"{stem}.ptx").read_text()
        for name, (loads, stores, in_flight, narrow) in read_ptx(text).items():
            kernel = kernels[name, f"sm_{architecture}"]
            kernel.loads, kernel.stores, kernel.in_flight, kernel.scalar = loads, stores, in_flight, narrow
    return list(kernels.values())


def find_nvcc(given=None):
    for candidate in (given, shutil.which("nvcc"), "/usr/local/cuda/bin/nvcc"):
        if candidate and os.access(candidate, os.X_OK):
            return candidate
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root")
    parser.add_argument("--nvcc")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--list", action="store_true", help="print what was found for every kernel")
    arguments = parser.parse_args()
    nvcc = find_nvcc(arguments.nvcc)
    if nvcc is None:
        print("skipped: no nvcc here, so there is no code to look at")
        return SKIP
    root = os.path.abspath(arguments.root)
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        work = [pool.submit(compile_kernels, nvcc, root, source, folder) for source in SOURCES]
        try:
            kernels = [kernel for one in work for kernel in one.result()]
        except RuntimeError as error:
            pool.shutdown(cancel_futures=True)
            print(error)
            return 1
    lines = complaints(kernels, TABLE, sources=True)
    for kernel in sorted(kernels if arguments.list else [], key=lambda kernel: (kernel.short, int(kernel.architecture.removeprefix("sm_")))):
        print(f"{kernel.architecture:7} {kernel.registers:3} registers  {kernel.loads:2} loads {kernel.stores:2} stores "
              f"{kernel.in_flight} in flight  {kernel.short}")
    print(f"{len(kernels)} kernels, {len(lines)} complaints")
    print("\n".join(lines))
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
