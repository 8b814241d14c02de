#!/usr/bin/env python3
"""PyTorch's gradients of two convolutional networks in float64: make_cnn_reference.py [--out FOLDER | --check]

Writes into FOLDER (default: where this script lies)

cnn_paper_step.csv   the paper's network: 3x3 convolutions 1-32-64-128 with ReLU and 2x2 max pools, 1152-512-10; of 16
                     images, and of 2 for engines that are slow
cnn_small_step.csv   a small one with what that lacks: strides, no biases, batch normalisation, a residual block with a
                     1x1 shortcut, average pools with padding, GELU

net,rows,tensor,kind,index,value: the mean cross-entropy "loss" of one pass in training mode, and "eval_loss" after it,
with the running statistics that it left; for each gradient, and each running statistic after the pass, its largest
magnitude "scale", its 2-"norm", eight "projection"s on vectors of +-1, and "entry"s, all or 128 of them. --check
compares the tables in FOLDER with what PyTorch computes now.

Nothing but "salt" is needed to build the same network elsewhere: all numbers come from word(t, i) =
mix(mix(salt + 0x9E3779B9 t) ^ i), mix the finaliser of MurmurHash3, t a tensor's number: a parameter's place in the
list (weight, bias, and for batch normalisation running mean and variance, layer by layer), then 1000 images, 1001
labels, 2000 + 16 t + p projection p of tensor t. Images are bytes, channels last, as b/127.5 - 1. The salt is the
first with which no ReLU is nearer to its kink, and no max pool to a tie, than 4e-6 of its inputs' deviation: single
precision must take the same side everywhere.

Exit status 77 when torch cannot be imported.
"""

import argparse
import csv
import math
import os
import sys

try:
    import numpy as np
    import torch
    import torch.nn.functional as F
except Exception as error:  # a broken installation raises other things than ImportError
    print(f"skipped: {sys.executable} cannot import torch ({error}); tools/deps.sh --peers installs it")
    sys.exit(77)

IMAGES, LABELS, PROJECTIONS = 1000, 1001, 2000
ENTRIES, ALL_ENTRIES, MARGIN = 128, 320, 4e-6
HEADER = ["net", "rows", "tensor", "kind", "index", "value"]


def mix(x):
    x = np.asarray(x, dtype=np.uint32).copy()
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x85EBCA6B)
    x ^= x >> np.uint32(13)
    x *= np.uint32(0xC2B2AE35)
    x ^= x >> np.uint32(16)
    return x


class Numbers:
    def __init__(self, salt):
        self.salt = salt

    def words(self, t, n):
        key = mix([(self.salt + 0x9E3779B9 * t) & 0xFFFFFFFF])
        return mix(key ^ np.arange(n, dtype=np.uint32))

    def uniform(self, t, n, centre, bound):
        """Float32 values, as float64, on [centre - bound, centre + bound): one rounding each."""
        u = ((self.words(t, n) >> np.uint32(8)).astype(np.float64) - 2.0**23) * 2.0**-23
        return (centre + float(np.float32(bound)) * u).astype(np.float32).astype(np.float64)

    def images(self, rows, height, width, channels):
        raw = (self.words(IMAGES, rows * height * width * channels) >> np.uint32(24)).astype(np.float64)
        values = (raw / 127.5 - 1.0).astype(np.float32).astype(np.float64)
        return torch.from_numpy(values.reshape(rows, height, width, channels)).permute(0, 3, 1, 2).contiguous()

    def labels(self, rows, classes):
        return torch.from_numpy((self.words(LABELS, rows) % np.uint32(classes)).astype(np.int64))

    def signs(self, t, p, n):
        return 1.0 - 2.0 * (self.words(PROJECTIONS + 16 * t + p, n) >> np.uint32(31)).astype(np.float64)


