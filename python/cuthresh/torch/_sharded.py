"""Weights that are divided among processes: sums over them, and the exact cut over all."""

import torch
import torch.distributed as dist

from ._tensors import flat

_MAGNITUDE = 0x7FFFFFFF  # of float32's bits: as integers they order as |w| does, NaN above ∞


def add_up(tensor, group):
    dist.all_reduce(tensor, group=group)
    return tensor


def _count(keys, predicate, device):
    counts = [predicate(key).sum() for key in keys]
    return sum(counts[1:], counts[0]).reshape(1) if counts else torch.zeros(1, dtype=torch.int64, device=device)


def _kth_key(keys, k, group, device):
    """The key of the k-th largest magnitude in all processes, bit by bit."""
    found = torch.zeros(1, dtype=torch.int32, device=device)
    for bit in range(30, -1, -1):
        candidate = found | (1 << bit)
        reached = add_up(_count(keys, lambda key, at=candidate: key >= at, device), group)
        found = torch.where(reached >= k, candidate, found)
    return found


def _keys(tensors):
    return [flat(tensor).view(torch.int32).bitwise_and(_MAGNITUDE) for tensor in tensors]


def keep_largest_(tensors, wanted, group, device):
    """Of the weights in these tensors in all processes the `wanted` largest stay, the others become
    zero; of equal ones those of the lower rank stay, then those that come first. One number a bit goes
    around, and nothing is read by the host."""
    keys = _keys(tensors)
    least = _kth_key(keys, wanted, group, device)
    of_ranks = torch.zeros(dist.get_world_size(group), dtype=torch.int64, device=device)
    rank = dist.get_rank(group)
    of_ranks[rank] = _count(keys, lambda key: key == least, device)[0]
    before = add_up(of_ranks, group)[:rank].sum()
    stay = wanted - add_up(_count(keys, lambda key: key > least, device), group) - before  # of the ties here
    for tensor, key in zip(tensors, keys):
        tied = key == least
        flat(tensor).masked_fill_((key < least) | (tied & (tied.cumsum(0) > stay)), 0.0)
        stay = stay - tied.sum()


def first_lambda(tensors, rates, wanted, ramp_steps, group, device):
    """Where λ begins, as for whole weights: what only leaves `wanted` by the end of the ramp if no
    gradient holds the weights. The same number in every process."""
    keys = _keys(tensors)
    kth, largest = (_kth_key(keys, k, group, device).view(torch.float32).item() for k in (wanted, 1))
    sums = [sum(rate * tensor.numel() for rate, tensor in zip(rates, tensors)), sum(t.numel() for t in tensors)]
    rate, weights = add_up(torch.tensor(sums, dtype=torch.float64, device=device), group).tolist()
    if not rate > 0 or not largest > 0:
        raise ValueError("SparsityController: λ cannot be found while all learning rates or weights are 0; give "
                         "lambda_start")
    start = torch.tensor([max(kth, 1e-4 * largest) * weights / (rate * ramp_steps)], device=device)
    dist.all_reduce(start, op=dist.ReduceOp.MAX, group=group)
    return start.item()
