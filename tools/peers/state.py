"""The common start of a comparison: Mackey-Glass data, weights, and gradients for the steps that are timed alone."""

import array
import os
import random
import struct

WIDTHS = [6, 128, 128, 64, 1]
DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "parity",
                    "mackey_glass_1000_data.csv")


def make(seed=123):
    """{name: (shape, array('f'))}: x [1000, 6], y [1000, 1], fcJ.weight [out, in] and fcJ.bias [out] uniform on
    +-1/sqrt(fan_in), g.fcJ.weight like fcJ.weight, normal with deviation 1e-4 (the size of lambda, so that
    some zeros stay and some leave)."""
    x, y = array.array("f"), array.array("f")
    with open(DATA) as f:
        next(f)
        for line in f:
            row = [struct.unpack("<f", struct.pack("<I", int(word, 16)))[0] for word in line.split(",")]
            x.extend(row[:6])
            y.append(row[6])
    rng = random.Random(seed)
    tensors = {"x": ((len(y), 6), x), "y": ((len(y), 1), y)}
    for layer, (fan_in, fan_out) in enumerate(zip(WIDTHS[:-1], WIDTHS[1:]), 1):
        bound = fan_in**-0.5
        for name, shape, count in ((f"fc{layer}.weight", (fan_out, fan_in), fan_in * fan_out),
                                   (f"fc{layer}.bias", (fan_out,), fan_out)):
            tensors[name] = (shape, array.array("f", (rng.uniform(-bound, bound) for _ in range(count))))
        tensors[f"g.fc{layer}.weight"] = ((fan_out, fan_in),
                                          array.array("f", (rng.gauss(0, 1e-4) for _ in range(fan_in * fan_out))))
    return tensors
