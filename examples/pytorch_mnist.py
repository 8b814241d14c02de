#!/usr/bin/env python3
"""A plain PyTorch loop that ends with exactly the sparsity asked for. Three lines differ from one with
torch.optim.SGD, and are marked, beside an import.

    python3 examples/pytorch_mnist.py FOLDER [--sparsity 0.95] [--steps 600]

FOLDER holds the IDX files of MNIST or Fashion-MNIST, packed or not (Debian: dataset-fashion-mnist,
/usr/share/datasets/fashion-mnist). Exit status 1 if the number of nonzeros is not the one asked for."""

import argparse
import gzip
import sys
from pathlib import Path

import torch
from torch import nn

from cuthresh.torch import ProxSGD, SparsityController


def idx(folder, name):
    """An IDX file of bytes as a tensor."""
    for path in (folder / name, folder / f"{name}.gz", folder / name.replace("-idx", ".idx")):
        if path.is_file():
            data = (gzip.open if path.suffix == ".gz" else open)(path, "rb").read()
            shape = [int.from_bytes(data[4 + 4 * i:8 + 4 * i], "big") for i in range(data[3])]
            return torch.frombuffer(bytearray(data), dtype=torch.uint8, offset=4 + 4 * len(shape)).reshape(shape)
    sys.exit(f"{folder}: no {name} or {name}.gz; give the folder with MNIST's IDX files")


def images(folder, part):
    pixels = idx(folder, f"{part}-images-idx3-ubyte").float().unsqueeze(1) / 255
    return (pixels - 0.2860) / 0.3530, idx(folder, f"{part}-labels-idx1-ubyte").long()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sparsity", type=float, default=0.95)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=64)
    given = parser.parse_args()
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    x, y = images(given.folder, "train")
    test_x, test_y = images(given.folder, "t10k")

    model = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 128, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(1152, 512), nn.ReLU(), nn.Linear(512, 10)).to(device)
    optimizer = ProxSGD(model, lr=0.02, momentum=0.9)  # 1: was torch.optim.SGD(model.parameters(), …)
    controller = SparsityController(optimizer, target=given.sparsity, steps=given.steps)  # 2
    print(optimizer)

    for step in range(given.steps):
        rows = torch.randint(len(x), (given.batch,))
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[rows].to(device)), y[rows].to(device))
        loss.backward()
        optimizer.step()
        controller.step()  # 3
        if (step + 1) % 100 == 0:
            print(f"step {step + 1}: loss {loss.item():.3f}, {controller.phase}")

    with torch.no_grad():
        right = sum(int((model(a.to(device)).argmax(1).cpu() == b).sum())
                    for a, b in zip(test_x.split(1000), test_y.split(1000)))
    weights = [p for p in model.parameters() if p.dim() > 1]
    left, total = sum(int(p.count_nonzero()) for p in weights), sum(p.numel() for p in weights)
    print(controller.report())
    print(f"test accuracy {right / len(test_y):.4f}; {left} of {total} weights are not zero")
    return 0 if left == int((1 - given.sparsity) * total + 0.5) else 1


if __name__ == "__main__":
    sys.exit(main())
