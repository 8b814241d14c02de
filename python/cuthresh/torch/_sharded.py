"""Weights that are divided among processes: sums over them, and the exact cut over all."""

import torch
import torch.distributed as dist

from ._tensors import flat

_MAGNITUDE = 0x7FFFFFFF  # of float32's bits: as integers they order as |w| does, NaN above ∞


def add_up(tensor, group):
    dist.all_reduce(tensor, group=group)
    return tensor


def keep_largest_(tensors, wanted, group):
    """Of the weights in these tensors in all processes the `wanted` largest stay, the others become
    zero; of equal ones those of the lower rank stay, then those that come first. Two numbers a bit go
    around; nothing is read by the host."""
    device = tensors[0].device if tensors else torch.device("cpu")
    keys = [flat(tensor).view(torch.int32).bitwise_and(_MAGNITUDE) for tensor in tensors]

    def count(predicate):
        counts = [predicate(key).sum() for key in keys]
        return sum(counts[1:], counts[0]).reshape(1) if counts else torch.zeros(1, dtype=torch.int64, device=device)

    least = torch.zeros(1, dtype=torch.int32, device=device)
    for bit in range(30, -1, -1):  # the largest key that as many as are wanted reach
        candidate = least | (1 << bit)
        least = torch.where(add_up(count(lambda key: key >= candidate), group) >= wanted, candidate, least)
    ties = count(lambda key: key == least)
    of_ranks = torch.zeros(dist.get_world_size(group), dtype=torch.int64, device=device)
    rank = dist.get_rank(group)
    of_ranks[rank] = ties[0]
    before = add_up(of_ranks, group)[:rank].sum()
    stay = wanted - add_up(count(lambda key: key > least), group) - before  # of the ties here
    for tensor, key in zip(tensors, keys):
        tied = key == least
        places = tied.cumsum(0)
        flat(tensor).masked_fill_((key < least) | (tied & (places > stay)), 0.0)
        stay = stay - tied.sum()
