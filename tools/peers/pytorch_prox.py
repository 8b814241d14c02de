"""SGD step, softshrink and count of weights with constant gradients, and the update that training shares with it."""

from typing import List

import server
import torch

CASES = ("prox_step_25k", "prox_step_25m")
LARGE = 25_000_000
LAYERS = 4


def tensors(base, state):
    """[(weights, gradient), ...]. Element i of the large one is element i mod 25,408 of the four tensors one after the
    other."""
    names = [f"fc{j}.weight" for j in range(1, LAYERS + 1)]
    pairs = [(state[n], state["g." + n]) for n in names]
    if base == "prox_step_25k":
        return pairs

    def large(parts):
        small = torch.cat([p.reshape(-1) for p in parts])
        return small.repeat(-(-LARGE // small.numel()))[:LARGE].clone()
    return [tuple(large(parts) for parts in zip(*pairs))]


def update(weights: List[torch.Tensor], weight_gradients: List[torch.Tensor], others: List[torch.Tensor],
           other_gradients: List[torch.Tensor], rate: float, threshold: float) -> torch.Tensor:
    """In place, under no_grad; the number of nonzero weights. To be compiled or scripted: fused, it needs no foreach."""
    for p, g in zip(others, other_gradients):
        p.sub_(g, alpha=rate)
    count = torch.zeros([], dtype=torch.int64, device=weights[0].device)
    for w, g in zip(weights, weight_gradients):
        w.copy_(torch.nn.functional.softshrink(w.sub_(g, alpha=rate), threshold))
        count = count + torch.count_nonzero(w)
    return count


def capture(step):
    """A CUDA graph of step() and the tensor that each replay leaves its result in. The step is run first, as capturing
    needs it: what it changes must be set back."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(server.WARM_UP_STEPS):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = step()
    return graph, result


class Update:
    """SGD step + softshrink of the weights + count, on parameters that have gradients."""

    def __init__(self, parameters, weights, variant):
        self.parameters, self.weights = parameters, weights
        penalised = {id(w) for w in weights}
        self.others = [p for p in parameters if id(p) not in penalised]
        # The product of the two as float32, as ours takes it: one last bit would be 4e-9 in the check's sum.
        self.threshold = float(torch.tensor(server.LEARNING_RATE) * torch.tensor(server.LAMBDA))
        self.optimiser = torch.optim.SGD(parameters, lr=server.LEARNING_RATE)
        if variant in ("compiled", "script"):
            self.function = torch.compile(update) if variant == "compiled" else torch.jit.script(update)
            self.run = self.fused
        else:
            self.run = self.eager if variant in ("", "reference") else self.tuned

    def eager(self):
        self.optimiser.step()
        for w in self.weights:
            w.data = torch.nn.functional.softshrink(w.data, self.threshold)
        return sum(int(torch.count_nonzero(w)) for w in self.weights)

    def tuned(self):
        torch._foreach_add_(self.parameters, [p.grad for p in self.parameters], alpha=-server.LEARNING_RATE)
        for w in self.weights:
            torch._C._nn.softshrink(w.data, self.threshold, out=w.data)
        if self.weights[0].is_cuda:  # left on the device, so that a step waits once
            return torch.stack([torch.count_nonzero(w) for w in self.weights]).sum()
        return sum(int(torch.count_nonzero(w)) for w in self.weights)

    def fused(self):
        return self.function([w.data for w in self.weights], [w.grad for w in self.weights],
                             [p.data for p in self.others], [p.grad for p in self.others], server.LEARNING_RATE,
                             self.threshold)

    def __call__(self):
        with torch.no_grad():
            return self.run()


HOW = {"": "optimizer.step(), softshrink and count_nonzero a tensor",
       "tuned": "_foreach_add_ of all at once, softshrink in place, count_nonzero a tensor",
       "compiled": "one torch.compile'd function, its count left as a tensor till the end",
       "script": "one TorchScript function, its count left as a tensor till the end",
       "graph": "the tuned step as a CUDA graph"}


class Prox(server.Case):
    """Before each sample the weights are set back, outside the timing."""

    def __init__(self, pairs, base, variant):
        if variant not in HOW:
            raise server.Missing("the reference algorithm's loop is one of training")
        self.base, self.how = base, HOW[variant]
        self.initial = [w for w, _ in pairs]
        self.weights = [torch.nn.Parameter(w.clone()) for w in self.initial]
        for w, (_, g) in zip(self.weights, pairs):
            w.grad = g
        self.update = Update(self.weights, self.weights, variant)
        if variant == "graph":
            self.graph, self.count = capture(self.update)

    def step(self):
        if hasattr(self, "graph"):
            self.graph.replay()
            return int(self.count)
        return int(self.update())

    def before_sample(self):
        with torch.no_grad():
            for w, initial in zip(self.weights, self.initial):
                w.copy_(initial)

    reset = before_sample

    def synchronize(self):
        synchronize(self.weights[0])

    def check(self):
        self.reset()
        for _ in range(server.CHECK_STEPS[self.base]):
            nnz = self.step()
        total = sum(float(w.detach().double().abs().sum()) for w in self.weights)
        return {"nnz": nnz, "loss": total / sum(w.numel() for w in self.weights)}


def synchronize(tensor):
    if tensor.is_cuda:
        torch.cuda.synchronize()
