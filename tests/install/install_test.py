"""The package as its users get it: python3 install_test.py BUILD_DIR SOURCE_DIR package|libtorch|cuda_interop

Installs the build into a temporary prefix and builds copies of the examples against it. Exit status 77: skipped.
"""

import glob
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

BUILD, SOURCE = (os.path.abspath(folder) for folder in sys.argv[1:3])
# What a program may need that was built with CUTHRESH_STANDALONE: the libraries of C and C++.
OF_C_AND_CPP = {"libc.so.6", "libm.so.6", "libgcc_s.so.1", "libstdc++.so.6", "ld-linux-x86-64.so.2"}
STRICT_C, STRICT_CXX = ("-DCMAKE_%s_FLAGS=-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror" % language
                        for language in ("C", "CXX"))


def read_cache():
    """name -> value of every entry of the build's CMakeCache.txt."""
    with open(os.path.join(BUILD, "CMakeCache.txt")) as file:
        lines = [line.rstrip("\n") for line in file if not line.startswith(("#", "//")) and "=" in line]
    return {name.split(":")[0]: value for name, value in (line.split("=", 1) for line in lines)}


CACHE = read_cache()
LIBDIR = CACHE["CMAKE_INSTALL_LIBDIR"]


def environment(**changes):
    """Without what would help a program or a build to find things outside the prefix."""
    helpers = ("LD_LIBRARY_PATH", "LIBRARY_PATH", "CPATH", "CMAKE_PREFIX_PATH", "PKG_CONFIG_PATH", "DESTDIR")
    env = {name: value for name, value in os.environ.items() if name not in helpers}
    env.update(changes)
    return env


class InstallTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="cuthresh_install_")
        self.addCleanup(folder.cleanup)
        self.folder = os.path.realpath(folder.name)
        self.prefix = os.path.join(self.folder, "prefix")
        self.call("cmake", "--install", BUILD, "--prefix", self.prefix)

    def call(self, *command, statuses=(0,), env=None):
        """The output of a command, which must end with one of these statuses."""
        result = subprocess.run(command, cwd=self.folder, env=env or environment(), stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, universal_newlines=True)
        self.assertIn(result.returncode, statuses, "%s\n%s" % (" ".join(command), result.stdout))
        return result.stdout

    def configure(self, source, build, *options, statuses=(0,)):
        return self.call("cmake", "-S", source, "-B", build, "-G", CACHE["CMAKE_GENERATOR"],
                         "-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_PREFIX_PATH=" + self.prefix, *options,
                         statuses=statuses)

    def example(self, name, *options, statuses=(0,)):
        """Builds a copy of an example against the prefix and runs it."""
        build = os.path.join(self.folder, "build_" + name)
        shutil.rmtree(build, ignore_errors=True)
        source = shutil.copytree(os.path.join(SOURCE, "examples", name), os.path.join(self.folder, name),
                                 dirs_exist_ok=True)
        self.configure(source, build, *options)
        self.call("cmake", "--build", build)
        program, = (path for path in glob.glob(os.path.join(build, "*")) if is_program(path))
        return self.call(program, statuses=statuses)

    def installed(self, *suffixes):
        for folder, _, files in os.walk(self.prefix):
            for name in files:
                if name.endswith(suffixes):
                    yield os.path.join(folder, name)


def is_program(path):
    return os.path.isfile(path) and os.access(path, os.X_OK)


