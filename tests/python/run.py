#!/usr/bin/python3
"""Runs one of the test files beside it: run.py NAME. Exit status 77: skipped, and says why."""

import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(os.path.dirname(HERE)), "python")]

if __name__ == "__main__":  # not where multiprocessing imports this again
    for module in ("numpy", "torch"):
        try:
            __import__(module)
        except Exception as error:  # a broken installation raises other things than ImportError
            print(f"skipped: {sys.executable} cannot import {module} ({error}); tools/deps.sh --peers installs it")
            sys.exit(77)
    unittest.main(module=sys.argv.pop(1))
