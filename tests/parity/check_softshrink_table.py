#!/usr/bin/python3
"""Recomputes softshrink_table.csv with the installed PyTorch and compares every bit.

Exit status: 0 equal, 1 not, 77 skipped (no PyTorch, or one whose kernels round differently; says which).
"""

import os
import sys

sys.dont_write_bytecode = True  # the source tree stays clean
import make_softshrink_table as table  # noqa: E402

try:
    import torch
except Exception as error:  # a broken installation raises other things than ImportError
    print(f"skipped: {sys.executable} cannot import torch ({error}); tools/deps.sh --peers installs it")
    sys.exit(77)
if not table.fused(torch):
    print("skipped: PyTorch uses its baseline kernels on this CPU, which have no fused multiply-add")
    sys.exit(77)

path = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "softshrink_table.csv")
with open(path) as f:
    header, *rows = f.read().split()
if header != table.COLUMNS or len(rows) < 3000:
    sys.exit(f"{path}: expected the columns {table.COLUMNS} and at least 3000 rows, got '{header}' and {len(rows)} rows")
wrong = 0
for number, row in enumerate(rows, 2):
    w, g, alpha, t, z, y = (int(word, 16) for word in row.split(","))
    got = table.evaluate(torch, w, g, alpha, t)
    if got != (z, y):
        wrong += 1
        if wrong <= 10:
            print(f"{path}:{number}: {row}: PyTorch gives", "NaN or mixed results" if got is None
                  else f"z 0x{got[0]:08x} y 0x{got[1]:08x}")
print(f"{len(rows)} rows compared with PyTorch {torch.__version__}, {wrong} differ")
sys.exit(1 if wrong else 0)