class Net:
    """Parameters in the order of their numbers, and the smallest distances from kinks and ties of a pass."""

    def __init__(self, numbers):
        self.numbers = numbers
        self.list = {}
        self.margin = math.inf

    def add(self, name, shape, centre, bound, trained=True):
        value = self.numbers.uniform(len(self.list), math.prod(shape), centre, bound).reshape(shape)
        self.list[name] = torch.from_numpy(value).requires_grad_(trained)

    def layer(self, name, shape, bias=True):
        bound = 1.0 / math.sqrt(float(math.prod(shape[1:])))
        self.add(name + ".weight", shape, 0.0, bound)
        if bias:
            self.add(name + ".bias", shape[:1], 0.0, bound)

    def norm(self, name, channels):
        self.add(name + ".weight", (channels,), 1.0, 0.5)
        self.add(name + ".bias", (channels,), 0.0, 0.5)
        self.add(name + ".running_mean", (channels,), 0.0, 0.5, trained=False)
        self.add(name + ".running_var", (channels,), 1.0, 0.5, trained=False)

    def apply(self, f, x, name, **options):
        return f(x, self.list[name + ".weight"], self.list.get(name + ".bias"), **options)

    def normalise(self, x, name, training):
        parts = [self.list[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *parts, training=training, momentum=0.1, eps=1e-5)

    def relu(self, z):
        self.margin = min(self.margin, float(z.detach().abs().min() / z.detach().std()))
        return F.relu(z)

    def max_pool(self, y):
        """After a ReLU: a tie of two zeros does no harm, their gradient is zero either way."""
        with torch.no_grad():
            windows = F.unfold(y.reshape(-1, 1, *y.shape[2:]), 2, stride=2).transpose(1, 2).reshape(-1, 4)
            best = windows.topk(2, dim=1).values
            gap = (best[:, 0] - best[:, 1])[best[:, 0] > 0]
            self.margin = min(self.margin, float(gap.min() / y.std()))
        return F.max_pool2d(y, 2)


class Paper(Net):
    NAME, INPUT, CLASSES = "paper", (28, 28, 1), 10

    def __init__(self, numbers):
        super().__init__(numbers)
        for j, (fan_in, fan_out) in enumerate(((1, 32), (32, 64), (64, 128)), 1):
            self.layer(f"conv{j}", (fan_out, fan_in, 3, 3))
        self.layer("fc1", (512, 1152))
        self.layer("fc2", (10, 512))

    def forward(self, x, training):
        for j in (1, 2, 3):
            x = self.max_pool(self.relu(self.apply(F.conv2d, x, f"conv{j}", padding=1)))
        return self.apply(F.linear, self.relu(self.apply(F.linear, x.flatten(1), "fc1")), "fc2")


class Small(Net):
    NAME, INPUT, CLASSES = "small", (11, 9, 3), 5

    def __init__(self, numbers):
        super().__init__(numbers)
        self.layer("conv1", (8, 3, 3, 3), bias=False)
        self.norm("bn1", 8)
        self.layer("conv2", (12, 8, 3, 3), bias=False)
        self.norm("bn2", 12)
        self.layer("conv3", (12, 12, 3, 3), bias=False)
        self.norm("bn3", 12)
        self.layer("conv4", (12, 8, 1, 1), bias=False)
        self.norm("bn4", 12)
        self.layer("conv5", (16, 12, 2, 2))
        self.layer("fc1", (20, 16))
        self.layer("fc2", (5, 20))

    def forward(self, x, training):
        x = self.apply(F.conv2d, x, "conv1", stride=2, padding=1)
        x = self.relu(self.normalise(x, "bn1", training))
        branch = self.relu(self.normalise(self.apply(F.conv2d, x, "conv2", padding=1), "bn2", training))
        branch = self.normalise(self.apply(F.conv2d, branch, "conv3", padding=1), "bn3", training)
        shortcut = self.normalise(self.apply(F.conv2d, x, "conv4"), "bn4", training)
        x = F.avg_pool2d(self.relu(branch + shortcut), 3, stride=2, padding=1)
        x = self.relu(self.apply(F.conv2d, x, "conv5")).mean(dim=(2, 3))
        return self.apply(F.linear, F.gelu(self.apply(F.linear, x, "fc1")), "fc2")


def one_pass(kind, rows, salt):
    numbers = Numbers(salt)
    net = kind(numbers)
    x, labels = numbers.images(rows, *kind.INPUT), numbers.labels(rows, kind.CLASSES)
    loss = F.cross_entropy(net.forward(x, True), labels)
    margin = net.margin
    loss.backward()
    with torch.no_grad():
        after = F.cross_entropy(net.forward(x, False), labels)
    return net, float(loss), float(after), margin


def rows_of(kind, rows, salt=None):
    """The table's rows; the salt is searched for when none is given."""
    for candidate in range(1, 1000) if salt is None else [salt]:
        net, loss, after, margin = one_pass(kind, rows, candidate)
        if margin >= MARGIN:
            break
    else:
        sys.exit(f"{kind.NAME}, {rows} rows: no salt keeps clear of kinks and ties")

    def row(tensor, what, index, value):
        return [kind.NAME, rows, tensor, what, index, repr(value)]

    table = [row("", "salt", 0, candidate), row("", "loss", 0, loss), row("", "eval_loss", 0, after)]
    for t, (name, value) in enumerate(net.list.items()):
        flat = (value.grad if value.requires_grad else value).numpy().reshape(-1)
        table.append(row(name, "scale", 0, float(np.abs(flat).max())))
        table.append(row(name, "norm", 0, math.sqrt(math.fsum(flat * flat))))
        for p in range(8):
            table.append(row(name, "projection", p, math.fsum(flat * net.numbers.signs(t, p, flat.size))))
        chosen = range(flat.size)
        if flat.size > ALL_ENTRIES:
            # Distinct places, the same at every run: an odd stride in a size rounded up to a power of two.
            size = 1 << (flat.size - 1).bit_length()
            chosen = sorted([i for i in ((k * 0x9E3779B1 + 17) % size for k in range(size)) if i < flat.size][:ENTRIES])
        table.extend(row(name, "entry", i, float(flat[i])) for i in chosen)
    return table


def check(path, want):
    with open(path, newline="") as f:
        header, *got = csv.reader(f)
    if header != HEADER or len(got) != len(want):
        sys.exit(f"{path}: expected the columns {HEADER} and {len(want)} rows, got {header} and {len(got)} rows")
    scale = 1.0
    for number, (a, b) in enumerate(zip(got, want), 2):
        if b[3] in ("loss", "scale"):
            scale = float(b[5])
        # Sums in another order, of another PyTorch or processor, differ by a few units in the last place.
        if a[:5] != [str(v) for v in b[:5]] or not abs(float(a[5]) - float(b[5])) <= 1e-9 * scale:
            sys.exit(f"{path}:{number}: {a}, PyTorch {torch.__version__} gives {b}")
    print(f"{path}: {len(got)} rows are those of PyTorch {torch.__version__}")


def salt_in(path, kind, rows):
    with open(path, newline="") as f:
        for row in csv.reader(f):
            if row[:4] == [kind.NAME, str(rows), "", "salt"]:
                return int(row[5])
    sys.exit(f"{path}: no salt of {kind.NAME} with {rows} rows")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", default=os.path.dirname(os.path.abspath(__file__)))
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    args = parser.parse_args()
    for name, runs in (("cnn_paper_step.csv", ((Paper, 16), (Paper, 2))), ("cnn_small_step.csv", ((Small, 6),))):
        path = os.path.join(args.out, name)
        if args.check:
            check(path, [row for kind, rows in runs for row in rows_of(kind, rows, salt_in(path, kind, rows))])
            continue
        table = [HEADER] + [row for kind, rows in runs for row in rows_of(kind, rows)]
        with open(path + ".tmp", "w", newline="") as f:
            csv.writer(f, lineterminator="\n").writerows(table)
        os.replace(path + ".tmp", path)
        print("wrote", path)


if __name__ == "__main__":
    main()
