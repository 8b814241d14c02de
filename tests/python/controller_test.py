"""SparsityController: exactly what was asked for, in one training, with any optimizer."""

import copy
import io
import json
import unittest

import torch
from support import PaperNet, generator, made_images, mlp, nonzeros, same_bits, set_random_gradients
from torch import nn

from cuthresh.torch import ProxSGD, SparsityController


def weights_of(model):
    return [p for p in model.parameters() if p.dim() > 1]


def fit(model, optimizer, controller, data, steps, batch=16, loss=nn.functional.cross_entropy, begin=0, scheduler=None):
    x, y = data
    for step in range(begin, steps):
        rows = torch.arange(step * batch, (step + 1) * batch) % len(x)
        optimizer.zero_grad()
        loss(model(x[rows]), y[rows]).backward()
        optimizer.step()
        controller.step()
        if scheduler is not None:
            scheduler.step()


def points(count, seed=0):
    random = generator(seed)
    x = torch.randn(count, 12, generator=random)
    return x, (x[:, :4].sum(1) > 0).long() + 2 * (x[:, 4:8].sum(1) > 0).long()


class Reaches(unittest.TestCase):
    def test_an_mlp_is_brought_to_exactly_90_and_95_percent(self):
        makes = {
            "ProxSGD": lambda m: ProxSGD(m, lr=0.05, momentum=0.9),
            "Nesterov": lambda m: ProxSGD(m, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-4),
            "SGD": lambda m: torch.optim.SGD(m.parameters(), lr=0.05, momentum=0.9),
            "AdamW": lambda m: torch.optim.AdamW(m.parameters(), lr=0.01),
        }
        for sparsity in (0.9, 0.95):
            for name, make in makes.items():
                with self.subTest(name, sparsity=sparsity):
                    model, data = mlp(12, 64, 32, 4), points(512)
                    optimizer = make(model)
                    controller = SparsityController(optimizer, target=sparsity, steps=300)
                    fit(model, optimizer, controller, data, 300)
                    total = sum(p.numel() for p in weights_of(model))
                    wanted = int((1 - sparsity) * total + 0.5)
                    self.assertEqual(nonzeros(weights_of(model)), wanted)
                    report = controller.report()
                    self.assertTrue(report.exact and report.met and controller.exact)
                    self.assertEqual((report.nonzeros, report.weights, report.phase), (wanted, total, "done"))
                    accuracy = (model(data[0]).argmax(1) == data[1]).float().mean()
                    self.assertGreater(accuracy, 0.8)

    def test_the_papers_net_is_brought_to_exactly_90_and_95_percent(self):
        images = made_images(256)
        for sparsity, steps, make in ((0.9, 200, lambda m: ProxSGD(m, lr=0.05, momentum=0.9)),
                                      (0.95, 60, lambda m: torch.optim.Adam(m.parameters(), lr=1e-3))):
            with self.subTest(sparsity=sparsity):
                model = PaperNet()
                optimizer = make(model)
                controller = SparsityController(optimizer, target=sparsity, steps=steps)
                fit(model, optimizer, controller, images, steps, batch=8)
                total = sum(p.numel() for p in weights_of(model))
                self.assertEqual(total, 687392)
                self.assertEqual(nonzeros(weights_of(model)), int((1 - sparsity) * total + 0.5))
                with torch.no_grad():
                    accuracy = (model(images[0]).argmax(1) == images[1]).float().mean()
                self.assertGreater(accuracy, 0.5)

    def test_with_a_schedule_of_the_learning_rate(self):
        model, data = mlp(12, 64, 4), points(512)
        optimizer = ProxSGD(model, lr=0.2, momentum=0.9)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 300)
        controller = SparsityController(optimizer, target=51, steps=300)
        fit(model, optimizer, controller, data, 300, scheduler=scheduler)
        self.assertEqual(nonzeros(weights_of(model)), 51)

    def test_a_model_alone(self):
        model, data = mlp(12, 64, 4), points(512)
        controller = SparsityController(model, target=0.9, steps=200, lr=0.05)
        x, y = data
        for step in range(200):
            rows = torch.arange(step * 16, (step + 1) * 16) % len(x)
            loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
            gradients = torch.autograd.grad(loss, list(model.parameters()))
            with torch.no_grad():
                for p, g in zip(model.parameters(), gradients):
                    p -= 0.05 * g
            controller.step()
        self.assertEqual(nonzeros(weights_of(model)), 102)


