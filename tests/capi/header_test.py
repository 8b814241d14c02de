#!/usr/bin/env python3
"""cuthresh.h as C11 and C++11 … C++20 without a warning; the program from C, linked with the library, does a step.

    header_test.py COMPILER LIBRARY SOURCE_DIR
"""

import os
import subprocess
import sys
import tempfile
import unittest

COMPILER, LIBRARY, SOURCE = sys.argv[1:4]
PROGRAM = os.path.join(SOURCE, "tests", "capi", "header_test.c")
WARNINGS = ["-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wstrict-prototypes", "-Werror"]


def compile_as(language, standard, *more):
    warnings = [w for w in WARNINGS if language == "c" or w != "-Wstrict-prototypes"]
    done = subprocess.run([COMPILER, "-x", language, "-std=" + standard, *warnings,
                           "-I" + os.path.join(SOURCE, "include"), PROGRAM, *more], capture_output=True, text=True)
    return done.returncode, done.stderr


class Header(unittest.TestCase):
    def test_compiles_in_every_standard(self):
        for language, standard in [("c", "c11"), ("c", "c17"), ("c++", "c++11"), ("c++", "c++20")]:
            with self.subTest(standard=standard):
                self.assertEqual(compile_as(language, standard, "-fsyntax-only"), (0, ""))

    def test_a_program_in_c_links_and_runs(self):
        with tempfile.TemporaryDirectory() as folder:
            program = os.path.join(folder, "program")
            library = os.path.dirname(os.path.abspath(LIBRARY))
            status = compile_as("c", "c11", "-o", program, "-x", "none", LIBRARY, "-Wl,-rpath," + library)
            self.assertEqual(status, (0, ""))
            done = subprocess.run([program], capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
