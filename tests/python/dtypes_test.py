"""Parameters and arrays of float64, bfloat16 and float16: float64 as torch.optim.SGD to the bit, 16 bits as a float32
master stepped by it and then rounded."""

import copy
import io
import unittest

import numpy as np
import support
import torch
from support import generator, mlp, nonzeros
from torch import nn

import cuthresh
from cuthresh.torch import ProxSGD, SparsityController, soft_threshold_

HALVES = (torch.bfloat16, torch.float16)
OPTIONS = ({}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4})


def net(dtype):
    torch.manual_seed(support.SEED)
    return nn.Sequential(nn.Linear(13, 29), nn.ReLU(), nn.Linear(29, 7)).to(dtype)


def soft(z, t):
    return torch.where(z.abs() > t, z - torch.sign(z) * t, torch.zeros_like(z))


def draw(parameter, random, dtype=None):
    return torch.randn(parameter.shape, generator=random).to(dtype or parameter.dtype)


class Float64(unittest.TestCase):
    def compare(self, options, penalty):
        ours, theirs = net(torch.float64), net(torch.float64)
        first = ProxSGD(ours, lr=0.1, penalty=penalty, **options)
        second = torch.optim.SGD(theirs.parameters(), lr=0.1, **options)
        random = generator()
        for step in range(100):
            for a, b in zip(ours.parameters(), theirs.parameters()):
                a.grad = torch.randn(a.shape, generator=random, dtype=torch.float64)
                b.grad = a.grad.clone()
            first.step()
            second.step()
            if penalty:
                with torch.no_grad():
                    for p in theirs.parameters():
                        if p.dim() > 1:
                            p.copy_(soft(p, 0.1 * penalty))
            for a, b in zip(ours.parameters(), theirs.parameters()):
                self.assertTrue(torch.equal(a, b), f"step {step}, seed {support.SEED}: {(a - b).abs().max()}")
        self.assertEqual(sum(first.count_nonzero().values()), nonzeros(p for p in ours.parameters() if p.dim() > 1))

    def test_is_sgd_and_then_softshrink(self):
        for options in OPTIONS:
            for penalty in (0.0, 0.3):
                with self.subTest(penalty=penalty, **options):
                    self.compare(options, penalty)


class Halves(unittest.TestCase):
    def steps(self, dtype, options, penalty, count=30, resume_at=None):
        """Ours, and float32 masters by torch.optim.SGD."""
        ours = net(dtype)
        optimizer = ProxSGD(ours, lr=0.1, penalty=penalty, **options)
        masters = [nn.Parameter(p.detach().float()) for p in ours.parameters()]
        theirs = torch.optim.SGD(masters, lr=0.1, **options)
        random = generator()
        t = float(torch.tensor(0.1) * torch.tensor(penalty))
        for step in range(count):
            if step == resume_at:
                saved = io.BytesIO()
                torch.save({"model": ours.state_dict(), "optimizer": optimizer.state_dict()}, saved)
                saved.seek(0)
                state = torch.load(saved)
                ours = net(dtype)
                optimizer = ProxSGD(ours, lr=0.1, penalty=penalty, **options)
                ours.load_state_dict(state["model"])
                optimizer.load_state_dict(state["optimizer"])
            for p, master in zip(ours.parameters(), masters):
                p.grad = draw(p, random)
                master.grad = p.grad.float()
            optimizer.step()
            theirs.step()
            with torch.no_grad():
                for p, master in zip(ours.parameters(), masters):
                    if penalty and p.dim() > 1:
                        master.copy_(soft(master, t))
                    self.assertTrue(torch.equal(p, master.to(dtype)), f"step {step}, seed {support.SEED}")
                    self.assertTrue(torch.equal(optimizer.state[p]["master"], master), f"master, step {step}")
        return ours, optimizer

    def test_are_the_rounding_of_a_master_that_sgd_steps(self):
        for dtype in HALVES:
            for options in OPTIONS:
                with self.subTest(dtype=dtype, **options):
                    self.steps(dtype, options, 0.0)
                    ours, optimizer = self.steps(dtype, options, 0.3)
                    self.assertEqual(sum(optimizer.count_nonzero().values()),
                                     nonzeros(p for p in ours.parameters() if p.dim() > 1))

    def test_masters_and_momenta_survive_a_state_dict(self):
        for dtype in HALVES:
            with self.subTest(dtype=dtype):
                _, optimizer = self.steps(dtype, {"momentum": 0.9}, 0.3, resume_at=11)
                for state in optimizer.state.values():
                    self.assertEqual((state["master"].dtype, state["momentum_buffer"].dtype), (torch.float32,) * 2)

    def test_masters_follow_whoever_writes_parameters(self):
        for dtype in HALVES:
            with self.subTest(dtype=dtype):
                model = net(dtype)
                optimizer = ProxSGD(model, lr=0.5)
                weight = model[0].weight
                weight.grad = torch.zeros_like(weight)
                optimizer.step()
                other = {name: torch.randn(p.shape, generator=generator(1)).to(dtype)
                         for name, p in model.state_dict().items()}
                model.load_state_dict(other)
                optimizer.step()
                self.assertTrue(torch.equal(weight, other["0.weight"]))
                weight.data.fill_(0.25)
                optimizer.refresh_masters()
                optimizer.step()
                self.assertTrue(bool((weight == 0.25).all()))

    def test_small_steps_are_not_lost(self):
        model = nn.Linear(4, 4, bias=False).to(torch.bfloat16)
        with torch.no_grad():
            model.weight.fill_(1.0)
        optimizer = ProxSGD(model, lr=2.0 ** -12)  # a sixteenth of half a last place
        model.weight.grad = torch.ones_like(model.weight)
        for _ in range(64):
            optimizer.step()
        self.assertTrue(bool((model.weight == 1 - 2.0 ** -6).all()))

    def test_an_overflow_ends_the_run(self):
        model = nn.Linear(3, 3, bias=False).half()
        optimizer = ProxSGD(model, lr=10.0)
        model.weight.grad = torch.full_like(model.weight, 60000.0)
        optimizer.step()
        status = optimizer.status()
        self.assertEqual((status.nonfinite, status.stopped), (9, True))