class Targets(unittest.TestCase):
    def run_to_the_end(self, model, target, make=lambda m: ProxSGD(m, lr=0.1), steps=120, **options):
        optimizer = make(model)
        controller = SparsityController(optimizer, target=target, steps=steps, **options)
        random = generator()
        for _ in range(steps):
            set_random_gradients(model.parameters(), random)
            for p in model.parameters():
                p.grad.mul_(0.05)
            optimizer.step()
            controller.step()
        return controller

    def test_each_layer_its_own(self):
        model = mlp(20, 40, 30, 10)
        controller = self.run_to_the_end(model, {"0.*": 0.5, "2.*": 77, "4.weight": 0.0})
        self.assertEqual([int(p.count_nonzero()) for p in weights_of(model)], [400, 77, 300])
        self.assertEqual([line.name for line in controller.report().targets], ["0.*", "2.*", "4.weight"])

    def test_numpy_numbers_are_numbers(self):
        import numpy as np
        for target, wanted in ((np.int64(50), 50), (np.float32(0.5), 400), (np.float64(0.75), 200)):
            self.run_to_the_end(model := mlp(20, 40), target)
            self.assertEqual(nonzeros(weights_of(model)), wanted)

    def test_groups_share_a_target_and_what_has_none_keeps_its_penalty(self):
        model = mlp(20, 40, 30, 10)
        controller = self.run_to_the_end(model, {("0.*", "4.*"): 200},
                                         lambda m: ProxSGD(m, lr=0.1, penalty={"2.*": 0.0, "*": 0.0}))
        first, second, third = [int(p.count_nonzero()) for p in weights_of(model)]
        self.assertEqual(first + third, 200)
        self.assertEqual(second, 1200)
        self.assertEqual(len(controller.report().layers), 3)

    def test_a_penalty_beside_a_controller_stays(self):
        model = mlp(20, 40, 30)
        optimizer = ProxSGD(model, lr=0.1, penalty={"2.*": 0.125, "*": 0.0})
        controller = SparsityController(optimizer, target={"0.*": 0.5}, steps=50)
        before = model[2].weight.detach().clone()
        for _ in range(2):
            for p in model.parameters():
                p.grad = torch.zeros_like(p)
            optimizer.step()
            controller.step()
        t = float(torch.tensor(0.1) * torch.tensor(0.125))
        shrunk = nn.functional.softshrink(nn.functional.softshrink(before, t), t)
        self.assertTrue(torch.equal(model[2].weight.detach(), shrunk))
        for _ in range(10):
            optimizer.step()
            controller.step()
        now = controller.report().targets[0].lambda_
        self.assertGreater(now, 0)
        shrunk = model[2].weight.detach().clone()
        optimizer.param_groups[0]["penalty"] = [0.0] * 4
        optimizer.step()
        self.assertTrue(torch.equal(model[2].weight.detach(), shrunk))
        self.assertEqual(controller.report().targets[0].lambda_, now)

    def test_a_second_controller_takes_over_from_the_first(self):
        model = mlp(20, 40, 30)
        optimizer = ProxSGD(model, lr=0.1)
        first = SparsityController(optimizer, target=0.9, steps=10, ramp=(0.0, 0.5), lambda_start=0.05,
                                   integral_gain=0.0, proportional_gain=0.0)
        aim = model[0].weight.detach().clone()
        for step in range(60):
            if step == 3:
                self.assertGreater(first.report().targets[0].lambda_, 0)
                second = SparsityController(optimizer, target={"0.*": 80}, steps=57)
                kept = model[2].weight.detach().clone()
                self.assertGreater(int(kept.count_nonzero()), 600)
            for p in model.parameters():
                p.grad = torch.zeros_like(p)
            model[0].weight.grad = model[0].weight.detach() - aim
            optimizer.step()
            (first if step < 3 else second).step()
        self.assertEqual(int(model[0].weight.count_nonzero()), 80)
        self.assertTrue(torch.equal(model[2].weight, kept), "what the second has no target for has no penalty")

    def test_allocations(self):
        sizes = [800, 1200, 300]
        for allocation in ("uniform", "erdos_renyi"):
            model = mlp(20, 40, 30, 10)
            self.run_to_the_end(model, 0.9, per_layer=True, allocation=allocation)
            counts = [int(p.count_nonzero()) for p in weights_of(model)]
            self.assertEqual(sum(counts), 230)
            extents = sizes if allocation == "uniform" else [60, 70, 40]
            for count, extent in zip(counts, extents):
                self.assertLessEqual(abs(count - 230 * extent / sum(extents)), 1)

    def test_bounds_hold_layer_by_layer(self):
        model = mlp(20, 40, 30, 10)
        self.run_to_the_end(model, 230, least={"4.*": 120, "*": 0.01}, most={"0.*": 0.05})
        first, second, third = [int(p.count_nonzero()) for p in weights_of(model)]
        self.assertEqual(first + second + third, 230)
        self.assertGreaterEqual(third, 120)
        self.assertLessEqual(first, 40)
        self.assertGreaterEqual(second, 12)

    def test_another_optimizers_groups_give_each_weight_its_learning_rate(self):
        a, b = nn.Parameter(torch.ones(3, 3)), nn.Parameter(torch.ones(3, 3))
        optimizer = torch.optim.SGD([{"params": [a], "lr": 0.5}, {"params": [b], "lr": 0.25}], lr=1.0)
        controller = SparsityController(optimizer, target={a: 5, b: 5}, steps=100, lambda_start=0.01,
                                        ramp=(0.0, 0.5))
        a.grad, b.grad = torch.zeros(3, 3), torch.zeros(3, 3)
        for _ in range(2):
            optimizer.step()
            controller.step()
        self.assertAlmostEqual((1 - a[0, 0].item()) / (1 - b[0, 0].item()), 2.0, places=2)

    def test_nonsense_is_refused_and_says_why(self):
        model = mlp(4, 5, 3)
        optimizer = ProxSGD(model, lr=0.1)
        for target, words in ((1.5, "share of zeros"), (-0.1, "share of zeros"), (0, "from 1 to 35"),
                              (36, "from 1 to 35"), ({"nothing*": 0.5}, "selects none"),
                              ({"0.*": 0.5, "0.weight": 0.5}, "selects none"),
                              (True, "share of zeros"), ("half", "share of zeros")):
            with self.assertRaisesRegex(ValueError, words, msg=str(target)):
                SparsityController(optimizer, target=target, steps=10)
        for options, words in (({"allocation": "best", "per_layer": True}, "uniform.*erdos_renyi"),
                               ({"least": 0.99}, "least|bound"), ({"least": 1.5}, "least"),
                               ({"ramp": (0.9, 0.1)}, "ramp"), ({"penalise": "0.*"}, "ProxSGD")):
            with self.assertRaisesRegex(ValueError, words, msg=str(options)):
                SparsityController(optimizer, target=0.5, steps=10, **options)
        with self.assertRaisesRegex(TypeError, "optimizer or a model"):
            SparsityController(3, steps=10)
        with self.assertRaises(ValueError):
            SparsityController(optimizer, steps=0)
        SparsityController(optimizer, target=0.5, steps=10)  # after failures a good one goes


