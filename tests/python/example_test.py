"""examples/pytorch_mnist.py on made files, and its three lines."""

import gzip
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import support
import torch

EXAMPLE = support.SOURCE / "examples/pytorch_mnist.py"


def write_idx(path, tensor):
    head = bytes([0, 0, 8, tensor.dim()]) + b"".join(n.to_bytes(4, "big") for n in tensor.shape)
    data = head + bytes(tensor.flatten().tolist())
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


class Example(unittest.TestCase):
    def run_it(self, *arguments):
        return subprocess.run([sys.executable, str(EXAMPLE), *arguments], capture_output=True, text=True, check=False,
                              env={**os.environ, "PYTHONPATH": str(support.SOURCE / "python")})

    def test_it_reaches_the_sparsity_on_idx_files(self):
        with tempfile.TemporaryDirectory() as folder:
            for part, count, end in (("train", 200, ""), ("t10k", 50, ".gz")):
                images, labels = support.made_images(count, seed=count)
                pixels = (images.squeeze(1).clamp(0, 1) * 255).to(torch.uint8)
                write_idx(Path(folder) / f"{part}-images-idx3-ubyte{end}", pixels)
                write_idx(Path(folder) / f"{part}-labels-idx1-ubyte{end}", labels.to(torch.uint8))
            result = self.run_it(folder, "--steps", "40", "--batch", "8", "--sparsity", "0.9")
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertIn("68739 of 687392 weights are not zero", result.stdout)
        self.assertIn("not penalised: 0.bias", result.stdout)

    def test_a_folder_without_the_files_says_so(self):
        with tempfile.TemporaryDirectory() as folder:
            result = self.run_it(folder)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("IDX files", result.stderr)


if __name__ == "__main__":
    unittest.main()
