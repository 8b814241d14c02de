"""ProxSGD against torch.optim.SGD and softshrink, to the bit; and as an optimizer among others."""

import copy
import io
import pickle
import unittest
import warnings

import support
import torch
from support import generator, mlp, same_bits, set_random_gradients
from torch import nn

from cuthresh.torch import ProxSGD, soft_threshold_


def net():
    torch.manual_seed(support.SEED)
    return nn.Sequential(nn.Conv2d(1, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Flatten(), nn.Linear(45, 7))


class EqualToSgd(unittest.TestCase):
    STEPS = 100

    def compare(self, ours, theirs, options, groups=False, shrink=0.0, change=None):
        def parameters(model):
            all_of_it = list(model.parameters())
            return [{"params": all_of_it[:2], "lr": 0.05, "weight_decay": 0.01}, {"params": all_of_it[2:]}] \
                if groups else all_of_it

        first = ProxSGD(parameters(ours), lr=0.1, penalty=shrink, **options)
        second = torch.optim.SGD(parameters(theirs), lr=0.1, **options)
        random = [generator(), generator()]
        for step in range(self.STEPS):
            for model, optimizer, draw in ((ours, first, random[0]), (theirs, second, random[1])):
                if change is not None:
                    change(step, optimizer)
                set_random_gradients(model.parameters(), draw)
                optimizer.step()
            if shrink:
                with torch.no_grad():
                    for group in second.param_groups:
                        t = float(torch.tensor(group["lr"]) * torch.tensor(shrink))  # rounded as float32
                        for p in group["params"]:
                            if p.dim() > 1:
                                p.copy_(nn.functional.softshrink(p, t))
            for (name, a), (_, b) in zip(ours.named_parameters(), theirs.named_parameters()):
                self.assertTrue(torch.equal(a, b), f"{name} after step {step}, seed {support.SEED}: "
                                                   f"{(a - b).abs().max()}")
        return first, second

    def test_without_a_penalty(self):
        for options in ({}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {"weight_decay": 5e-4},
                        {"momentum": 0.9, "weight_decay": 5e-4},
                        {"momentum": 0.85, "nesterov": True, "weight_decay": 0.02}):
            for groups in (False, True):
                with self.subTest(groups=groups, **options):
                    model = net()
                    first, second = self.compare(model, copy.deepcopy(model), options, groups)
                    if "momentum" in options:
                        for p, q in zip(first.param_groups[0]["params"], second.param_groups[0]["params"]):
                            self.assertTrue(torch.equal(first.state[p]["momentum_buffer"],
                                                        second.state[q]["momentum_buffer"]))

    def test_with_a_penalty_it_is_sgd_and_softshrink(self):
        for options in ({}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-3}):
            for groups in (False, True):
                with self.subTest(groups=groups, **options):
                    model = net()
                    first, _ = self.compare(model, copy.deepcopy(model), options, groups, shrink=3.0)
                    self.assertGreater(sum(int((p == 0).sum()) for p in model.parameters()), 0)
                    self.assertEqual(sum(first.count_nonzero().values()), first.status().nonzeros)

    def test_lambda_keeps_its_meaning_when_a_schedule_changes_the_learning_rate(self):
        def halve(step, optimizer):
            for group in optimizer.param_groups:
                group["lr"] = 0.1 * 0.5 ** (step // 20)

        model = net()
        self.compare(model, copy.deepcopy(model), {"momentum": 0.9}, shrink=0.3, change=halve)

    def test_a_real_loop_with_scheduler_and_closures(self):
        random = generator()
        x, y = torch.randn(32, 12, generator=random), torch.randn(32, 3, generator=random)
        first, second = mlp(12, 20, 3), mlp(12, 20, 3)
        trained = []
        for model, optimizer in ((first, ProxSGD(first, lr=0.1, momentum=0.9)),
                                 (second, torch.optim.SGD(second.parameters(), lr=0.1, momentum=0.9))):
            scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.2, total_steps=60)  # moves μ too

            def closure(model=model, optimizer=optimizer):
                optimizer.zero_grad(set_to_none=trained == [])
                loss = nn.functional.mse_loss(model(x), y)
                loss.backward()
                return loss

            losses = []
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                for _ in range(50):
                    losses.append(optimizer.step(closure).item())
                    scheduler.step()
            trained.append(losses)
        self.assertEqual(trained[0], trained[1])
        self.assertLess(trained[0][-1], trained[0][0])


