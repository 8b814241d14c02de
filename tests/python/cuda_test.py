"""ProxSGD and SparsityController on a GPU. Run by tools/gpu_check.sh; skipped where PyTorch sees none.

CUTHRESH_TEST_DEVICE=cpu runs what does not need a GPU on the CPU: for whoever changes these tests without one."""

import copy
import os
import unittest

import support
import torch
from support import generator, mlp, same_bits
from torch import nn

from cuthresh.torch import ProxSGD, SparsityController

DEVICE = os.environ.get("CUTHRESH_TEST_DEVICE", "cuda")
OPTIONS = ({}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-3})


def setUpModule():
    if DEVICE == "cuda" and not torch.cuda.is_available():
        raise unittest.SkipTest("PyTorch sees no CUDA device")


def give_gradients(model, random):
    """Drawn on the CPU, so that they are the same on every device."""
    for parameter in model.parameters():
        drawn = torch.randn(parameter.shape, generator=random)
        if parameter.grad is None:
            parameter.grad = drawn.to(parameter.device)
        else:
            parameter.grad.copy_(drawn)


def problem(rows=64):
    random = generator()
    x = torch.randn(rows, 12, generator=random)
    return x.to(DEVICE), torch.tanh(x[:, :3] * 2).to(DEVICE)


class Steps(unittest.TestCase):
    def test_they_have_the_bits_of_the_cpu(self):
        for options in OPTIONS:
            with self.subTest(**options):
                here = mlp(12, 40, 30, 3)
                there = copy.deepcopy(here).to(DEVICE)
                optimizers = [ProxSGD(model, lr=0.05, penalty=0.4, **options) for model in (here, there)]
                random = [generator(1), generator(1)]
                for _ in range(50):
                    for model, optimizer, draw in zip((here, there), optimizers, random):
                        give_gradients(model, draw)
                        optimizer.step()
                for a, b in zip(here.parameters(), there.parameters()):
                    self.assertTrue(same_bits(a, b.cpu()), f"seed {support.SEED}")
                self.assertEqual(*(list(optimizer.count_nonzero().values()) for optimizer in optimizers))
                self.assertGreater(sum(int((p == 0).sum()) for p in here.parameters()), 0)

    def test_without_a_penalty_they_are_sgd(self):
        for options in OPTIONS:
            with self.subTest(**options):
                ours = mlp(12, 40, 3).to(DEVICE)
                theirs = copy.deepcopy(ours)
                first = ProxSGD(ours, lr=0.05, **options)
                second = torch.optim.SGD(theirs.parameters(), lr=0.05, **options)
                random = [generator(2), generator(2)]
                for _ in range(50):
                    for model, optimizer, draw in ((ours, first, random[0]), (theirs, second, random[1])):
                        give_gradients(model, draw)
                        optimizer.step()
                for a, b in zip(ours.parameters(), theirs.parameters()):
                    torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


class Controlled(unittest.TestCase):
    STEPS = 300

    def train(self, make, target=0.9):
        model = mlp(12, 60, 40, 3).to(DEVICE)
        optimizer = make(model)
        controller = SparsityController(optimizer, target=target, steps=self.STEPS)
        x, y = problem()
        for _ in range(self.STEPS):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            controller.step()
        weights = [p for p in model.parameters() if p.dim() > 1]
        total = sum(p.numel() for p in weights)
        self.assertEqual(support.nonzeros(weights), int((1 - target) * total + 0.5))
        self.assertTrue(controller.exact)
        self.assertLess(loss.item(), y.var().item())

    def test_training_ends_exact(self):
        for target in (0.9, 0.95):
            self.train(lambda model: ProxSGD(model, lr=0.1, momentum=0.9), target)

    def test_after_another_optimizer_too(self):
        self.train(lambda model: torch.optim.AdamW(model.parameters(), lr=1e-2))

    @unittest.skipIf(DEVICE == "cpu", "needs streams")
    def test_on_a_stream_of_the_callers(self):
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            self.train(lambda model: ProxSGD(model, lr=0.1, momentum=0.9))

    @unittest.skipIf(DEVICE == "cpu", "needs graphs")
    def test_captured_steps_follow_the_count(self):
        model = mlp(12, 60, 40, 3).to(DEVICE)
        x, y = problem()
        optimizer = ProxSGD(model, lr=0.1)
        controller = SparsityController(optimizer, target=0.9, steps=2000, update_every=1)

        def one():
            optimizer.zero_grad(set_to_none=False)
            nn.functional.mse_loss(model(x), y).backward()
            optimizer.step()
            controller.step()

        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                one()
        side.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=side):
            one()
        for _ in range(1000):
            graph.replay()
        torch.cuda.synchronize()
        with torch.cuda.stream(side):
            status = optimizer.status()
            self.assertEqual(status.steps, 1003)
            counts = optimizer.count_nonzero()
            self.assertGreater(max(line.lambda_ for line in controller.report().targets), 0.0)
        weights = [p for p in model.parameters() if p.dim() > 1]
        self.assertEqual(sum(counts.values()), support.nonzeros(weights))
        # Half of the way is gone (ramp 0.05 to 0.6 of 2,000 steps), and the count goes with it.
        self.assertLess(support.nonzeros(weights), 0.6 * sum(p.numel() for p in weights))


class Overflow(unittest.TestCase):
    @unittest.skipIf(DEVICE == "cpu", "needs a gradient scaler on a GPU")
    def test_a_scaler_leaves_steps_out_on_the_device(self):
        model = mlp(12, 20, 3).to(DEVICE)
        x, y = problem()
        optimizer = ProxSGD(model, lr=0.1, momentum=0.9, penalty=1e-3)
        scaler = torch.amp.GradScaler("cuda") if hasattr(torch.amp, "GradScaler") else torch.cuda.amp.GradScaler()
        for poisoned in (False, True, False):
            before, steps = [p.detach().clone() for p in model.parameters()], optimizer.status().steps
            optimizer.zero_grad()
            scaler.scale(nn.functional.mse_loss(model(x), y)).backward()
            if poisoned:
                model[0].weight.grad[0, 0] = float("inf")
            scaler.step(optimizer)
            scaler.update()
            same = all(same_bits(a, p) for a, p in zip(before, model.parameters()))
            self.assertEqual(same, poisoned)
            self.assertEqual(optimizer.status().steps, steps + (0 if poisoned else 1))


if __name__ == "__main__":
    unittest.main()