class State(unittest.TestCase):
    def both(self, make):
        """A training in one go, and one that is saved, thrown away and resumed."""
        whole, data = mlp(12, 30, 4), points(256)
        optimizer = make(whole)
        controller = SparsityController(optimizer, target=0.9, steps=100, model=None if isinstance(optimizer, ProxSGD)
                                        else whole)
        fit(whole, optimizer, controller, data, 100)
        for stop in (3, 40, 77, 79, 90):
            model = mlp(12, 30, 4)
            optimizer = make(model)
            named = None if isinstance(optimizer, ProxSGD) else model
            controller = SparsityController(optimizer, target=0.9, steps=100, model=named)
            fit(model, optimizer, controller, data, stop)
            file = io.BytesIO()
            torch.save([part.state_dict() for part in (model, optimizer, controller)], file)
            file.seek(0)
            states = torch.load(file)
            resumed = mlp(12, 30, 4, seed=5)
            optimizer = make(resumed)
            controller = SparsityController(optimizer, target=0.9, steps=100, model=resumed if named else None)
            for part, state in zip((resumed, optimizer, controller), states):
                part.load_state_dict(state)
            for p, q in zip(model.parameters(), resumed.parameters()):
                self.assertTrue(same_bits(p, q))
            fit(resumed, optimizer, controller, data, 100, begin=stop)
            for p, q in zip(whole.parameters(), resumed.parameters()):
                self.assertTrue(same_bits(p, q), f"saved after {stop} steps")

    def test_resumed_fused_training_is_the_same_bits(self):
        self.both(lambda m: ProxSGD(m, lr=0.1, momentum=0.9))

    def test_resumed_training_with_adam_is_the_same_bits(self):
        self.both(lambda m: torch.optim.Adam(m.parameters(), lr=0.01))

    def test_other_targets_are_refused(self):
        model = mlp(4, 5, 3)
        optimizer = ProxSGD(model, lr=0.1)
        state = SparsityController(optimizer, target=10, steps=10).state_dict()
        self.assertEqual(state["controller"].dtype, torch.uint8)
        with self.assertRaisesRegex(ValueError, "same target"):
            SparsityController(optimizer, target=11, steps=10).load_state_dict(state)


