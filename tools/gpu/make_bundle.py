#!/usr/bin/env python3
"""Puts what tools/gpu_check.sh --make-bundle built into one folder that runs elsewhere.

usage: make_bundle.py --source ROOT --build BUILD --arch ARCHITECTURES FOLDER
"""
import argparse
import json
import pathlib
import re
import shutil
import subprocess
import sys

import check

PROGRAMS = ("gpu_rooms_test", "gpu_test", "cuthresh-bench", "cuthresh")
DATA = ("tests/parity/softshrink_table.csv", "tests/parity/sgd_table.csv", "tests/parity/philox_vectors.csv",
        "tests/parity/mackey_glass_1000.csv", "tests/parity/mackey_glass_1000_data.csv", "examples/mackey_glass_single.toml",
        "examples/mackey_glass_multi.toml", "examples/fashion_mnist_single.toml", "examples/fashion_mnist_multi.toml",
        "examples/mnist_single.toml", "examples/mnist_multi.toml", "examples/cifar10_resnet20.toml",
        "tests/parity/cnn_paper_step.csv", "tests/parity/cnn_small_step.csv",
        "tests/python/run.py", "tests/python/support.py", "tests/python/cuda_test.py")
# Of the system that runs it: the C library, the driver, cuBLAS. The C++ library is brought along, for a system whose
# own is older, in a folder that is looked at only then.
OF_THE_SYSTEM = re.compile(r"(ld-linux.*|lib(c|m|dl|rt|pthread|util|cuda|cublas.*)\.so.*|linux-vdso.*)$")
CPP_LIBRARY = re.compile(r"lib(stdc\+\+|gcc_s)\.so.*$")
MOST_BYTES = 60 << 20


def libraries(program):
    """{soname: path} of all that the dynamic linker loads for it."""
    found = {}
    text = subprocess.run(["ldd", str(program)], text=True, capture_output=True, check=True).stdout
    for line in text.splitlines():
        if match := re.match(r"\s*(\S+) => (\S+) \(", line):
            found[match.group(1)] = match.group(2)
        elif "not found" in line:
            raise SystemExit(f"make_bundle.py: {program}: {line.strip()}")
    return found


def main():
    parser = argparse.ArgumentParser()
    for name in ("--source", "--build", "--arch"):
        parser.add_argument(name, required=True)
    parser.add_argument("folder")
    arguments = parser.parse_args()
    source, build = pathlib.Path(arguments.source), pathlib.Path(arguments.build)
    folder = pathlib.Path(arguments.folder).resolve()
    if folder.exists() and any(folder.iterdir()) and not (folder / "BUNDLE.json").exists():
        sys.exit(f"make_bundle.py: {folder} exists and is no bundle; give a new folder")
    if folder.exists():
        shutil.rmtree(folder)
    for name in ("bin", "lib", "lib/newer", "gpu"):
        (folder / name).mkdir(parents=True)

    needed = {}
    for program in PROGRAMS:
        built = build / "bin" / program
        needed.update(libraries(built))
        shutil.copy2(built, folder / "bin")
    for soname, path in sorted(needed.items()):
        if OF_THE_SYSTEM.match(soname):
            continue
        target = folder / ("lib/newer" if CPP_LIBRARY.match(soname) else "lib") / soname
        shutil.copy2(path, target)
    for file in (*folder.glob("bin/*"), *folder.glob("lib/*.so*")):
        subprocess.run(["strip", "--strip-unneeded", str(file)], check=True)
    # What the linker would find is to be found here, wherever the folder is.
    for program in PROGRAMS:
        for soname, path in libraries(folder / "bin" / program).items():
            inside = pathlib.Path(path).resolve().is_relative_to(folder)
            if not inside and not OF_THE_SYSTEM.match(soname) and not CPP_LIBRARY.match(soname):
                sys.exit(f"make_bundle.py: bin/{program} takes {soname} from {path}, not from the bundle")

    package = [str(file.relative_to(source)) for file in source.glob("python/cuthresh/**/*.py")]
    for name in (*DATA, *package):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source / name, folder / name)
    shutil.copy2(source / "tools/gpu_check.sh", folder)
    shutil.copy2(source / "tools/gpu/check.py", folder / "gpu")
    about = check.about_source(source)
    about["architectures"] = arguments.arch
    (folder / "BUNDLE.json").write_text(json.dumps(about, indent=2) + "\n")

    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    if size > MOST_BYTES:
        sys.exit(f"make_bundle.py: {size / 2**20:.1f} MiB are too many to carry, the limit is {MOST_BYTES >> 20}")
    print(f"{folder}: {size / 2**20:.1f} MiB; there: {folder / 'gpu_check.sh'}")


if __name__ == "__main__":
    main()
