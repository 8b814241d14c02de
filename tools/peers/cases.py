"""What is compared: the cases, whom we stand beside, and how close the answers must be."""

import collections
import re

# A figure agrees when it is within `absolute`, or within `relative` of ours.
Tolerance = collections.namedtuple("Tolerance", "relative absolute", defaults=(0.0, 0.0))
EXACT = Tolerance()


class Case:
    """figures: what `check` answers, by name, with a Tolerance. memory: whether the largest resident set is that of the
    work (of the other cases it would be that of the copies both sides keep to start again)."""

    def __init__(self, figures, memory=False):
        self.figures, self.memory = figures, memory


def _medians(tensors):
    numbers = [""] if tensors == 1 else [f"_{i}" for i in range(1, tensors + 1)]
    return Case({figure + number: EXACT for number in numbers for figure in ("inside", "median")})


# Of training only the order of its sums differs. Full-batch descent doubles such differences every few dozen steps, so
# 200 steps of the small network move a handful of weights across the threshold; of conv_step's 687,392 weights ten
# steps leave 0.2 % at zero, and its tolerance is a twentieth of those. The fused step is the same operation bit by bit
# where the compiler contracts w - a g to a fused multiply-add as ours is; the 1e-9 is the order of a float64 sum.
CASES = {
    "mackey_glass_step": Case({"nnz": Tolerance(0.005), "loss": Tolerance(1e-3)}, memory=True),
    "conv_step": Case({"nnz": Tolerance(1e-4, 2), "loss": Tolerance(1e-4)}, memory=True),
    "prox_step_25k": Case({"nnz": EXACT, "loss": Tolerance(1e-9)}),
    "prox_step_25m": Case({"nnz": EXACT, "loss": Tolerance(1e-9)}),
    "bracket_median_1m": _medians(1),
    "bracket_median_25m": _medians(1),
    "search_pivot_687k": _medians(5),
    "kth_25m": Case({"kth": EXACT}),
    "count_25m": Case({"nnz": EXACT}),
    "certificate_25m": Case({"nnz": EXACT, "on_nonzero": EXACT, "on_zero": EXACT}),
}

# Peer: the program that plays it and its variant there (CASE@VARIANT).
PEERS = {
    "pytorch": ("torch", ""),
    "pytorch_tuned": ("torch", "tuned"),
    "pytorch_compiled": ("torch", "compiled"),
    "pytorch_script": ("torch", "script"),
    "pytorch_graph": ("torch", "graph"),
    "reference_loop": ("torch", "reference"),
    "jax": ("jax", ""),
    "jax_loop": ("jax", "loop"),
}


def request(case, variant):
    return f"{case}@{variant}" if variant else case


def select(pattern):
    """The cases whose name the regular expression is found in, in their order; none: ValueError."""
    try:
        chosen = [name for name in CASES if re.search(pattern, name)]
    except re.error as error:
        raise ValueError(f"'{pattern}' is no regular expression: {error}") from error
    if not chosen:
        raise ValueError(f"'{pattern}' is in no case's name; there are {', '.join(CASES)}")
    return chosen


def disagreement(case, ours, theirs):
    """Empty when the answers agree; else what differs. Both hold the case's figures."""
    differing = []
    for figure, tolerance in CASES[case].figures.items():
        a, b = ours[figure], theirs[figure]
        # Written so that a NaN disagrees.
        if not abs(a - b) <= max(tolerance.absolute, tolerance.relative * abs(a)):
            differing.append(f"{figure} {a:.9g} and {b:.9g} (allowed: {tolerance.relative:g} relative, "
                             f"{tolerance.absolute:g} absolute)")
    return "; ".join(differing)
