"""SGD whose step ends with a soft threshold: one pass over all parameters."""

import functools

import torch

from ..plan import StepStatus
from . import _amp, _select
from ._engine import Engine, Layout, Slot
from ._tensors import compute_dtype, has_master, local, same_layout

_NOT_SAVED = ("names", "penalised", "penalty")  # of a plain SGD's state


class ProxSGD(torch.optim.Optimizer):
    """w ← soft(w − α·d, α·λ) for weights, w ← w − α·d for the rest, where d is what torch.optim.SGD
    subtracts (momentum, Nesterov, weight decay; dampening 0). With λ = 0 it is torch.optim.SGD.

    params: a model, its named_parameters(), parameters, or groups (dicts) of either; each group may
        have its own lr, momentum, weight_decay and penalty. Names come from a model (here or in
        `model`) and from pairs.
    penalty: λ, or {selector: λ} of which the first that matches counts.
    penalise: a selector of what λ is for; None: all weights, that is all parameters with two extents
        or more that do not belong to a normalising module. A selector is a name pattern ("conv*"), a
        compiled regular expression, a module type, a tensor, a predicate(name, parameter), or a list of
        these; patterns and types never mean biases and normalisation.

    Parameters are float32, float64, bfloat16 or float16, with a plan for each dtype there is. Of 16 bits a float32
    master copy is stepped (state "master", kept by state_dict()), and the parameter is its rounding. Who writes
    parameters is noticed, but for writes through `.data`: refresh_masters() after those.

    The threshold is αλ with the α of the step, so λ keeps its meaning under schedules. Nothing in a
    step waits for a GPU. A step after which an entry is not finite is the last one (see status())."""

    _step_supports_amp_scaling = True

    def __init__(self, params, lr, momentum=0.0, nesterov=False, weight_decay=0.0, penalty=0.0, penalise=None,
                 model=None):
        self._prepare()
        if isinstance(params, torch.nn.Module):
            model = params
            params = _select.named_parameters(model)
        if model is not None:
            self._named = {id(named.parameter): named for named in _select.named_parameters(model)}
        self._penalise = penalise
        defaults = {"lr": lr, "momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay,
                    "penalty": penalty}
        params = list(params) if not isinstance(params, torch.Tensor) else params
        if isinstance(params, list) and params and not isinstance(params[0], dict):
            params = [{"params": params}]
        super().__init__(params, defaults)

    def _prepare(self):
        self._named = {}
        self._penalise = self._kind = None
        self._engines, self._dtypes = [], ()  # a plan for each dtype, in the order of the parameters
        self.steps_taken = 0  # calls of step(); a scaler's skipped ones included

    def add_param_group(self, group):
        """As for any optimizer; also `penalty` and `penalise` of its own."""
        group = dict(group)
        index = len(self.param_groups)
        selector = group.pop("penalise", self._penalise)
        named = self._name(group["params"], index)
        group["params"] = [one.parameter for one in named]
        for key, value in self.defaults.items():
            group.setdefault(key, value)
        _check_group(index, group, self.param_groups)
        is_penalised = [_select.matches(selector, one) for one in named]
        if isinstance(group["penalty"], dict):
            values = [_select.first_match(group["penalty"], one) for one in named]
            is_penalised = [value is not None for value in values]
            group["penalty"] = [value or 0.0 for value in values]
        group["names"] = [one.name for one in named]
        group["penalised"] = is_penalised
        for value in _as_list(group):
            if not 0 <= value < float("inf"):
                raise ValueError(f"parameter group {index}: penalty must be finite and ≥ 0 (got {value})")
        super().add_param_group(group)
        self._named.update((id(one.parameter), one) for one in named)
        self._invalidate()

    def _name(self, params, group):
        """Parameters, or (name, parameter) pairs, as Named."""
        if isinstance(params, torch.Tensor):
            params = [params]
        if isinstance(params, (set, frozenset)):
            raise TypeError(f"parameter group {group}: a set has no order that stays; give a list")
        named = []
        for i, one in enumerate(params):
            name, parameter = one[:2] if isinstance(one, tuple) else (f"group{group}.{i}", one)
            known = self._named.get(id(parameter))
            if known is None or (isinstance(one, tuple) and known.name != name):
                known = _select.Named(name, parameter, known.module if known else None)
            named.append(known)
        return named

    # ---- the plan ----

    def _invalidate(self):
        for engine in self._engines:
            engine.invalidate()

    def _engines_now(self):
        dtypes = tuple(dict.fromkeys(parameter.dtype for group in self.param_groups for parameter in group["params"]))
        if dtypes != self._dtypes:
            self._dtypes = dtypes
            while len(self._engines) < len(dtypes):
                self._engines.append(Engine(functools.partial(self._layout, len(self._engines))))
            del self._engines[len(dtypes):]
            self._invalidate()
        return self._engines

    def _layout(self, index=0):
        self._kind = kind = self._kind_now()
        slots, penalised = [], 0
        for rate, group in enumerate(self.param_groups):
            for name, parameter, is_penalised in zip(group["names"], group["params"], group["penalised"]):
                if parameter.dtype != self._dtypes[index]:
                    continue
                momentum = self._buffer(parameter, "momentum_buffer") if kind != "sgd" else None
                master = self._buffer(parameter, "master") if has_master(parameter.dtype) else None
                slots.append(Slot(name, parameter, penalised if is_penalised else -1, rate, momentum, master))
                penalised += is_penalised
        return Layout(kind, slots, penalised, len(self.param_groups))

    def _kind_now(self):
        if not any(group["momentum"] for group in self.param_groups):
            return "sgd"
        return "nesterov" if any(group["nesterov"] for group in self.param_groups) else "momentum"

    def _buffer(self, parameter, name):
        """Zeros at first; laid out as the parameter is. A master copy of zeros becomes the parameter when a plan
        is made."""
        state, dtype = self.state[parameter], compute_dtype(parameter.dtype)
        buffer = state.get(name)
        if buffer is None:
            state[name] = torch.zeros_like(parameter, dtype=dtype, memory_format=torch.preserve_format).detach()
        elif not same_layout(local(buffer), local(parameter)) or (buffer.device, buffer.dtype) != (parameter.device,
                                                                                                   dtype):
            state[name] = torch.empty_like(parameter.detach(), dtype=dtype).copy_(buffer)
        return state[name]

    def _refresh(self):
        engines = self._engines_now()
        rates, lambdas = [], [[] for _ in engines]
        for group in self.param_groups:
            rates.append((float(group["lr"]), float(group["momentum"]), float(group["weight_decay"])))
            for parameter, value, is_penalised in zip(group["params"], _each_penalty(group), group["penalised"]):
                if is_penalised:
                    lambdas[self._dtypes.index(parameter.dtype)].append(value)
        if self._kind_now() != self._kind:
            self._invalidate()
        for engine, values in zip(engines, lambdas):
            engine.refresh(rates, values)
        return engines

    def _controlled_engine(self):
        """Its number, of whose parameters are penalised; a controller drives one plan."""
        self._engines_now()
        dtypes = {parameter.dtype for group in self.param_groups
                  for parameter, is_penalised in zip(group["params"], group["penalised"]) if is_penalised}
        if len(dtypes) > 1:
            raise ValueError("SparsityController: what is penalised must have one dtype (got "
                             f"{', '.join(sorted(map(str, dtypes)))}); use an optimizer and a controller for each")
        return self._dtypes.index(dtypes.pop()) if dtypes else 0

    @torch.no_grad()
    def step(self, closure=None, **scaler):
        """One step. `closure` as for any optimizer; torch before 2.0 hands its gradient scaler on as
        grad_scaler=."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        found = _amp.unscale(self, **scaler)
        for engine in self._refresh():
            engine.skip_where(found)
            engine.take_gradients()
            engine.step()
        self.steps_taken += 1
        return loss

    def refresh_masters(self):
        """After 16-bit parameters were written through `.data`: master copies follow."""
        for engine in self._refresh():
            engine.plan.refresh_masters()

    # ---- looks ----

    def status(self):
        """Steps, nonzeros, non-finite entries after the last step, and whether those ended it. Waits."""
        each = [engine.plan.read_status() for engine in self._refresh()]
        return StepStatus(each[0].steps, sum(one.nonzeros for one in each), sum(one.nonfinite for one in each),
                          any(one.stopped for one in each))

    def count_nonzero(self):
        """{name: entries that are not zero}, of what is penalised. Waits."""
        counts = [iter(engine.plan.count_nonzero()) for engine in self._refresh()]
        return {name: next(counts[self._dtypes.index(parameter.dtype)]) for group in self.param_groups
                for name, parameter, is_penalised in zip(group["names"], group["params"], group["penalised"])
                if is_penalised}

    def penalised(self):
        """Names of what λ is for."""
        return [name for group in self.param_groups
                for name, is_penalised in zip(group["names"], group["penalised"]) if is_penalised]

    def __repr__(self):
        without = [name for group in self.param_groups
                   for name, is_penalised in zip(group["names"], group["penalised"]) if not is_penalised]
        lines = []
        for i, group in enumerate(self.param_groups):
            shown = {key: group[key] for key in ("lr", "momentum", "nesterov", "weight_decay", "penalty")}
            lines.append(f"  group {i}: " + ", ".join(f"{key}={value}" for key, value in shown.items()))
        return "\n".join(["ProxSGD (", *lines, f"  penalised: {', '.join(self.penalised()) or 'nothing'}",
                          f"  not penalised: {', '.join(without) or 'nothing'}", ")"])

    # ---- state ----

    def load_state_dict(self, state_dict):
        """Its own, or a torch.optim.SGD's."""
        before = [{key: group[key] for key in _NOT_SAVED} for group in self.param_groups]
        super().load_state_dict(state_dict)
        self._take_wide(state_dict)
        for i, (group, kept) in enumerate(zip(self.param_groups, before)):
            for key, value in kept.items():
                group.setdefault(key, value)
            _check_group(i, group, self.param_groups[:i])

    def _take_wide(self, state_dict):
        """Buffers of 16-bit parameters as they were saved: torch.optim rounds them to the parameter's dtype."""
        saved = [key for group in state_dict["param_groups"] for key in group["params"]]
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        for key, parameter in zip(saved, parameters):
            if not has_master(parameter.dtype):
                continue
            for name, value in state_dict["state"].get(key, {}).items():
                if name in ("momentum_buffer", "master") and value is not None:
                    self.state[parameter][name] = value.detach().to(parameter.device, torch.float32, copy=True)

    def __setstate__(self, state):
        if "_engines" not in self.__dict__:  # made by pickle or copy, without __init__
            self._prepare()
        super().__setstate__(state)
        self._invalidate()


