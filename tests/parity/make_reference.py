#!/usr/bin/env python3
"""Float64 reference of the training recursion, written with numpy alone and sharing no line with the library.

    make_reference.py [--out FOLDER] [--mg-scale FILE]

Writes into FOLDER (default: where this script lies)

mackey_glass_1000_data.csv   the 1000 training rows: x0..x5,y as float32 bits. The series is chaotic: two
                             implementations that differ in the last bit of one power part visibly after
                             some 600 samples, so a test of the recursion takes its data from here.
mackey_glass_1000.csv        step,train_loss,nnz,nnz_fc1..nnz_fc4 at the weights after 0, 100, ... 1000 steps of
                             W <- soft(W - a g, a l), b <- b - a g_b with a = 0.1, l = 1e-4 on all 1000 rows;
                             train_loss is the float64 mean squared error.
philox_vectors.csv           kind,name,counter,key,values in hex words: "kat" rows are Random123's known answers for
                             philox4x32-10, "init" rows the first (at most 8) initial values of each tensor as
                             float32 bits, "sum" rows the exact float64 sum of a tensor as float64 bits.

--mg-scale compares the series with LIBSVM's mg_scale first. Takes about a minute on two cores.

The network is 6-128-128-64-1, ReLU between, mean squared error. Initial values (seed 123): philox4x32-10 with
key = (seed low, seed high) and counter = (block low, block high, stream, purpose); purpose 0 is initialisation,
stream the place of the tensor in fc1.weight, fc1.bias, fc2.weight, ...; element i (row-major, weights [out, in])
is word i % 4 of block i / 4; u = (word >> 8) 2^-24; value = fma(2 bound, u, -bound) rounded once to float32, bound =
float32(1/sqrt(fan_in)) for weights and biases alike (PyTorch's default).
"""

import argparse
import math
import os
import sys

import numpy as np

WIDTHS = [6, 128, 128, 64, 1]
SEED = 123
ALPHA = 0.1
LAMBDA = 1e-4
STEPS = 1000
EVERY = 100
TRAIN_ROWS = 1000

