"""Runs the command for the tests beside this file: python3 X_test.py COMMAND SOURCE_DIR."""

import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

COMMAND = os.path.abspath(sys.argv[1])
SOURCE = os.path.abspath(sys.argv[2])

# A run of a tenth of a second: 6-8-1 has 48 + 8 weights.
CONFIG = """
[data]
kind = "mackey-glass"
train_rows = 200
[model]
widths = [6, 8, 1]
[train]
learning_rate = 0.1
steps = 40
[sparsity]
target_nnz = 30
tolerance = 0.1
[search]
method = "gradient-median"
stop = "converged"
lambda = [1e-4, 1e-1]
max_rounds = 3
[run]
seed = 7
device = "cpu"
threads = 1
out = "run"
"""


def environment(**changes):
    env = dict(os.environ, LC_ALL="C.UTF-8", TERM="xterm")
    env.update(changes)
    return env


def safetensors(tensors):
    """The bytes of a safetensors file; tensors: name -> (shape, list of floats)."""
    header, data = {}, b""
    for name, (shape, values) in tensors.items():
        raw = struct.pack("<%df" % len(values), *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def read_safetensors(path):
    """name -> (shape, list of floats), by the format's definition."""
    with open(path, "rb") as file:
        blob = file.read()
    (length,) = struct.unpack("<Q", blob[:8])
    out = {}
    for name, entry in json.loads(blob[8 : 8 + length]).items():
        if name == "__metadata__":
            continue
        first, last = entry["data_offsets"]
        raw = blob[8 + length + first : 8 + length + last]
        out[name] = (entry["shape"], list(struct.unpack("<%df" % (len(raw) // 4), raw)))
    return out


def network(seed=1, widths=(6, 8, 1)):
    """Initial weights for a network of these widths, as a dict for safetensors()."""
    import random

    rng = random.Random(seed)
    tensors = {}
    for i in range(1, len(widths)):
        size = widths[i] * widths[i - 1]
        tensors["fc%d.weight" % i] = ([widths[i], widths[i - 1]], [rng.uniform(-0.4, 0.4) for _ in range(size)])
        tensors["fc%d.bias" % i] = ([widths[i]], [rng.uniform(-0.4, 0.4) for _ in range(widths[i])])
    return tensors


class CommandTest(unittest.TestCase):
    """Each test in an empty folder of its own, which is also the working directory of the command."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="cuthresh-cli-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, content):
        with open(self.path(name), "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        return self.path(name)

    def run_command(self, *arguments, **changes):
        return subprocess.run(
            [COMMAND, *arguments], cwd=self.folder, env=environment(**changes), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300, encoding="utf-8")

    def config(self, changes=(), name="c.toml"):
        """CONFIG with replacements (old, new); each old text must be there."""
        text = CONFIG
        for old, new in changes:
            self.assertIn(old, text)
            text = text.replace(old, new)
        return self.write(name, text)

    def assert_refused(self, arguments, *parts):
        """Exit 2, one line on stderr with all parts, nothing on stdout, no file more than before."""
        before = sorted(os.listdir(self.folder))
        result = self.run_command(*arguments)
        note = "%s\nstderr: %s" % (arguments, result.stderr)
        self.assertEqual(result.returncode, 2, note)
        self.assertEqual(result.stdout, "", note)
        lines = result.stderr.splitlines()
        errors = [line for line in lines if line.startswith("cuthresh: error: ")]
        self.assertEqual(len(errors), 1, note)
        self.assertEqual(lines[-1], errors[0], note)
        for part in parts:
            self.assertIn(part, errors[0], note)
        self.assertIn("; ", errors[0], "no remedy in " + note)
        self.assertEqual(sorted(os.listdir(self.folder)), before, "something was left behind: " + note)
        return errors[0]


def main():
    unittest.main(argv=[sys.argv[0]] + sys.argv[3:], verbosity=2)