class AStep(unittest.TestCase):
    def test_nothing_happens_without_a_step_of_the_optimizer(self):
        for make in (lambda m: ProxSGD(m, lr=0.1), lambda m: torch.optim.SGD(m.parameters(), lr=0.1)):
            model = mlp(4, 5)
            optimizer = make(model)
            controller = SparsityController(optimizer, target=0.5, steps=10, ramp=(0.0, 0.5), lambda_start=1.0)
            before = [p.detach().clone() for p in model.parameters()]
            for _ in range(20):
                controller.step()  # as after a scaler that skipped the optimizer's
            self.assertEqual(controller.report().step, 0)
            for p, q in zip(model.parameters(), before):
                self.assertTrue(same_bits(p, q))

    def test_found_inf_of_a_fused_optimizer_is_heeded(self):
        class Fused(torch.optim.SGD):
            """Like PyTorch's fused optimizers: its step is called, whatever the scaler has found."""

            found_inf = None

            def step(self, closure=None):
                found, self.found_inf = self.found_inf, None
                if not found:
                    super().step(closure)
                self.found_inf = found

        model = mlp(4, 5)
        optimizer = Fused(model.parameters(), lr=0.1)
        controller = SparsityController(optimizer, target=0.5, steps=10, ramp=(0.0, 0.5), lambda_start=1.0)
        for overflow in (1.0, 0.0):
            set_random_gradients(model.parameters(), generator())
            optimizer.found_inf = torch.tensor(overflow)
            optimizer.step()
            del optimizer.found_inf
            controller.step()
        self.assertEqual(controller.report().step, 1)

    def test_schedulers_see_no_stranger(self):
        import warnings
        model = mlp(4, 5)
        for early in (True, False):
            optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2) if early else None
                controller = SparsityController(optimizer, target=0.5, steps=10)
                scheduler = scheduler or torch.optim.lr_scheduler.StepLR(optimizer, 2)
                for _ in range(4):
                    set_random_gradients(model.parameters(), generator())
                    optimizer.step()
                    controller.step()
                    scheduler.step()
            self.assertEqual(controller.report().step, 4)
            copy.deepcopy(optimizer).step()
        controller.close()
        del controller
        optimizer.step()

    def test_the_report(self):
        model = mlp(12, 30, 4)
        optimizer = ProxSGD(model, lr=0.1)
        controller = SparsityController(optimizer, target={"0.*": 100, "2.*": 0.5}, steps=50, tolerance=0.1)
        seen = []
        for _ in range(50):
            seen.append(controller.phase)
            set_random_gradients(model.parameters(), generator())
            optimizer.step()
            controller.step()
        self.assertEqual([phase for i, phase in enumerate(seen) if i == 0 or phase != seen[i - 1]],
                         ["dense", "ramp", "hold", "finish", "debias"])
        report = controller.report()
        text = str(report)
        for part in ("step 50 of 50", "0.weight", "100", "met", "lambda"):
            self.assertIn(part, text)
        values = json.loads(json.dumps(report.as_dict()))
        self.assertEqual((values["nonzeros"], values["exact"], len(values["layers"])), (160, True, 2))
        scalars = report.scalars()
        self.assertTrue(all(isinstance(value, float) for value in scalars.values()))
        self.assertAlmostEqual(scalars["cuthresh/sparsity"], 1 - 160 / 480)
        self.assertIn("cuthresh/lambda/0.*", scalars)
        with torch.no_grad():
            model[0].weight[model[0].weight != 0] = 0  # what the report counts is what is there
        self.assertEqual(controller.report().layers[0].nonzeros, 0)
        self.assertFalse(controller.exact)
        self.assertIn("0.*: 100 of 360", repr(controller))


if __name__ == "__main__":
    unittest.main()