class Controlled(unittest.TestCase):
    def train(self, make, dtype, steps=120):
        torch.manual_seed(support.SEED)
        model = mlp(12, 40, 3).to(dtype)
        optimizer, controller = make(model, steps)
        random = generator()
        wide = torch.float64 if dtype == torch.float64 else torch.float32  # 16-bit layers do not exist on every CPU
        x = torch.randn(64, 12, generator=random).to(wide)
        y = x @ torch.randn(12, 3, generator=random).to(wide)
        for _ in range(steps):
            optimizer.zero_grad()
            predicted = x
            for layer in model:
                predicted = nn.functional.linear(predicted, layer.weight.to(wide), layer.bias.to(wide)) \
                    if isinstance(layer, nn.Linear) else layer(predicted)
            nn.functional.mse_loss(predicted, y).backward()
            optimizer.step()
            controller.step()
        return model, controller

    def check(self, make):
        for dtype in (torch.float64,) + HALVES:
            with self.subTest(dtype=dtype):
                model, controller = self.train(make, dtype)
                wanted = round(0.2 * (12 * 40 + 40 * 3))
                report = controller.report()
                self.assertTrue(report.exact, str(report))
                self.assertEqual(nonzeros(p for p in model.parameters() if p.dim() > 1), wanted)

    def test_prox_sgd_ends_with_exactly_the_target(self):
        def make(model, steps):
            optimizer = ProxSGD(model, lr=0.02, momentum=0.9)
            return optimizer, SparsityController(optimizer, target=0.8, steps=steps)

        self.check(make)

    def test_another_optimizer_ends_with_exactly_the_target(self):
        def make(model, steps):
            optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
            return optimizer, SparsityController(optimizer, target=0.8, steps=steps, model=model)

        self.check(make)

    def test_dtypes_beside_each_other(self):
        """bfloat16 weights, float32 biases, a float64 weight that is not penalised."""
        model = net(torch.bfloat16)
        for layer in (model[0], model[2]):
            layer.bias = nn.Parameter(layer.bias.detach().float())
        other = nn.Parameter(torch.randn(5, 5, generator=generator(3), dtype=torch.float64))
        optimizer = ProxSGD([{"params": list(model.parameters())}, {"params": [other], "lr": 0.05, "penalise": []}],
                            lr=0.1, penalty=0.3)
        alone = [ProxSGD([p], lr=lr, penalty=0.3, penalise=None if i < 4 else [])
                 for i, (p, lr) in enumerate([(nn.Parameter(p.detach().clone()), 0.1) for p in model.parameters()] +
                                             [(nn.Parameter(other.detach().clone()), 0.05)])]
        random = generator()
        for _ in range(5):
            for p, single in zip(list(model.parameters()) + [other], alone):
                p.grad = draw(p, random)
                single.param_groups[0]["params"][0].grad = p.grad.clone()
                single.step()
            optimizer.step()
        for p, single in zip(list(model.parameters()) + [other], alone):
            self.assertTrue(torch.equal(p, single.param_groups[0]["params"][0]))
        self.assertEqual(list(optimizer.count_nonzero().values()),
                         [nonzeros([model[0].weight]), nonzeros([model[2].weight])])
        self.assertEqual(optimizer.status().nonzeros, nonzeros([model[0].weight, model[2].weight]))
        saved, copied = optimizer.state_dict()["state"], copy.deepcopy(optimizer).state_dict()["state"]
        self.assertEqual([sorted(state) for state in saved.values()], [["master"]] * 2, "of the two bfloat16 weights")
        for key, state in saved.items():
            self.assertTrue(torch.equal(state["master"], copied[key]["master"]))
        controller = SparsityController(optimizer, target=0.5, steps=20)
        for _ in range(20):
            for p in list(model.parameters()) + [other]:
                p.grad = draw(p, random)
            optimizer.step()
            controller.step()
        self.assertTrue(controller.exact)

    def test_a_controller_has_one_dtype(self):
        a, b = nn.Parameter(torch.ones(3, 3)), nn.Parameter(torch.ones(3, 3).bfloat16())
        with self.assertRaisesRegex(ValueError, "one dtype.*bfloat16, torch.float32.*a controller for each"):
            SparsityController(ProxSGD([a, b], lr=0.1), steps=10)
        with self.assertRaisesRegex(ValueError, "one dtype.*bfloat16, torch.float32.*each dtype"):
            SparsityController(torch.optim.SGD([a, b], lr=0.1), steps=10)


