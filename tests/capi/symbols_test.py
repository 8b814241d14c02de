#!/usr/bin/env python3
"""What libcuthresh.so exports: the functions of cuthresh.h, every one, under their version; beside them only the C++ API
of namespace cuthresh; its SONAME.

    symbols_test.py LIBRARY SOURCE_DIR MAJOR
"""

import os
import re
import subprocess
import sys
import unittest

LIBRARY, SOURCE, MAJOR = sys.argv[1:4]


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def declared():
    with open(os.path.join(SOURCE, "include", "cuthresh", "cuthresh.h"), encoding="utf-8") as f:
        text = re.sub(r"/\*.*?\*/", "", f.read(), flags=re.DOTALL)
    return set(re.findall(r"CTH_C_API\b[^;()]*?\b(cth_\w+)\s*\(", text))


def exported(*options):
    """(name, version) of every defined dynamic symbol but the version nodes themselves."""
    names = set()
    for line in run("nm", "-D", "--defined-only", "--with-symbol-versions", *options, LIBRARY).splitlines():
        kind, name = re.match(r"[0-9a-f]*\s+(\w) (.*)", line).groups()
        name, _, version = name.partition("@@")
        if kind != "A":
            names.add((name, version))
    return names


class Symbols(unittest.TestCase):
    def test_c_functions_are_those_of_the_header(self):
        self.assertGreater(len(declared()), 30)
        found = {name for name, version in exported() if version.startswith("CUTHRESH_0")}
        self.assertEqual(found, declared())
        self.assertEqual({name for name, _ in exported() if name.startswith("cth_")}, declared())

    def test_nothing_else_leaks(self):
        ours = re.compile(r"((typeinfo|typeinfo name|vtable) for )?cuthresh::(?!(capi|cpu|cuda|nn|search|train)::)")
        others = {(name, version) for name, version in exported("-C") if version != "CUTHRESH_0"}
        leaks = sorted(name for name, version in others if version != "CUTHRESH_CXX" or not ours.match(name))
        self.assertEqual(leaks, [])
        self.assertTrue(any("cuthresh::fit(" in name for name, _ in others), sorted(others))

    def test_soname_has_the_major_version(self):
        dynamic = run("readelf", "-d", LIBRARY)
        self.assertIn(f"Library soname: [libcuthresh.so.{MAJOR}]", dynamic)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
