#!/usr/bin/env python3
"""What a step of ProxSGD with a controller costs beside torch.optim.SGD, in one run.

    CUTHRESH_LIBRARY=… PYTHONPATH=python python3 bench/python/step_overhead.py [--device cuda] [--repeats 30]

Prints, for each list of tensors, medians of interleaved repeats as ratios to SGD's step (foreach), and
to a training step of the same model at the given batch. Nothing here is a test: on a busy machine the
ratios move."""

import argparse
import statistics
import time

import torch
from torch import nn

from cuthresh.torch import ProxSGD, SparsityController, soft_threshold_


def paper_net():
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 128, 3), nn.ReLU(), nn.Flatten(), nn.Linear(1152, 512), nn.ReLU(), nn.Linear(512, 10))


def narrow_and_deep():
    return nn.Sequential(*[nn.Linear(64, 64) for _ in range(100)], nn.Linear(64, 10))


def wide():
    return nn.Sequential(nn.Linear(784, 2048), nn.ReLU(), nn.Linear(2048, 2048), nn.ReLU(), nn.Linear(2048, 10))


MODELS = {"paper's net, 10 tensors": (paper_net, (1, 28, 28)), "deep, 202 tensors of 4k": (narrow_and_deep, (64,)),
          "wide, 6 tensors, 5.8 M": (wide, (784,))}


def steps_of(make, device):
    """{name: a function that takes one optimizer's step}, each on a model of its own with fixed gradients."""

    def with_gradients():
        torch.manual_seed(0)
        model = make().to(device)
        for p in model.parameters():
            p.grad = torch.randn_like(p) * 1e-3
        return model

    def sgd(shrink):
        model = with_gradients()
        weights = [p for p in model.parameters() if p.dim() > 1]
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, foreach=True)

        def step():
            optimizer.step()
            shrink(weights)

        return step

    def softshrink(weights):
        with torch.no_grad():
            for p in weights:
                p.copy_(nn.functional.softshrink(p, 1e-6))
                p.count_nonzero()

    def prox(controlled):
        model = with_gradients()
        optimizer = ProxSGD(model, lr=1e-3, momentum=0.9, penalty=1e-3)
        controller = SparsityController(optimizer, target=0.5, steps=10**6) if controlled else None

        def step():
            optimizer.step()
            if controlled:
                controller.step()

        return step

    def after_sgd():
        model = with_gradients()
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, foreach=True)
        controller = SparsityController(optimizer, target=0.5, steps=10**6)

        def step():
            optimizer.step()
            controller.step()

        return step

    return {"SGD": sgd(lambda weights: None), "SGD + softshrink + counts": sgd(softshrink),
            "SGD + soft_threshold_": sgd(lambda weights: soft_threshold_(weights, 1e-3, 1e-3)),
            "SGD + controller": after_sgd(), "ProxSGD": prox(False), "ProxSGD + controller": prox(True)}


def training_step(make, shape, batch, device):
    model = make().to(device)
    x, y = torch.randn(batch, *shape, device=device), torch.randint(10, (batch,), device=device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, foreach=True)

    def step():
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


def seconds(step, times, wait):
    wait()
    begin = time.perf_counter()
    for _ in range(times):
        step()
    wait()
    return (time.perf_counter() - begin) / times


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--batch", type=int, default=64)
    given = parser.parse_args()
    wait = torch.cuda.synchronize if given.device == "cuda" else lambda: None
    for title, (make, shape) in MODELS.items():
        steps = steps_of(make, given.device)
        whole = "training step with SGD"
        steps[whole] = training_step(make, shape, given.batch, given.device)
        times = {name: [] for name in steps}
        for step in steps.values():
            seconds(step, 3, wait)
        for _ in range(given.repeats):
            for name, step in steps.items():
                times[name].append(seconds(step, 1 if name == whole else 5, wait))
        medians = {name: statistics.median(values) for name, values in times.items()}
        print(f"\n{title}, batch {given.batch}, {given.device}, median of {given.repeats}")
        print(f"{'':28}{'of SGD step':>12}{'added to training':>19}")
        for name, median in medians.items():
            if name != whole:
                print(f"{name:28}{median / medians['SGD']:>12.2f}{(median - medians['SGD']) / medians[whole]:>18.1%}")


if __name__ == "__main__":
    main()