def _each_penalty(group):
    """λ of each of the group's parameters, penalised or not."""
    penalty = group["penalty"]
    return penalty if isinstance(penalty, list) else [float(penalty)] * len(group["params"])


def _as_list(group):
    return group["penalty"] if isinstance(group["penalty"], list) else [group["penalty"]]


def _check_group(index, group, others):
    where = f"parameter group {index}"
    if group.get("dampening", 0) != 0 or group.get("maximize", False):
        raise ValueError(f"{where}: dampening and maximize are not offered; use torch.optim.SGD with a "
                         "SparsityController")
    for key, bound in (("lr", float("inf")), ("momentum", 1), ("weight_decay", float("inf"))):
        value = group[key]
        if not isinstance(value, torch.Tensor) and not 0 <= value < bound:
            raise ValueError(f"{where}: {key} must be ≥ 0 and below {bound} (got {value})")
    if group["nesterov"] and not group["momentum"]:
        raise ValueError(f"{where}: nesterov needs a momentum (got momentum=0)")
    for other in others:
        if group["momentum"] and other["momentum"] and group["nesterov"] != other["nesterov"]:
            raise ValueError(f"{where}: all groups with a momentum have Nesterov's or none has (got nesterov="
                             f"{group['nesterov']} beside {other['nesterov']}); use an optimizer for each")