class AnOptimizer(unittest.TestCase):
    def test_parameters_without_a_gradient_are_left_alone(self):
        model = mlp(4, 5, 3)
        optimizer = ProxSGD(model, lr=0.1, momentum=0.9, penalty=0.5)
        set_random_gradients(model.parameters(), generator())
        optimizer.step()
        kept = model[0].weight
        before = [p.clone() for p in model.parameters()]
        optimizer.zero_grad(set_to_none=True)
        model[2].weight.grad = torch.ones_like(model[2].weight)
        optimizer.step()
        self.assertTrue(same_bits(kept, before[0]))
        self.assertFalse(torch.equal(model[2].weight, before[2]))
        self.assertEqual(optimizer.count_nonzero()["0.weight"], int(kept.count_nonzero()))

    def test_groups_have_their_own_rates_and_penalties(self):
        a, b = nn.Parameter(torch.ones(3, 3)), nn.Parameter(torch.ones(3, 3))
        optimizer = ProxSGD([{"params": [a], "lr": 0.5, "penalty": 0.25}], lr=1.0)
        optimizer.add_param_group({"params": [b], "penalty": 0.5})
        a.grad, b.grad = torch.zeros(3, 3), torch.zeros(3, 3)
        optimizer.step()
        self.assertEqual((a[0, 0].item(), b[0, 0].item()), (0.875, 0.5))
        optimizer.param_groups[1]["penalty"] = 0.25  # a schedule of λ
        optimizer.param_groups[0]["lr"] = 0.0
        optimizer.step()
        self.assertEqual((a[0, 0].item(), b[0, 0].item()), (0.875, 0.25))

    def test_selectors(self):
        import re
        model = nn.Sequential()
        model.add_module("conv", nn.Conv2d(1, 2, 3))
        model.add_module("norm", nn.LayerNorm([2, 2]))  # its weight has two extents
        model.add_module("fc", nn.Linear(8, 3))
        model.add_module("head", nn.Linear(3, 2))
        weights = ["conv.weight", "fc.weight", "head.weight"]
        cases = [(None, weights), ("fc*", ["fc.weight"]), ("*", weights),
                 (re.compile("fc|head"), ["fc.weight", "head.weight"]), (nn.Conv2d, ["conv.weight"]),
                 ([nn.Conv2d, "head.*"], ["conv.weight", "head.weight"]), (model.fc.bias, ["fc.bias"]),
                 (lambda name, p: p.dim() == 1, ["conv.bias", "fc.bias", "head.bias"]), (False, [])]
        for selector, expected in cases:
            self.assertEqual(ProxSGD(model, lr=0.1, penalise=selector).penalised(), expected, str(selector))
        optimizer = ProxSGD(model.named_parameters(), lr=0.1, penalty={"fc.*": 0.25, nn.Linear: 0.5}, model=model)
        self.assertEqual(optimizer.penalised(), ["fc.weight", "head.weight"])
        self.assertEqual([value for value in optimizer.param_groups[0]["penalty"] if value], [0.25, 0.5])
        text = repr(ProxSGD(model, lr=0.1))
        self.assertIn("not penalised: conv.bias, norm.weight, norm.bias, fc.bias, head.bias", text)
        with self.assertRaises(TypeError):
            ProxSGD(model, lr=0.1, penalise=3)

    def test_state_goes_through_a_file_and_training_goes_on_to_the_bit(self):
        first = mlp(6, 9, 2)
        optimizer = ProxSGD(first, lr=0.1, momentum=0.9, penalty={"0.*": 0.5, "2.*": 0.25})
        random = generator()
        for _ in range(5):
            set_random_gradients(first.parameters(), random)
            optimizer.step()
        file = io.BytesIO()
        torch.save({"model": first.state_dict(), "optimizer": optimizer.state_dict()}, file)
        file.seek(0)
        saved = torch.load(file)
        second = mlp(6, 9, 2, seed=1)
        resumed = ProxSGD(second, lr=9.0, momentum=0.5, penalty=0.0)
        set_random_gradients(second.parameters(), generator(2))
        resumed.step()  # has a plan, with buffers that are about to go
        second.load_state_dict(saved["model"])
        resumed.load_state_dict(saved["optimizer"])
        for p, q in zip(first.parameters(), second.parameters()):
            self.assertTrue(same_bits(p, q))
            self.assertEqual(int((p == 0).sum()), int((q == 0).sum()))
        states = random.get_state()
        for model, it in ((first, optimizer), (second, resumed)):
            random.set_state(states)
            for _ in range(5):
                set_random_gradients(model.parameters(), random)
                it.step()
        for p, q in zip(first.parameters(), second.parameters()):
            self.assertTrue(same_bits(p, q))

    def test_state_of_a_plain_sgd_is_taken(self):
        model = mlp(6, 9, 2)
        plain = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        set_random_gradients(model.parameters(), generator())
        plain.step()
        ours = ProxSGD(model, lr=0.5, momentum=0.9, penalty=0.5)
        ours.load_state_dict(copy.deepcopy(plain.state_dict()))  # since 2.0 it keeps what it is given
        other = copy.deepcopy(model)
        theirs = torch.optim.SGD(other.parameters(), lr=0.1, momentum=0.9)
        theirs.load_state_dict(plain.state_dict())
        ours.param_groups[0]["penalty"] = 0.0
        for m, optimizer in ((model, ours), (other, theirs)):
            set_random_gradients(m.parameters(), generator(1))
            optimizer.step()
        for p, q in zip(model.parameters(), other.parameters()):
            self.assertTrue(torch.equal(p, q))

    def test_copies_and_pickles_go_on_alike(self):
        model = mlp(6, 9, 2)
        optimizer = ProxSGD(model, lr=0.1, momentum=0.9, penalty=0.2)
        set_random_gradients(model.parameters(), generator())
        optimizer.step()
        pairs = [copy.deepcopy((model, optimizer)), pickle.loads(pickle.dumps((model, optimizer)))]
        set_random_gradients(model.parameters(), generator(1))
        optimizer.step()
        for other, its in pairs:
            self.assertEqual(its.penalised(), optimizer.penalised())
            set_random_gradients(other.parameters(), generator(1))
            its.step()
            for p, q in zip(model.parameters(), other.parameters()):
                self.assertTrue(same_bits(p, q))

    def test_wrong_use_is_refused(self):
        model = mlp(3, 3)
        for options, words in (({"lr": -1.0}, "lr must be"), ({"lr": 0.1, "momentum": 1.0}, "momentum must be"),
                               ({"lr": 0.1, "nesterov": True}, "needs a momentum"),
                               ({"lr": 0.1, "penalty": -1.0}, "penalty must be"),
                               ({"lr": 0.1, "penalty": float("nan")}, "penalty must be"),
                               ({"lr": 0.1, "weight_decay": -1.0}, "weight_decay must be")):
            with self.assertRaisesRegex(ValueError, words):
                ProxSGD(model, **options)
        for parameter, words in ((nn.Parameter(torch.zeros(3, 3).cfloat()), "expected float32.*leave it out"),
                                 (nn.Parameter(torch.zeros(3, 1).expand(3, 3)), "do not fill its memory")):
            with self.assertRaisesRegex(ValueError, words):
                ProxSGD([parameter], lr=0.1).step()
        embedding = nn.Embedding(5, 3, sparse=True)
        embedding(torch.tensor([1])).sum().backward()
        with self.assertRaisesRegex(ValueError, "sparse"):
            ProxSGD(embedding, lr=0.1).step()