KNOWN_ANSWERS = [  # Random123 1.09, tests/kat_vectors
    ("zeros", [0, 0, 0, 0], [0, 0], [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ("ones", [0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    ("pi", [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], [0xA4093822, 0x299F31D0],
     [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]),
]


def philox4x32_10(counter, key):
    """counter: four uint32 arrays (or ints), key: two ints. Returns a uint32 array [..., 4]."""
    low = np.uint64(0xFFFFFFFF)
    c = [np.asarray(x, dtype=np.uint64) for x in np.broadcast_arrays(*counter)]
    k0, k1 = int(key[0]), int(key[1])
    for _ in range(10):
        a = c[0] * np.uint64(0xD2511F53)
        b = c[2] * np.uint64(0xCD9E8D57)
        c = [(b >> np.uint64(32)) ^ c[1] ^ np.uint64(k0), b & low,
             (a >> np.uint64(32)) ^ c[3] ^ np.uint64(k1), a & low]
        k0 = (k0 + 0x9E3779B9) & 0xFFFFFFFF
        k1 = (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack(c, axis=-1).astype(np.uint32)


def initial_tensor(shape, fan_in, stream, seed):
    """The float32 initial values of one tensor."""
    n = int(np.prod(shape))
    block = np.arange((n + 3) // 4, dtype=np.uint64)
    words = philox4x32_10([block & np.uint64(0xFFFFFFFF), block >> np.uint64(32), stream, 0],
                          [seed & 0xFFFFFFFF, seed >> 32]).reshape(-1)[:n]
    bound = float(np.float32(1.0 / np.sqrt(float(fan_in))))
    u = (words >> np.uint32(8)).astype(np.float64) * 2.0**-24
    # 2 bound u has 48 significant bits and shares its scale with bound, so product and sum are exact in
    # float64 and the cast is the one rounding of the fused multiply-add.
    return (2.0 * bound * u - bound).astype(np.float32).reshape(shape)


def tensor_list():
    """(name, shape, fan_in) in stream order."""
    out = []
    for layer, (fan_in, fan_out) in enumerate(zip(WIDTHS[:-1], WIDTHS[1:]), 1):
        out.append((f"fc{layer}.weight", (fan_out, fan_in), fan_in))
        out.append((f"fc{layer}.bias", (fan_out,), fan_in))
    return out


def mackey_glass_series(count=1500):
    """s[k] = x(6k - 17) of dx/dt = 0.2 x(t-17)/(1 + x(t-17)^10) - 0.1 x(t), x(t <= 0) = 0.9."""
    h, delay = 0.05, 340  # 340 steps of 0.05 are the delay of 17
    steps = (6 * (count - 1) - 17) * 20
    x = [0.9] * (delay + 1)  # x[j] is the value at t = h (j - delay)
    for n in range(steps):
        d = x[n]  # frozen over the step
        push = 0.2 * d / (1.0 + d**10)
        v = x[n + delay]
        k1 = push - 0.1 * v
        k2 = push - 0.1 * (v + 0.5 * h * k1)
        k3 = push - 0.1 * (v + 0.5 * h * k2)
        k4 = push - 0.1 * (v + h * k3)
        x.append(v + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4))
    return np.array([x[delay + (6 * k - 17) * 20] if 6 * k > 17 else 0.9 for k in range(count)])


def training_rows():
    """float32 inputs [1000, 6] and labels [1000]."""
    s = mackey_glass_series()
    i = np.arange(TRAIN_ROWS)
    x = np.stack([s[i + d] for d in (30, 24, 18, 12, 6, 0)], axis=1)
    return ((x - 0.867189) / 0.449553).astype(np.float32), s[i + 115].astype(np.float32)


def forward(x, w, b):
    acts = [x]
    for j, (wj, bj) in enumerate(zip(w, b)):
        z = acts[-1] @ wj.T + bj
        acts.append(np.maximum(z, 0.0) if j + 1 < len(w) else z)
    return acts


def train(x, y, w, b, dtype=np.float64, steps=STEPS):
    """Yields (step, loss, [nnz a layer]) at every 100th step. float32 is for judging how far the single
    precision recursion strays; the reference is float64."""
    w, b = [v.astype(dtype) for v in w], [v.astype(dtype) for v in b]
    x, y = x.astype(dtype), y.astype(dtype).reshape(-1, 1)
    alpha, t = dtype(ALPHA), dtype(ALPHA) * dtype(LAMBDA)
    for step in range(steps + 1):
        acts = forward(x, w, b)
        if step % EVERY == 0:
            loss = float(np.mean((acts[-1].astype(np.float64) - y.astype(np.float64)) ** 2))
            yield step, loss, [int(np.count_nonzero(v)) for v in w]
        delta = dtype(2.0 / len(x)) * (acts[-1] - y)
        for j in range(len(w) - 1, -1, -1):
            gw, gb = delta.T @ acts[j], delta.sum(axis=0)
            if j > 0:
                delta = (delta @ w[j]) * (acts[j] > 0)
            z = w[j] - alpha * gw
            w[j] = np.sign(z) * np.maximum(np.abs(z) - t, dtype(0))
            b[j] = b[j] - alpha * gb


def compare_with_file(path):
    """Largest difference, in units of the series, between the inputs of mg_scale and ours over the first 400
    samples. The file has six significant digits of (s - 0.867189) / 0.449553, constants that are themselves
    rounded to six: 5e-7 is what that leaves. From about sample 550 on the two part by chaos."""
    s, worst = mackey_glass_series(), 0.0
    with open(path) as f:
        for row, line in enumerate(f):
            for word in line.split()[1:]:
                index, value = word.split(":")
                k = row + 30 - 6 * (int(index) - 1)
                if k < 400:
                    worst = max(worst, abs(float(value) * 0.449553 + 0.867189 - s[k]))
    return worst


def write(path, lines):
    with open(path + ".tmp", "w") as f:
        f.write("\n".join(lines) + "\n")
    os.replace(path + ".tmp", path)
    print("wrote", path)


def words_of(a):
    return " ".join(f"{int(v):08x}" for v in np.asarray(a).reshape(-1))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", default=os.path.dirname(os.path.abspath(__file__)))
    parser.add_argument("--mg-scale", help="LIBSVM's mg_scale to compare the series with")
    parser.add_argument("--float32", action="store_true", help="also print how far the float32 recursion strays")
    args = parser.parse_args()

    if args.mg_scale:
        worst = compare_with_file(args.mg_scale)
        if not worst <= 5e-7:
            sys.exit(f"the series is not that of {args.mg_scale}: they differ by {worst:.3g} in the first 400 samples")
        print(f"the series equals that of {args.mg_scale} to {worst:.3g} over the first 400 samples")

    lines = ["kind,name,counter,key,values"]
    for name, counter, key, expected in KNOWN_ANSWERS:
        got = philox4x32_10(counter, key)
        if [int(v) for v in got] != expected:
            sys.exit(f"philox4x32-10 known answer '{name}': got {words_of(got)}")
        lines.append(f"kat,{name},{words_of(counter)},{words_of(key)},{words_of(got)}")
    tensors = [initial_tensor(shape, fan_in, stream, SEED) for stream, (_, shape, fan_in) in enumerate(tensor_list())]
    for stream, ((name, _, _), value) in enumerate(zip(tensor_list(), tensors)):
        counter, key = words_of([0, 0, stream, 0]), words_of([SEED, 0])
        lines.append(f"init,{name},{counter},{key},{words_of(value.reshape(-1)[:8].view(np.uint32))}")
    for stream, ((name, _, _), value) in enumerate(zip(tensor_list(), tensors)):
        wide = value.astype(np.float64).reshape(-1)
        # All values are multiples of 2^-42 and their magnitudes add up to less than 2^11: float64 sums of them
        # are exact in any order.
        if np.any(np.ldexp(wide, 42) % 1.0) or np.sum(np.abs(wide)) >= 2.0**11:
            sys.exit(f"{name}: its float64 sum would depend on the order")
        exact = np.array([math.fsum(wide)])
        counter, key = words_of([0, 0, stream, 0]), words_of([SEED, 0])
        lines.append(f"sum,{name},{counter},{key},{int(exact.view(np.uint64)[0]):016x}")
    write(os.path.join(args.out, "philox_vectors.csv"), lines)

    x, y = training_rows()
    rows = np.concatenate([x, y.reshape(-1, 1)], axis=1).view(np.uint32)
    write(os.path.join(args.out, "mackey_glass_1000_data.csv"),
          ["x0,x1,x2,x3,x4,x5,y"] + [",".join(f"{int(v):08x}" for v in row) for row in rows])

    lines = ["step,train_loss,nnz," + ",".join(f"nnz_fc{j + 1}" for j in range(len(WIDTHS) - 1))]
    reference = list(train(x, y, tensors[0::2], tensors[1::2]))
    for step, loss, nnz in reference:
        lines.append(f"{step},{loss!r},{sum(nnz)}," + ",".join(map(str, nnz)))
    write(os.path.join(args.out, "mackey_glass_1000.csv"), lines)
    if args.float32:
        for (step, loss, nnz), (_, loss32, nnz32) in zip(reference,
                                                         train(x, y, tensors[0::2], tensors[1::2], np.float32)):
            print(f"step {step}: loss {loss:.9g}, float32 relative {abs(loss32 - loss) / loss:.2e}; "
                  f"nnz {sum(nnz)}, float32 {sum(nnz32) - sum(nnz):+d}")


if __name__ == "__main__":
    main()
