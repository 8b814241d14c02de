"""Traps that sparse training falls into elsewhere."""

import copy
import unittest

import torch
from support import generator, mlp, nonzeros, same_bits, set_random_gradients
from torch import nn

from cuthresh.torch import ProxSGD, SparsityController


def train(model, optimizer, controller, steps, random, after=None):
    for step in range(steps):
        set_random_gradients(model.parameters(), random)
        optimizer.step()
        controller.step()
        if after is not None:
            after(step)


class Traps(unittest.TestCase):
    def test_zeros_make_no_nan_without_lambda_or_learning_rate(self):
        for lr, penalty in ((0.0, 0.5), (0.1, 0.0), (0.0, 0.0)):
            for momentum in (0.0, 0.9):
                p = nn.Parameter(torch.tensor([[0.0, -0.0, 1.0, -2.0]]))
                optimizer = ProxSGD([p], lr=lr, penalty=penalty, momentum=momentum)
                p.grad = torch.zeros_like(p)
                for _ in range(3):
                    optimizer.step()
                self.assertTrue(torch.equal(p.detach(), torch.tensor([[0.0, 0.0, 1.0, -2.0]])), (lr, penalty))

    def frozen_zeros_stay(self, make):
        model = mlp(20, 30, 5)
        optimizer = make(model)
        weights = [p for p in model.parameters() if p.dim() == 2]
        controller = SparsityController(optimizer, target=0.9, steps=60, ramp=(0.05, 0.4), debias=0.5, model=None
                                        if isinstance(optimizer, ProxSGD) else model)
        zeros = []

        def look(step):
            if step >= 32:
                zeros.append([p == 0 for p in weights])

        train(model, optimizer, controller, 80, generator(), look)
        for now in zeros:
            for a, b in zip(now, zeros[0]):
                self.assertTrue(torch.equal(a, b))
        self.assertEqual(nonzeros(weights), 75)
        self.assertTrue(controller.exact)

    def test_momentum_does_not_revive_frozen_zeros(self):
        self.frozen_zeros_stay(lambda model: ProxSGD(model, lr=0.05, momentum=0.95))

    def test_adam_does_not_revive_frozen_zeros(self):
        self.frozen_zeros_stay(lambda model: torch.optim.AdamW(model.parameters(), lr=0.01))

    def test_ties_at_the_threshold_are_counted_exactly(self):
        for wanted in (1, 7, 50, 99):
            p = nn.Parameter(torch.ones(10, 10))
            optimizer = ProxSGD([p], lr=0.1)
            # λ stays small: equal weights that shrink alike would all be gone at once.
            controller = SparsityController(optimizer, target=wanted, steps=20, lambda_start=1e-6, integral_gain=0.0,
                                            proportional_gain=0.0)
            for _ in range(20):
                p.grad = torch.zeros_like(p)
                optimizer.step()
                controller.step()
            self.assertEqual(int(p.count_nonzero()), wanted)
            self.assertTrue(bool((p.flatten()[:wanted] != 0).all()), "of equal ones the first survive")

    def test_memory_and_views_stay_and_autograd_is_told(self):
        model = mlp(6, 4)
        p = model[0].weight
        optimizer = ProxSGD(model, lr=0.1, penalty=0.1)
        pointer, view, data = p.data_ptr(), p.detach()[1], p.data
        set_random_gradients(model.parameters(), generator())
        optimizer.step()
        self.assertEqual(p.data_ptr(), pointer)
        self.assertTrue(same_bits(view, p[1]) and same_bits(data, p))
        x = torch.randn(2, 6, requires_grad=True)
        y = model(x).sum()
        version = p._version
        set_random_gradients(model.parameters(), generator(1))
        optimizer.step()
        self.assertGreater(p._version, version)
        with self.assertRaisesRegex(RuntimeError, "modified by an inplace operation"):
            y.backward()
        self.assertFalse(p.grad is None)
        self.assertTrue(p.requires_grad and p.is_leaf)

    def test_tied_parameters_are_stepped_once(self):
        class Tied(nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = nn.Linear(4, 4)
                self.outer = nn.Linear(4, 4)
                self.outer.weight = self.inner.weight

        model = Tied()
        optimizer = ProxSGD(model, lr=0.5, penalty=0.0)
        before = model.inner.weight.detach().clone()
        model.inner.weight.grad = torch.ones(4, 4)
        optimizer.step()
        self.assertIs(model.inner.weight, model.outer.weight)
        self.assertTrue(torch.equal(model.outer.weight, before - 0.5))
        self.assertEqual(optimizer.penalised(), ["inner.weight"])

    def test_parameters_that_share_memory_are_refused(self):
        whole = torch.zeros(4, 4)
        with self.assertRaisesRegex(ValueError, "overlap"):
            ProxSGD([nn.Parameter(whole), nn.Parameter(whole[1:])], lr=0.1).step()

    def test_a_moved_parameter_is_noticed(self):
        model = mlp(6, 5, 3)
        optimizer = ProxSGD(model, lr=0.1, momentum=0.9, penalty=0.1)
        twin = copy.deepcopy(model)
        other = ProxSGD(twin, lr=0.1, momentum=0.9, penalty=0.1)
        for step in range(6):
            for m, it in ((model, optimizer), (twin, other)):
                set_random_gradients(m.parameters(), generator(step))
                it.step()
            if step == 1:
                model[0].weight.data = model[0].weight.data.clone()
            if step == 3:
                model.double()
                model.float()  # every parameter elsewhere, twice
        for p, q in zip(model.parameters(), twin.parameters()):
            self.assertTrue(same_bits(p, q))

    def test_a_move_in_the_debias_keeps_the_zeros(self):
        for make in (lambda m: ProxSGD(m, lr=0.05, momentum=0.9),
                     lambda m: torch.optim.Adam(m.parameters(), lr=0.01)):
            model = mlp(20, 30, 5)
            optimizer = make(model)
            weights = [model[0].weight, model[2].weight]
            controller = SparsityController(optimizer, target=100, steps=60)

            def move(step, layer=model[0]):
                if step in (20, 47, 51, 55):
                    layer.weight.data = layer.weight.data.clone()

            train(model, optimizer, controller, 70, generator(), move)
            self.assertEqual(nonzeros(weights), 100)

    def test_permuted_memory_formats_are_the_same_training(self):
        plain = nn.Conv2d(4, 6, 3)
        permuted = copy.deepcopy(plain).to(memory_format=torch.channels_last)
        self.assertFalse(permuted.weight.is_contiguous())
        first, second = ProxSGD(plain, lr=0.1, momentum=0.9, penalty=0.2), ProxSGD(permuted, lr=0.1, momentum=0.9,
                                                                                 penalty=0.2)
        for step in range(6):
            for model in (plain, permuted):
                random = generator(step)
                for p in model.parameters():
                    gradient = torch.randn(p.shape, generator=random)
                    # Every other step in the parameter's own layout, else in another one.
                    p.grad = gradient if step % 2 or p.dim() < 4 else torch.empty_like(p).copy_(gradient)
            first.step()
            second.step()
        self.assertTrue(same_bits(plain.weight, permuted.weight))
        self.assertFalse(permuted.weight.is_contiguous())
        # Momenta of one layout, loaded beside weights of another.
        with torch.no_grad():
            permuted.weight.copy_(plain.weight)
        second.load_state_dict(copy.deepcopy(first.state_dict()))
        self.assertTrue(second.state[permuted.weight]["momentum_buffer"].is_contiguous())
        for model, optimizer in ((plain, first), (permuted, second)):
            set_random_gradients(model.parameters(), generator(9))
            optimizer.step()
        self.assertTrue(same_bits(plain.weight, permuted.weight))
        transposed = nn.Parameter(torch.arange(6.0).reshape(2, 3).t())
        transposed.grad = torch.ones(3, 2)
        ProxSGD([transposed], lr=1.0).step()
        self.assertTrue(torch.equal(transposed.detach(), torch.arange(6.0).reshape(2, 3).t() - 1))

    def test_extents_of_one_and_none(self):
        plain = nn.Parameter(torch.randn(6, 1, 3, 3, generator=generator()))
        permuted = nn.Parameter(plain.detach().clone().contiguous(memory_format=torch.channels_last))
        empty = nn.Parameter(torch.zeros(0, 4))
        for p in (plain, permuted, empty):
            p.grad = torch.ones(p.shape)
        optimizer = ProxSGD([plain, permuted, empty], lr=0.1, momentum=0.9, penalty=1.0)
        optimizer.step()
        self.assertTrue(same_bits(plain, permuted))
        self.assertEqual(optimizer.count_nonzero()["group0.2"], 0)

    def test_a_training_that_is_not_finite_says_so(self):
        model = mlp(4, 3)
        optimizer = ProxSGD(model, lr=0.1)
        controller = SparsityController(optimizer, target=0.5, steps=20)
        set_random_gradients(model.parameters(), generator())
        model[0].weight.grad[0, 0] = float("nan")
        optimizer.step()
        controller.step()
        report = controller.report()
        self.assertEqual((report.stopped, report.nonfinite), (True, 1))
        self.assertIn("not finite", str(report))

    def test_gradients_may_come_and_go_elsewhere(self):
        model, twin = mlp(4, 3), mlp(4, 3)
        first, second = ProxSGD(model, lr=0.1), ProxSGD(twin, lr=0.1)
        keep = []
        for step in range(10):
            for m, it, to_none in ((model, first, True), (twin, second, False)):
                it.zero_grad(set_to_none=to_none)
                x = torch.randn(5, 4, generator=generator(step))
                m(x).square().sum().backward()
                it.step()
            keep.append(model[0].weight.grad)  # so that the next one lies elsewhere
        self.assertTrue(same_bits(model[0].weight, twin[0].weight))


if __name__ == "__main__":
    unittest.main()
