"""λ from the number of nonzeros that is wanted, for ProxSGD and for any other optimizer."""

import functools
import types
import weakref

import torch

from . import _amp, _select
from ._engine import Engine, Layout, Slot
from ._sharded import add_up, first_lambda, keep_largest_
from ._targets import Layer, aims_of, to_target
from ._tensors import local
from .prox_sgd import ProxSGD
from .report import LayerLine, Report, TargetLine


def _learning_rates(optimizer):
    return {id(parameter): float(group["lr"]) for group in optimizer.param_groups for parameter in group["params"]}


class _Fused:
    """ProxSGD's own plan: its step is the threshold too."""

    def __init__(self, optimizer):
        self.optimizer = optimizer
        index = optimizer._controlled_engine()
        self.engine = optimizer._engines[index]
        self._seen = optimizer.steps_taken
        self.layers = [(optimizer._named.get(id(slot.parameter)) or _select.Named(slot.name, slot.parameter),
                        slot.group) for slot in optimizer._layout(index).slots if slot.group >= 0]

    def refresh(self):
        self.optimizer._refresh()

    def learning_rates(self):
        return _learning_rates(self.optimizer)

    def take_step(self):
        """False where the optimizer has taken none since."""
        taken, self._seen = self.optimizer.steps_taken != self._seen, self.optimizer.steps_taken
        return taken

    def detach(self):
        pass


class _After:
    """A plan of thresholds, after the step of another optimizer, or (a model alone) of the caller's."""

    def __init__(self, optimizer, model, penalise, lr):
        self.optimizer, self.lr = optimizer, lr
        named = {id(one.parameter): one for one in _select.named_parameters(model)} if model is not None else {}
        groups = [{"params": [one.parameter for one in named.values()]}] if optimizer is None else \
            optimizer.param_groups
        every = [(named.get(id(parameter)) or _select.Named(f"group{rate}.{i}", parameter), rate)
                 for rate, group in enumerate(groups) for i, parameter in enumerate(group["params"])]
        meant = {id(one) for one in _select.selected(penalise, [one for one, _ in every], "penalise")}
        chosen = [(one, rate) for one, rate in every if id(one) in meant]
        self.layers = [(one, group) for group, (one, _) in enumerate(chosen)]
        self._slots = [Slot(one.name, one.parameter, group, rate) for group, (one, rate) in enumerate(chosen)]
        self._rates = len(groups)
        self.engine = Engine(lambda: Layout("threshold", self._slots, len(self._slots), self._rates))
        self._stepped, self._found = optimizer is None, None
        if optimizer is not None:
            self._watch(optimizer)

    def refresh(self):
        groups = [{"lr": self.lr}] if self.optimizer is None else self.optimizer.param_groups
        rates = [(float(group["lr"]), 0.0, 0.0) for group in groups[:self._rates]]
        self.engine.refresh(rates, [0.0] * len(self._slots))

    def learning_rates(self):
        if self.optimizer is None:
            return {id(slot.parameter): self.lr for slot in self._slots}
        return _learning_rates(self.optimizer)

    def take_step(self):
        if not self._stepped:  # a gradient scaler has left it out
            return False
        self._stepped = self.optimizer is None
        self.refresh()
        self.engine.skip_where(self._found)
        self.engine.step()
        return True

    def _before_step(self):
        """Where parameters have moved, frozen zeros are known from the weights, which are about to change."""
        if self.engine.controller is not None:
            self.refresh()

    def _after_step(self, scaler):
        self._stepped = True
        self._found = _amp.found_inf(self.optimizer, scaler)

    def _watch(self, optimizer):
        before, after = weakref.WeakMethod(self._before_step), weakref.WeakMethod(self._after_step)
        if hasattr(optimizer, "register_step_pre_hook"):
            def run_before(*_):
                if before() is not None:
                    before()()

            def run_after(_optimizer, _arguments, keywords):
                if after() is not None:
                    after()(keywords.get("grad_scaler"))

            hooks = [optimizer.register_step_pre_hook(run_before), optimizer.register_step_post_hook(run_after)]
            self.detach = lambda: [hook.remove() for hook in hooks]
            return
        method = optimizer.step  # PyTorch before 2.0 has no hooks

        @functools.wraps(method)
        def watched(_self, *arguments, **keywords):
            if before() is not None:
                before()()
            result = method(*arguments, **keywords)
            if after() is not None:
                after()(keywords.get("grad_scaler"))
            return result

        optimizer.step = types.MethodType(watched, optimizer)  # a method: schedulers take it apart

    def detach(self):
        """The wrapper stays where it is, and does nothing once this is gone."""