class Scaler(unittest.TestCase):
    """The two protocols of torch's GradScaler; before 2.3 a CPU has no scaler of its own."""

    def run_steps(self, tell):
        model = mlp(5, 4, 2)
        optimizer = ProxSGD(model, lr=0.1, momentum=0.9, penalty=0.1)
        reference = copy.deepcopy(model)
        theirs = ProxSGD(reference, lr=0.1, momentum=0.9, penalty=0.1)
        random = generator()
        for step in range(6):
            set_random_gradients(reference.parameters(), random)
            overflow = step in (0, 3)
            for p, q in zip(model.parameters(), reference.parameters()):
                p.grad = q.grad * 1024
                if overflow:
                    p.grad[0] = float("inf")
            tell(optimizer, overflow)
            if not overflow:
                theirs.step()
            for p, q in zip(model.parameters(), reference.parameters()):
                self.assertTrue(same_bits(p, q), f"step {step}")
                self.assertTrue(same_bits(optimizer.state[p]["momentum_buffer"],
                                          theirs.state[q].get("momentum_buffer", torch.zeros_like(q))))
        self.assertEqual(optimizer.status().steps, 4)
        set_random_gradients(model.parameters(), random)
        before = model[0].weight.clone()
        optimizer.step()  # without the scaler again
        self.assertFalse(torch.equal(before, model[0].weight))

    def test_attributes(self):
        def tell(optimizer, overflow):
            self.assertTrue(optimizer._step_supports_amp_scaling)
            optimizer.grad_scale, optimizer.found_inf = torch.tensor(1024.0), torch.tensor(float(overflow))
            optimizer.step()
            del optimizer.grad_scale, optimizer.found_inf

        self.run_steps(tell)

    @unittest.skipUnless(hasattr(getattr(torch, "amp", None), "GradScaler"), "this PyTorch has no scaler for a CPU")
    def test_a_scaler_of_torch(self):
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=10**6, backoff_factor=1.0 - 1e-12)

        def tell(optimizer, overflow):
            scaler.scale(torch.zeros(1))
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                scaler.step(optimizer)
            scaler.update(1024.0)

        self.run_steps(tell)

    def test_keyword(self):
        from enum import Enum

        class Stage(Enum):
            READY = 0
            UNSCALED = 1

        class FakeScaler:
            def __init__(self, optimizer, overflow):
                self.overflow = overflow
                self._per_optimizer_states = {id(optimizer): {"stage": Stage.READY, "found_inf_per_device": {}}}

            def unscale_(self, optimizer):
                for group in optimizer.param_groups:
                    for p in group["params"]:
                        p.grad.mul_(1 / 1024)
                self._per_optimizer_states[id(optimizer)]["found_inf_per_device"]["cpu"] = torch.tensor(
                    [float(self.overflow)])

        self.run_steps(lambda optimizer, overflow: optimizer.step(grad_scaler=FakeScaler(optimizer, overflow)))


class SoftThreshold(unittest.TestCase):
    def test_it_is_softshrink_in_place(self):
        a, b = nn.Parameter(torch.randn(7, 5, generator=generator())), torch.randn(9, generator=generator(1))
        expected = [nn.functional.softshrink(x, 0.125).detach() for x in (a, b)]
        kept, version = a.data_ptr(), a._version
        result = soft_threshold_([a, b], lam=0.25, lr=0.5)
        self.assertIs(result[0], a)
        self.assertTrue(torch.equal(a, expected[0]) and torch.equal(b, expected[1]))
        self.assertEqual(a.data_ptr(), kept)
        self.assertGreater(a._version, version)
        self.assertTrue(torch.equal(soft_threshold_(torch.ones(3), 0.5), torch.full((3,), 0.5)))
        with self.assertRaisesRegex(ValueError, "expected one lam, or 2"):
            soft_threshold_([a, b], [1.0])


if __name__ == "__main__":
    unittest.main()
