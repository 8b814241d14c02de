"""Medians, order statistics, counts and certificates of tensors made by formula."""

from typing import List, Tuple

import server
import torch

CASES = ("bracket_median_1m", "bracket_median_25m", "search_pivot_687k", "kth_25m", "count_25m", "certificate_25m")


def tensors(base, device):
    """The arguments of the case's functions."""
    if base not in CASES:
        raise server.Unknown
    try:
        import formula
    except ImportError as error:
        raise server.Missing(f"its data are made with numpy: {error}") from error
    data = formula.data(base)
    w = [torch.from_numpy(values).to(device) for values in data["w"]] if base in ("count_25m", "certificate_25m") else []
    g = [torch.from_numpy(values).to(device) for values in data["g"]] if base != "count_25m" else []
    return {"w": w, "g": g, "k": data["k"], "lo": formula.BRACKET[0], "hi": formula.BRACKET[1]}


# As one writes them. Each returns tensors, read by the caller; all can be compiled and scripted.

def median(g: torch.Tensor, lo: float, hi: float) -> Tuple[torch.Tensor, int]:
    magnitude = torch.abs(g)
    inside = magnitude[(magnitude > lo) & (magnitude < hi)]
    return torch.median(inside), inside.numel()


def kth(g: torch.Tensor, k: int) -> torch.Tensor:
    return torch.kthvalue(torch.abs(g), g.numel() - k + 1)[0]


def count(w: torch.Tensor) -> torch.Tensor:
    return torch.count_nonzero(w)


def certificate(w: torch.Tensor, g: torch.Tensor, strength: float) -> List[torch.Tensor]:
    nonzero = w != 0
    on_nonzero = torch.abs(g + strength * torch.sign(w))[nonzero].max()
    on_zero = torch.clamp(torch.abs(g[~nonzero]) - strength, min=0.0).max()
    return [nonzero.sum(), on_nonzero, on_zero]


# The fastest ways known to us.

def median_of_selected(g, lo, hi):
    magnitude = torch.abs(g)
    inside = torch.masked_select(magnitude, (magnitude > lo).logical_and_(magnitude < hi))
    return torch.median(inside), inside.numel()  # torch.kthvalue takes half as long again on a CPU


def kth_by_topk(g, k):
    return torch.topk(torch.abs(g), k, sorted=False)[0].min()


def count_by_comparison(w):
    return (w != 0).sum()


def certificate_without_gather(w, g, strength):
    nonzero = w != 0
    on_nonzero = torch.abs(g + strength * torch.sign(w)).mul_(nonzero).max()
    on_zero = torch.abs(g).sub_(strength).masked_fill_(nonzero, 0.0).max().clamp_(min=0.0)
    return [nonzero.sum(), on_nonzero, on_zero]


# Case: the function, the tuned one, and how each is named.
FUNCTIONS = {
    "bracket_median": (median, median_of_selected, "boolean mask, torch.median", "masked_select, torch.median"),
    "search_pivot": (median, median_of_selected, "boolean mask, torch.median, a tensor",
                     "masked_select, torch.median, a tensor"),
    "kth": (kth, kth_by_topk, "torch.kthvalue", "torch.topk, unsorted, and the least of them"),
    "count": (count, count_by_comparison, "torch.count_nonzero", "(w != 0).sum()"),
    "certificate": (certificate, certificate_without_gather, "boolean masks, torch.max", "masked, nothing gathered"),
}


class ListCase(server.Case):
    """Nothing changes from call to call, so nothing is set back. Every result is read at once."""

    def __init__(self, kind, function, how, data):
        self.how, self.w, self.g = how, data["w"], data["g"]
        self.call = {"bracket_median": self.medians, "search_pivot": self.medians, "kth": self.kth, "count": self.count,
                     "certificate": self.certificate}[kind]
        self.function, self.k, self.bracket = function, data["k"], (data["lo"], data["hi"])
        # As float32, like the plan's: added to one, it is the same sum.
        self.strength = float(torch.tensor(server.LAMBDA))

    def medians(self):
        figures = {}
        for i, g in enumerate(self.g, 1):
            number = "" if len(self.g) == 1 else f"_{i}"
            value, inside = self.function(g, *self.bracket)
            figures["inside" + number], figures["median" + number] = int(inside), float(value)
        return figures

    def kth(self):
        return {"kth": float(self.function(self.g[0], self.k))}

    def count(self):
        return {"nnz": int(self.function(self.w[0]))}

    def certificate(self):
        nnz, on_nonzero, on_zero = self.function(self.w[0], self.g[0], self.strength)
        return {"nnz": int(nnz), "on_nonzero": float(on_nonzero), "on_zero": float(on_zero)}

    def step(self):
        self.call()

    def check(self):
        return self.call()

    def reset(self):
        pass

    def synchronize(self):
        for tensor in self.w + self.g:
            if tensor.is_cuda:
                torch.cuda.synchronize()
                return


def make(base, variant, data):
    kind = base.rpartition("_")[0]
    plain, tuned, plain_how, tuned_how = FUNCTIONS[kind]
    if variant == "reference":
        raise server.Missing("the reference algorithm's median is that of pytorch: torch.median(torch.abs(g)[mask])"
                             if plain is median else "the reference algorithm has no such operation")
    if variant == "graph":
        raise server.Missing("no sizes that the host reads can be captured: the mask's" if plain is median else
                             "one operation on one tensor is not worth a graph")
    if variant == "tuned":
        return ListCase(kind, tuned, tuned_how, data)
    function = {"": lambda f: f, "compiled": lambda f: torch.compile(f), "script": lambda f: torch.jit.script(f)}
    how = {"": "", "compiled": ", torch.compile", "script": ", TorchScript"}[variant]
    return ListCase(kind, function[variant](plain), plain_how + how, data)
