"""Builds the wheel: pure Python and one shared library, so its tag is py3-none-PLATFORM.

CUTHRESH_LIBRARY names a built libcuthresh.so to carry; without it CMake builds one from the source
tree that this folder lies in, without what only the trainer needs. CUTHRESH_CMAKE_ARGS is handed on
to CMake."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.dist import Distribution

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:  # setuptools before 70.1
    from wheel.bdist_wheel import bdist_wheel

HERE = Path(__file__).resolve().parent
TREE = HERE.parent
HEADER = TREE / "include/cuthresh/cuthresh.h"


def source_tree():
    if not HEADER.is_file():
        raise SystemExit(f"cuthresh: {HERE} does not lie in cuthresh's source tree, whose version and "
                         "library the package carries; build from there")
    return TREE


def version():
    text = (source_tree() / "include/cuthresh/cuthresh.h").read_text(encoding="utf-8")
    return ".".join(re.search(rf"#define CTH_VERSION_{part} (\d+)", text)[1]
                    for part in ("MAJOR", "MINOR", "PATCH"))


def given_library():
    given = os.environ.get("CUTHRESH_LIBRARY")
    if not given:
        return None
    path = Path(given)
    if path.is_dir():
        path = path / "libcuthresh.so"
    if not path.is_file():
        raise SystemExit(f"cuthresh: CUTHRESH_LIBRARY={given} is no library; name a libcuthresh.so, or "
                         "unset it and CMake builds one")
    return path


def built_library(folder):
    """libcuthresh.so, built in `folder`."""
    if shutil.which("cmake") is None:
        raise SystemExit("cuthresh: building the library needs CMake ≥ 3.24 and a C++20 compiler; install "
                         "them, or name a built libcuthresh.so in CUTHRESH_LIBRARY")
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cmake", "-S", str(source_tree()), "-B", str(folder), "-DCMAKE_BUILD_TYPE=Release",
                    "-DCUTHRESH_STANDALONE=ON", "-DCUTHRESH_BUILD_TESTS=OFF", "-DCUTHRESH_BUILD_BENCH=OFF",
                    "-DCUTHRESH_BUILD_TOOL=OFF",
                    *shlex.split(os.environ.get("CUTHRESH_CMAKE_ARGS", ""))], check=True)
    jobs = str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    subprocess.run(["cmake", "--build", str(folder), "--target", "cuthresh", "-j", jobs], check=True)
    found = sorted(path for path in folder.rglob("libcuthresh.so") if path.is_file())
    if len(found) != 1:
        raise SystemExit(f"cuthresh: expected one libcuthresh.so under {folder}, found {len(found)}")
    return found[0]


class Build(build_py):
    """The modules, and the library beside them."""

    def run(self):
        super().run()
        if getattr(self, "editable_mode", False):
            return  # the library is looked for as docs/python.md says
        command = self.get_finalized_command("build")
        library = given_library() or built_library(Path(command.build_temp).resolve() / "cmake")
        shutil.copyfile(library, Path(self.build_lib) / "cuthresh" / "libcuthresh.so")


class PlatformWheel(bdist_wheel):
    def get_tag(self):
        return ("py3", "none", super().get_tag()[2])


class WithLibrary(Distribution):
    """A distribution that is not the same on every platform."""

    def has_ext_modules(self):
        return True


setup(version=version(), cmdclass={"build_py": Build, "bdist_wheel": PlatformWheel}, distclass=WithLibrary)
