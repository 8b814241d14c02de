#!/usr/bin/python3
"""Writes softshrink_table.csv: hard cases of z = w - alpha g and y = softshrink(z, t) as PyTorch computes them.

    make_softshrink_table.py [--out FILE]        (Debian's python3-torch belongs to /usr/bin/python3)

Columns w,g,alpha,t,z_torch,y_torch: float32 bits as 0x%08x. z = torch.add(w, g, alpha=-alpha), which is what
torch.optim.SGD does to a parameter, and y = torch.nn.functional.softshrink(z, t). Every case is evaluated as
71 equal elements, so that the vector body and the tail of PyTorch's loops both see it, and kept where all agree.

What PyTorch 1.13 (x86-64, Debian 12) was found to do:
- torch.add with alpha is a fused multiply-add, z = round(w + (-alpha) g) with one rounding, in the body, in the
  tail, for single elements and for strided tensors, with its AVX2 and its AVX-512 kernels (the ones any CPU of the
  last ten years gets). Its baseline kernels (ATEN_CPU_CAPABILITY=default) round the product first: 9 % of random
  normal inputs then give another last bit. The table holds the fused results; this script also works each z out
  in exact rational arithmetic and refuses to write a table that differs.
- softshrink(z, t): z - t above t, z + t below -t, +0 between, the ends included, for z = -0 too. t = -0 acts as 0.
  Infinite z stays for finite t, and gives +0 for t = infinity. Denormals are kept.
- softshrink turns NaN into +0, everywhere. Ours keeps NaN (a lost run must not look like sparsity), so cases
  with a NaN z are left out of the table.
"""

import argparse
import os
import random
import struct
import sys
from fractions import Fraction

COLUMNS = "w,g,alpha,t,z_torch,y_torch"
COPIES = 71  # not a multiple of any vector width
SEED = 20240802
FLT_MAX, FLT_MIN, DENORM = 3.4028234663852886e38, 2.0**-126, 2.0**-149
INF = float("inf")


def bits(x):
    return struct.unpack("<I", struct.pack("<f", x))[0]


def value(b):
    return struct.unpack("<f", struct.pack("<I", b))[0]


def f32(x):
    """x rounded to float32, overflowing to infinity."""
    try:
        return struct.unpack("<f", struct.pack("<f", x))[0]
    except OverflowError:
        return INF if x > 0 else -INF


def next_up(x):
    return value(bits(x) + 1)


def next_down(x):
    return value(bits(x) - 1)


def exact_fma_bits(a, b, c):
    """Bits of a b + c rounded once to float32 (nearest, ties to even), by rational arithmetic; None for NaN."""
    if any(v in (INF, -INF) for v in (a, b, c)):
        v = a * b + c  # no rounding is involved with an infinity
        return None if v != v else bits(v)
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    if exact == 0:  # the sign of zero follows IEEE addition of the two exact terms
        product_zero = a == 0 or b == 0
        product_negative = struct.pack(">d", a)[0] >> 7 != struct.pack(">d", b)[0] >> 7
        negative = product_zero and product_negative and c == 0 and struct.pack(">d", c)[0] >> 7
        return 0x80000000 if negative else 0
    sign, magnitude = (0x80000000, -exact) if exact < 0 else (0, exact)
    exponent = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    if Fraction(2) ** exponent > magnitude:
        exponent -= 1
    quantum = Fraction(2) ** (max(exponent, -126) - 23)
    units = round(magnitude / quantum)  # Fraction rounds halves to even
    result = units * quantum
    return sign | (0x7F800000 if result >= 2**128 else bits(float(result)))


