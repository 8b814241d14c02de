"""How many weights to give each layer, of a total that is to be met exactly."""

from ctypes import c_int64, c_uint64
from math import prod

from ._library import check, library


def _check_total(sizes, total):
    if not sizes or min(sizes) < 1 or not len(sizes) <= total <= sum(sizes):
        raise ValueError(f"allocate: total must be from one a layer to the number of weights, {len(sizes)} to "
                         f"{sum(sizes)} (got {total})")


def uniform(sizes, total):
    """The same density everywhere, at least 1 a layer; the sum is exactly `total`. What rounding leaves
    goes to the largest remainders, of equal ones to the first."""
    _check_total(sizes, total)
    weights = sum(sizes)
    counts = [max(1, total * size // weights) for size in sizes]
    order = sorted(range(len(sizes)), key=lambda i: -(total * sizes[i] % weights))
    left = total - sum(counts)
    while left != 0:
        for i in order if left > 0 else reversed(order):
            step = 1 if left > 0 else -1
            if left != 0 and 1 <= counts[i] + step <= sizes[i]:
                counts[i] += step
                left -= step
    return counts


def erdos_renyi(shapes, total):
    """Densities in proportion to the sum of a layer's extents over its size, none above 1, at least 1 a
    layer; the sum is exactly `total`. For [out, in] and [out, in, height, width]: Mocanu et al. 2018,
    and Evci et al. 2020 (RigL)."""
    sizes = [prod(shape) for shape in shapes]
    _check_total(sizes, total)
    layers = len(sizes)
    counts = (c_uint64 * layers)()
    check(library.cth_allocate_erdos_renyi((c_int64 * layers)(*sizes), (c_int64 * layers)(*map(sum, shapes)), layers,
                                           total, counts))
    return list(counts)
