"""The common start of a comparison: Mackey-Glass data, weights, and gradients for the steps that are timed alone;
images, labels and weights of the convolutional network."""

import array
import math
import os
import random
import struct

WIDTHS = [6, 128, 128, 64, 1]
DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "parity",
                    "mackey_glass_1000_data.csv")


CONV_SHAPES = {"conv1": (32, 1, 3, 3), "conv2": (64, 32, 3, 3), "conv3": (128, 64, 3, 3), "fc1": (512, 1152),
               "fc2": (10, 512)}
IMAGES, EXTENT, CLASSES = 128, 28, 10


def make(seed=123):
    """{name: (shape, array('f'))}: x [1000, 6], y [1000, 1], fcJ.weight [out, in] and fcJ.bias [out] uniform on
    +-1/sqrt(fan_in), g.fcJ.weight like fcJ.weight, normal with deviation 1e-4 (the size of lambda, so that
    some zeros stay and some leave); what make_conv() gives."""
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
    tensors.update(make_conv(seed))
    return tensors


def make_conv(seed):
    """cnn.x [128, 1, 28, 28], a bright bar a class on dark noise, cnn.labels [128] with the classes as floats, and
    weights and biases cnn.conv1.weight, ... of CONV_SHAPES, uniform on +-1/sqrt(fan_in)."""
    rng = random.Random(seed)
    labels = [rng.randrange(CLASSES) for _ in range(IMAGES)]
    x = array.array("f")
    for label in labels:
        top = 2 * label + rng.randrange(5)
        for row in range(EXTENT):
            low = 0.0 if top <= row < top + 6 else -1.0
            x.extend(rng.uniform(low, low + 1.0) for _ in range(EXTENT))
    tensors = {"cnn.x": ((IMAGES, 1, EXTENT, EXTENT), x), "cnn.labels": ((IMAGES,), array.array("f", labels))}
    for layer, shape in CONV_SHAPES.items():
        fan_in = math.prod(shape[1:])
        bound = fan_in**-0.5
        for part, extents in (("weight", shape), ("bias", shape[:1])):
            values = (rng.uniform(-bound, bound) for _ in range(math.prod(extents)))
            tensors[f"cnn.{layer}.{part}"] = (extents, array.array("f", values))
    return tensors