class Package(InstallTest):
    def test_examples_before_and_after_the_prefix_is_moved(self):
        self.example("c_minimal", STRICT_C)
        moved = os.path.join(self.folder, "another", "place")
        os.makedirs(os.path.dirname(moved))
        os.rename(self.prefix, moved)
        self.prefix = moved
        self.example("c_minimal", STRICT_C)
        self.example("cpp_minimal", STRICT_CXX)
        self.pkg_config()
        for program in sorted(glob.glob(os.path.join(moved, "bin", "*"))):
            self.assertIn("0.", self.call(program, "--version"))

    def pkg_config(self):
        if shutil.which("pkg-config") is None:
            print("pkg-config is not here: its part is not tested; tools/deps.sh --test installs it")
            return
        env = environment(PKG_CONFIG_PATH=os.path.join(self.prefix, LIBDIR, "pkgconfig"),
                          LD_LIBRARY_PATH=os.path.join(self.prefix, LIBDIR))
        flags = self.call("pkg-config", "--cflags", "--libs", "cuthresh >= 0.1", env=env).split()
        self.call("cc", "-std=c11", os.path.join(self.folder, "c_minimal", "main.c"), *flags, "-o", "by_pkg_config")
        self.call(os.path.join(self.folder, "by_pkg_config"), env=env)

    def test_what_is_installed(self):
        library = os.path.join(self.prefix, LIBDIR, "libcuthresh.so")
        self.assertTrue(os.path.islink(library))
        version = CACHE["CMAKE_PROJECT_VERSION"]
        self.assertTrue(os.path.realpath(library).endswith("libcuthresh.so." + version))
        for name in ("cuthresh.h", "cuthresh.hpp", "fit.hpp"):
            self.assertTrue(os.path.isfile(os.path.join(self.prefix, "include", "cuthresh", name)), name)
        for path in self.installed(".cmake", ".pc", ".h", ".hpp"):
            with open(path, encoding="utf-8") as file:
                text = file.read()
            for folder in (SOURCE, BUILD, self.prefix):
                self.assertNotIn(folder, text, path)

    def test_programs_and_library_look_beside_themselves_only(self):
        for path in [os.path.join(self.prefix, LIBDIR, "libcuthresh.so")] + glob.glob(self.prefix + "/bin/*"):
            entries = [line.split() for line in self.call("readelf", "-dW", path).splitlines() if "(" in line]
            for _, kind, *rest in entries:
                if kind in ("(RPATH)", "(RUNPATH)"):
                    self.assertTrue(all(folder.startswith("$ORIGIN") for folder in rest[-1][1:-1].split(":")), rest)
            names = {rest[-1][1:-1] for _, kind, *rest in entries if kind == "(SONAME)"}
            needed = {rest[-1][1:-1] for _, kind, *rest in entries if kind == "(NEEDED)"}
            if path.endswith(".so"):
                self.assertEqual(names, {"libcuthresh.so." + CACHE["CMAKE_PROJECT_VERSION_MAJOR"]})
                if CACHE["CUTHRESH_STANDALONE"] == "ON":
                    self.assertLessEqual(needed, OF_C_AND_CPP)

    def test_version_that_a_project_asks_for(self):
        source = os.path.join(self.folder, "asks")
        os.makedirs(source)
        major, minor, patch = (int(number) for number in CACHE["CMAKE_PROJECT_VERSION"].split("."))
        for asked, status in (("%d.%d" % (major, minor), 0), ("%d.%d.%d" % (major, minor, patch), 0),
                              ("%d.%d" % (major, minor + 1), 1), ("%d.0" % (major + 1), 1)):
            with open(os.path.join(source, "CMakeLists.txt"), "w") as file:
                file.write("cmake_minimum_required(VERSION 3.16)\nproject(asks LANGUAGES NONE)\n"
                           "find_package(cuthresh %s CONFIG REQUIRED)\n" % asked)
            self.configure(source, os.path.join(self.folder, "asks_" + asked), statuses=(status,))


class Libtorch(InstallTest):
    def test_training_loop(self):
        if not glob.glob("/usr/lib/*/cmake/Torch/TorchConfig.cmake"):
            self.skipTest("libtorch-dev is not installed; tools/deps.sh --test installs it")
        print(self.example("libtorch"))


class CudaInterop(InstallTest):
    def test_own_stream_and_memory(self):
        nvcc = CACHE.get("CMAKE_CUDA_COMPILER") or shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
        if not os.path.isfile(nvcc):
            self.skipTest("nvcc is not here")
        print(self.example("cuda_interop", "-DCMAKE_CUDA_COMPILER=" + nvcc, statuses=(0, 77)))


CASES = {"package": Package, "libtorch": Libtorch, "cuda_interop": CudaInterop}

if __name__ == "__main__":
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(CASES[sys.argv[3]])
    outcome = unittest.TextTestRunner(verbosity=2).run(suite)
    if outcome.skipped and len(outcome.skipped) == outcome.testsRun:
        print("skipped: " + outcome.skipped[0][1])
        sys.exit(77)
    sys.exit(0 if outcome.wasSuccessful() else 1)