class Functions(unittest.TestCase):
    def test_soft_threshold_of_tensors(self):
        for dtype in (torch.float64,) + HALVES:
            with self.subTest(dtype=dtype):
                tensor = torch.randn(1003, generator=generator()).to(dtype)
                wide = tensor.double() if dtype == torch.float64 else tensor.float()
                t = 0.5 if dtype == torch.float64 else float(torch.tensor(0.5))
                expected = soft(wide, t).to(dtype)
                self.assertTrue(torch.equal(soft_threshold_(tensor, 0.5), expected))

    def test_numpy(self):
        random = np.random.default_rng(support.SEED)
        for dtype in (np.float64, np.float16):
            with self.subTest(dtype=dtype):
                values = random.standard_normal(2001).astype(dtype)
                wide = values.astype(np.float64 if dtype == np.float64 else np.float32)
                self.assertEqual(cuthresh.kth_magnitude(values, 17), float(np.sort(np.abs(wide))[-17]))
                z = np.where(np.abs(wide) > 0.25, wide - np.copysign(wide.dtype.type(0.25), wide), 0).astype(dtype)
                count = cuthresh.soft_threshold(values, 0.25)
                np.testing.assert_array_equal(values, z)
                self.assertEqual(count, np.count_nonzero(z))
                self.assertEqual(cuthresh.count_nonzero(values), count)

    def test_bfloat16_through_dlpack(self):
        values = torch.randn(501, generator=generator()).bfloat16()
        largest = float(values.abs().max())
        self.assertEqual(cuthresh.kth_magnitude([values], 1), largest)

    def test_a_plan_with_a_master_of_ones_own(self):
        w = np.array([1.0, -1.0, 0.5], np.float16)
        master = np.array([1.0001, 3.0, 0.5], np.float32)  # the second is not stored as w is
        g = np.zeros(3, np.float16)
        plan = cuthresh.Plan(cuthresh.Context(), [cuthresh.PlanTensor(w, g, master=master)])
        np.testing.assert_array_equal(master, np.array([1.0001, -1.0, 0.5], np.float32))
        plan.set_rates([0.5])
        plan.set_lambda([0.5])
        plan.step()
        np.testing.assert_array_equal(master, np.array([1.0001, -1, 0.5], np.float32) - np.float32([0.25, -0.25, 0.25]))
        np.testing.assert_array_equal(w, master.astype(np.float16))
        with self.assertRaisesRegex(TypeError, "expected float16.*got float32"):
            plan.set_gradients([np.zeros(3, np.float32)])


if __name__ == "__main__":
    unittest.main()
