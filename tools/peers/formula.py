"""The data of the list cases, made by formula on both sides (bench/peer/formula.hpp): every value is a function of its
index alone, in integer and single float32 operations, and so the same to the bit everywhere. Needs numpy."""

import numpy as np

BRACKET = (float(np.float32(1e-5)), float(np.float32(1e-4)))
PIVOT_SIZES = (288, 18432, 73728, 589824, 5120)  # the weights of conv_step
LARGE = 25_000_000
MIDDLE = 1_000_000


def mixed(i, stream):
    h = i * np.uint32(0x9e3779b1) + np.uint32((stream * 0x85ebca77) & 0xffffffff)
    h = (h ^ (h >> np.uint32(16))) * np.uint32(0x7feb352d)
    h = (h ^ (h >> np.uint32(15))) * np.uint32(0x846ca68b)
    return h ^ (h >> np.uint32(16))


def uniform(i, stream):
    """On [-1, 1), multiples of 2^-23."""
    return ((mixed(i, stream) >> np.uint32(8)).astype(np.int32) - (1 << 23)).astype(np.float32) * np.float32(2.0**-23)


def gradients(first, count):
    i = np.arange(first, first + count, dtype=np.uint32)
    return uniform(i, 1) * uniform(i, 2) * np.float32(2.0**-12)


def weights(first, count):
    """One in eight is not zero, at random."""
    i = np.arange(first, first + count, dtype=np.uint32)
    return np.where(mixed(i, 3) & np.uint32(7) == 0, uniform(i, 4), np.float32(0))


def data(case):
    """{"w", "g": lists of arrays, a tensor each; "k" of kth_25m} of a list case."""
    sizes = {"bracket_median_1m": (MIDDLE,), "bracket_median_25m": (LARGE,), "search_pivot_687k": PIVOT_SIZES,
             "kth_25m": (LARGE,), "count_25m": (LARGE,), "certificate_25m": (LARGE,)}[case]
    firsts = [sum(sizes[:i]) for i in range(len(sizes))]
    return {"w": [weights(f, n) for f, n in zip(firsts, sizes)], "g": [gradients(f, n) for f, n in zip(firsts, sizes)],
            "k": sizes[0] // 10}