class SparsityController:
    """Ends one training with exactly the number of nonzeros that was asked for.

        controller = SparsityController(optimizer, target=0.9, steps=len(loader) * epochs)
        ...
        optimizer.step(); controller.step()

    optimizer: a ProxSGD, whose step does it all; any other optimizer, after whose step the weights are
        thresholded here, each with its group's learning rate; or a model, with `lr` in its place.
    target: a float is the share of zeros, an int the number of nonzeros: of all that is penalised, or
        {selector: share or number} (selectors as in ProxSGD; each weight goes to the first that matches,
        and what none matches has no target). What shares a target shares one λ.
    steps: calls of step() in the whole training; `ramp` (begin, end), `finish` and `debias` are shares of
        them (docs/one-run.md).
    per_layer: every layer has a λ and a target of its own, its part of the total by `allocation`:
        "uniform" or "erdos_renyi".
    least, most: bounds for each layer, one or {selector: bound}: an int is a number of nonzeros, a float
        a share of the layer's weights.
    tolerance: what report().met means: |nonzeros − wanted| ≤ tolerance·wanted.
    lambda_start: where λ begins; 0: found from the weights and the learning rates, which must not be 0.
    penalise, model: which weights, and names for them, for another optimizer than ProxSGD.
    process_group: where its processes hold different parts of the weights (sharding, not
        DistributedDataParallel): counts are added up over it, and the cut is over all of them.

    step() waits for nothing (with a process_group once, when the finish begins); report(), exact,
    state_dict() and load_state_dict() do."""

    def __init__(self, optimizer, target=0.9, *, steps, tolerance=0.0, per_layer=False, allocation="uniform",
                 ramp=(0.05, 0.6), finish=0.02, debias=0.2, least=None, most=None, lambda_start=0.0,
                 integral_gain=30.0, proportional_gain=1.0, update_every=0, penalise=None, model=None, lr=1.0,
                 process_group=None):
        self.steps = steps
        self._tolerance, self._group = tolerance, process_group
        self._side = self._side_of(optimizer, penalise, model, lr)
        if process_group is not None and (least is not None or most is not None):
            raise ValueError("SparsityController: least and most cannot be combined with process_group; give each "
                             "layer a target, {name: count}")
        self._layers = self._with_sizes(self._side.layers)
        self._aims = aims_of(target, self._layers, per_layer, allocation)
        starts = [lambda_start or self._first_lambda(aim, (ramp[1] - ramp[0]) * steps) for aim in self._aims]
        targets = [to_target(aim, tolerance, start, least, most, process_group is not None)
                   for aim, start in zip(self._aims, starts)]
        options = {"steps": steps, "ramp": tuple(ramp), "finish": finish, "debias": debias,
                   "integral_gain": integral_gain, "proportional_gain": proportional_gain,
                   "update_every": update_every}
        if process_group is not None and any(named.parameter.dtype != torch.float32 for named, _ in self._side.layers):
            raise ValueError("SparsityController: process_group needs float32 parameters; keep those that are sharded "
                             "in float32 and use mixed precision around them")
        engine = self._side.engine
        self._counts = None
        engine.control(targets, options)
        try:
            self._side.refresh()
        except Exception:
            engine.release()
            raise

    @staticmethod
    def _side_of(optimizer, penalise, model, lr):
        if isinstance(optimizer, ProxSGD):
            if penalise is not None or model is not None:
                raise ValueError("SparsityController: penalise and model are ProxSGD's to have; give them to it")
            return _Fused(optimizer)
        if isinstance(optimizer, torch.nn.Module):
            return _After(None, optimizer, penalise, lr)
        if isinstance(optimizer, torch.optim.Optimizer):
            return _After(optimizer, model, penalise, lr)
        raise TypeError("SparsityController: expected an optimizer or a model (got "
                        f"{type(optimizer).__name__})")

    def _with_sizes(self, layers):
        sizes = torch.tensor([local(named.parameter).numel() for named, _ in layers], dtype=torch.int64)
        if self._group is not None and layers:
            sizes = add_up(sizes.to(local(layers[0][0].parameter).device), self._group)
        return [Layer(named, group, size) for (named, group), size in zip(layers, sizes.tolist())]

    def _first_lambda(self, aim, ramp_steps):
        """0, for the library to find, where all weights are here."""
        if self._group is None:
            return 0.0
        parameters = [layer.named.parameter for layer in aim.layers]
        rates = self._side.learning_rates()
        tensors = [local(parameter).detach() for parameter in parameters]
        return first_lambda(tensors, [rates[id(parameter)] for parameter in parameters], aim.nonzeros, ramp_steps,
                            self._group, tensors[0].device)

    @torch.no_grad()
    def step(self):
        """After optimizer.step(): thresholds where that has not, and sets λ of the steps that follow. Does
        nothing where the optimizer has taken no step since (a gradient scaler that skipped it)."""
        if not self._side.take_step():
            return
        if self._group is None:
            self._side.engine.controller.update()
        else:
            self._divided_step(self._side.engine)

    def _divided_step(self, engine):
        """Steps of the finish are plain ones, without λ, so that there is something to choose from."""
        if engine.controller.phase == "finish":
            for aim in self._aims:
                keep_largest_(engine.tensors_of({layer.group for layer in aim.layers}), aim.nonzeros, self._group,
                              engine.device)
            engine.announce()
        if self._counts is None or self._counts.device != engine.device:
            self._counts = torch.zeros(len(self._aims), dtype=torch.int64, device=engine.device)
        engine.controller.copy_counts(self._counts.data_ptr())
        add_up(self._counts, self._group)
        engine.controller.update_from(self._counts.data_ptr())
        engine.withhold_lambda(engine.controller.phase == "finish")

    @property
    def phase(self):
        """Of the next step: dense, ramp, hold, finish, debias or done."""
        return self._side.engine.controller.phase

    @property
    def exact(self):
        """Every target has its number of nonzeros now, to the weight. Waits."""
        return self.report().exact

    def report(self):
        """Counts of the weights as they are, λ, and what was met, as a Report. Waits; with a process_group
        it is a collective call."""
        self._side.refresh()
        engine = self._side.engine
        counts = engine.plan.count_nonzero()
        if self._group is not None:
            counts = add_up(torch.tensor(counts, device=engine.device), self._group).tolist()
        status, targets = engine.plan.read_status(), []
        for aim, read in zip(self._aims, engine.controller.read()):
            nonzeros = sum(counts[layer.group] for layer in aim.layers)
            targets.append(TargetLine(aim.name, aim.weights, aim.nonzeros, nonzeros, read.lambda_,
                                      abs(nonzeros - aim.nonzeros) <= self._tolerance * aim.nonzeros))
        layers = [LayerLine(layer.named.name, layer.weights, counts[layer.group]) for layer in self._layers]
        return Report(self.phase, status.steps, self.steps, status.nonfinite, status.stopped, targets, layers)

    def state_dict(self):
        """What resuming takes beside the states of model and optimizer. Waits."""
        self._side.refresh()
        state = self._side.engine.controller.save()
        return {"controller": torch.frombuffer(bytearray(state), dtype=torch.uint8),
                "targets": [[aim.name, aim.nonzeros] for aim in self._aims]}

    def load_state_dict(self, state_dict):
        """Into a controller made with the same targets and steps, after the model's and the optimizer's."""
        saved, own = state_dict["targets"], [[aim.name, aim.nonzeros] for aim in self._aims]
        if [list(one) for one in saved] != own:
            raise ValueError(f"SparsityController.load_state_dict: the state has targets {saved}, and this controller "
                             f"{own}; make it with the same target=")
        self._side.refresh()
        engine = self._side.engine
        engine.controller.load(bytes(state_dict["controller"].cpu().tolist()))
        engine.withhold_lambda(self._group is not None and engine.controller.phase == "finish")

    def close(self):
        """Lets go of the optimizer; λ stays what it is."""
        self._side.engine.release()
        self._side.detach()

    def __repr__(self):
        aims = ", ".join(f"{aim.name}: {aim.nonzeros} of {aim.weights}" for aim in self._aims)
        return f"SparsityController({aims}; {self.steps} steps, {self.phase})"