def cases():
    rng = random.Random(SEED)
    out = []

    def normal(scale):
        return f32(rng.gauss(0.0, 1.0) * scale)

    thresholds = [f32(t) for t in (1e-5, 1.92e-5, 1e-3, 0.5, 1.0, 3.0, 1e10, 1e-30, 1e-40, FLT_MIN, DENORM, FLT_MAX)]
    alphas = [f32(a) for a in (0.1, 1.0, 0.5, 1e-3, 3e-7, 1e-20, 1e-38, 1e-42, DENORM, 7.0)]

    # z exactly at the threshold and one bit to either side, directly (g = 0) and through the product.
    for t in thresholds:
        for edge in (t, next_up(t), next_down(t)):
            for sign in (1.0, -1.0):
                out.append((sign * edge, 0.0, 0.1, t))
                out.append((sign * edge, -0.0, 0.1, t))
                out.append((0.0, -sign * edge, 1.0, t))
                out.append((0.0, f32(-sign * edge * 2.0), 0.5, t))
    # z within a few bits of +-t by cancellation.
    for _ in range(700):
        t = f32(10.0 ** rng.uniform(-8, 1))
        alpha = rng.choice(alphas[:4])
        g = normal(10.0 ** rng.uniform(-4, 3))
        sign = rng.choice((1.0, -1.0))
        w = f32(sign * t + alpha * g)
        out.append((value(bits(w) + rng.choice((-1, 0, 1))) if w else w, g, alpha, t))
    # w is the rounded product: an unfused step gives 0, a fused one the rounding error.
    for _ in range(500):
        alpha = rng.choice(alphas[:6])
        g = normal(2.0 ** rng.uniform(-20, 20))
        w = f32(alpha * g)
        residue = abs(w - alpha * g)  # exact: a float64 holds the product of two float32
        out.append((w, g, alpha, rng.choice((0.0, -0.0, f32(residue), f32(residue / 2), DENORM))))
    # Zeros, denormals, the ends of the range, infinities, in all combinations that a sample holds.
    special = [0.0, DENORM, next_down(FLT_MIN), FLT_MIN, next_up(FLT_MIN), 1e-3, 1.0, 16777217.0, FLT_MAX / 2, FLT_MAX, INF]
    special = [s * f32(v) for v in special for s in (1.0, -1.0)]
    edges = [0.0, -0.0, INF] + thresholds
    grid = [(w, g, a, t) for w in special for g in special for a in alphas + [f32(1e30)] for t in edges]
    out += rng.sample(grid, 1500)
    # Zero and minus zero against every threshold.
    out += [(w, g, a, t) for w in (0.0, -0.0) for g in (0.0, -0.0) for a in (0.1, DENORM) for t in edges]
    # Denormal w, z and t.
    for _ in range(300):
        w = rng.choice((1.0, -1.0)) * value(rng.randrange(1, 0x00FFFFFF))
        g = rng.choice((1.0, -1.0)) * value(rng.randrange(1, 0x00FFFFFF))
        out.append((w, g, rng.choice(alphas), rng.choice((0.0, value(rng.randrange(1, 0x00800000))))))
    # Steps as in training, at many scales.
    for _ in range(1200):
        scale = 2.0 ** rng.uniform(-30, 10)
        alpha = f32(10.0 ** rng.uniform(-4, 0))
        t = f32(alpha * f32(10.0 ** rng.uniform(-7, 0) * scale))
        out.append((normal(scale), normal(scale * 10.0 ** rng.uniform(-2, 2)), alpha, t))
    for _ in range(400):
        t = f32(2.0 ** rng.uniform(-149, 127))
        out.append((normal(2.0 ** rng.uniform(-149, 127)), normal(2.0 ** rng.uniform(-149, 127)),
                    f32(2.0 ** rng.uniform(-40, 20)), t))
    seen, unique = set(), []
    for case in out:
        key = tuple(bits(v) for v in case)
        if key not in seen:
            seen.add(key)
            unique.append(key)
    return unique


def evaluate(torch, w, g, alpha, t):
    """(z bits, y bits) by PyTorch from bits, or None when z is NaN or body and tail disagree."""
    def full(b):
        return torch.full((COPIES,), b - (1 << 32) if b >> 31 else b, dtype=torch.int32).view(torch.float32)

    z = torch.add(full(w), full(g), alpha=-value(alpha))
    y = torch.nn.functional.softshrink(z, value(t))
    zb = set(z.view(torch.int32).tolist())
    yb = set(y.view(torch.int32).tolist())
    if torch.isnan(z).any() or len(zb) != 1 or len(yb) != 1:
        return None
    return zb.pop() & 0xFFFFFFFF, yb.pop() & 0xFFFFFFFF


def fused(torch):
    """Whether this PyTorch uses kernels with a fused multiply-add here."""
    return "NO AVX" not in torch.__config__.show()


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", default=os.path.join(here, "softshrink_table.csv"))
    args = parser.parse_args()
    import torch

    if not fused(torch):
        sys.exit("this PyTorch runs its baseline kernels (no AVX2), whose add rounds twice: make the table elsewhere")
    lines, left_out, unfused_differs = [COLUMNS], 0, 0
    for w, g, alpha, t in cases():
        result = evaluate(torch, w, g, alpha, t)
        if result is None:
            left_out += 1
            continue
        exact = exact_fma_bits(-value(alpha), value(g), value(w))
        if exact != result[0]:
            sys.exit(f"z of w {w:#010x} g {g:#010x} alpha {alpha:#010x}: PyTorch {result[0]:#010x}, exact {exact:#010x}")
        product = f32(-value(alpha) * value(g))
        unfused_differs += bits(f32(product + value(w))) != result[0]
        lines.append(",".join(f"0x{v:08x}" for v in (w, g, alpha, t) + result))
    with open(args.out + ".tmp", "w") as f:
        f.write("\n".join(lines) + "\n")
    os.replace(args.out + ".tmp", args.out)
    print(f"wrote {args.out}: {len(lines) - 1} rows ({unfused_differs} differ without fused multiply-add), "
          f"{left_out} left out (NaN, or body and tail disagree)")


if __name__ == "__main__":
    main()
