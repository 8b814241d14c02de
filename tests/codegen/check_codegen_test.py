#!/usr/bin/env python3
"""check_codegen.py must find what is planted: usage: check_codegen_test.py SOURCE_DIR [--nvcc FILE]"""
import argparse
import os
import sys
import tempfile
import unittest

import check_codegen as codegen

ARGUMENTS = None

TABLE = (
    codegen.Row(r"spilling_kernel", 32),
    codegen.Row(r"local_array_kernel", 255),
    codegen.Row(r"narrow_kernel", 64, loads=1, stores=1),
    codegen.Row(r"greedy_kernel", 64),
    codegen.Row(r"one_by_one_kernel", 64, in_flight=2, loads=2, stores=2),
    codegen.Row(r"fine_kernel", 64, in_flight=2, loads=2, stores=2),
)


class Planted(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.kernels = codegen.compile_kernels(ARGUMENTS.nvcc, ARGUMENTS.root, "tests/codegen/planted.cu",
                                              cls.folder.name, ("80",), strict=False)

    def complaints(self, table=TABLE):
        return codegen.complaints(self.kernels, table, sources=True)

    def only(self, name):
        lines = [line for line in self.complaints() if f" {name}" in line]
        self.assertTrue(lines, f"nothing is said about {name}")
        return "\n".join(lines)

    def test_each_fault_is_named_with_its_kernel(self):
        self.assertRegex(self.only("spilling_kernel"), r"spills \d+ bytes")
        self.assertRegex(self.only("local_array_kernel"), r"\d+ bytes of local memory")
        self.assertRegex(self.only("narrow_kernel"), r"loads: 0, at least 1")
        self.assertRegex(self.only("narrow_kernel"), r"stores: 0, at least 1")
        self.assertRegex(self.only("greedy_kernel"), r"\d+ registers, at most 64")
        self.assertRegex(self.only("one_by_one_kernel"), r"in_flight: 1, at least 2")

    def test_nothing_else_is_said(self):
        self.assertFalse([line for line in self.complaints() if "fine_kernel" in line])
        self.assertFalse([line for line in self.complaints() if "greedy_kernel" in line and "registers" not in line])
        self.assertFalse([line for line in self.complaints() if "one_by_one_kernel" in line and "in_flight" not in line])

    def test_a_kernel_without_a_row_and_a_row_without_a_kernel(self):
        lines = self.complaints(TABLE[1:] + (codegen.Row(r"gone_kernel", 64),))
        self.assertTrue([line for line in lines if "spilling_kernel" in line and "not in the table" in line])
        self.assertIn("no kernel matches the table's row gone_kernel", lines)

    def test_the_assembler_refuses_a_spill(self):
        with tempfile.TemporaryDirectory() as folder, self.assertRaisesRegex(RuntimeError, "[Ss]pill"):
            codegen.compile_kernels(ARGUMENTS.nvcc, ARGUMENTS.root, "tests/codegen/planted.cu", folder, ("80",))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("root")
    parser.add_argument("--nvcc")
    ARGUMENTS = parser.parse_args()
    ARGUMENTS.root = os.path.abspath(ARGUMENTS.root)
    ARGUMENTS.nvcc = codegen.find_nvcc(ARGUMENTS.nvcc)
    if ARGUMENTS.nvcc is None:
        print("skipped: no nvcc here")
        sys.exit(codegen.SKIP)
    unittest.main(argv=[sys.argv[0]])
