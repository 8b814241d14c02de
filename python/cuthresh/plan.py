"""A list of tensors, with their λ, rates and counts."""

from ctypes import byref, c_double, c_float, c_size_t, c_uint64, c_void_p, sizeof
from typing import Any, NamedTuple

from . import _abi
from ._arrays import memory_of
from ._handle import Owner
from ._library import check, library


class PlanTensor(NamedTuple):
    """`weight` is stepped and thresholded in place; `gradient` None: none yet; `momentum`: as large,
    zeros to begin with, for kinds that have one. `group`: whose λ it has and whose count it goes into,
    −1: neither (a bias). `rate`: which of the plan's rates it is stepped with.

    Momentum is float64 beside float64 weights, else float32. `master`, of 16-bit weights: what is
    stepped, float32, of which the weight is the rounding; None: the plan keeps it. Where it is not
    stored as the weight is, it becomes the weight when the plan is made."""

    weight: Any
    gradient: Any = None
    momentum: Any = None
    group: int = 0
    rate: int = 0
    master: Any = None


class Rate(NamedTuple):
    learning_rate: float
    momentum: float = 0.0
    weight_decay: float = 0.0


class StepStatus(NamedTuple):
    """After the last step. `stopped`: no step is taken any more, because of non-finite entries."""

    steps: int
    nonzeros: int
    nonfinite: int
    stopped: bool


class Median(NamedTuple):
    inside: int
    median: float


class Kkt(NamedTuple):
    nonzeros: int
    zeros: int
    on_nonzero: float
    on_zero: float


class Plan(Owner):
    """kind: "sgd", "momentum", "nesterov", or "threshold" after another optimizer's step.

    The plan keeps the arrays alive; they must stay where they are (no resize)."""

    def __init__(self, context, tensors, kind="sgd", groups=0, rates=0):
        if kind not in _abi.KINDS:
            raise ValueError(f"cuthresh.Plan: kind must be one of {', '.join(_abi.KINDS)} (got {kind!r})")
        structs, owners, masters = [], [], []
        for i, tensor in enumerate(tensors):
            struct, owner, master = _plan_tensor(i, tensor, context.stream)
            structs.append(struct)
            owners.append(owner)
            masters.append(master)
        array = (_abi.PlanTensorStruct * max(len(structs), 1))(*structs)
        options = _abi.PlanOptions(sizeof(_abi.PlanOptions), _abi.KINDS[kind], groups, rates,
                                   (_abi.TensorStruct * max(len(masters), 1))(*masters))
        self.context = context
        self._owners = owners
        self._gradients = None
        self._skip = None
        self._own(library.cth_plan_destroy,
                  lambda made: library.cth_plan_create(context.pointer, array, len(structs), byref(options), made))
        counts = c_size_t(), c_size_t()
        check(library.cth_plan_extents(self.pointer, byref(counts[0]), byref(counts[1])))
        self.tensors, self.groups, self.rates = len(structs), counts[0].value, counts[1].value

    def set_gradients(self, gradients):
        """One a tensor, each as large as its weight; None: from here on it is counted and not stepped."""
        memories = [None if gradient is None else memory_of(gradient, f"gradient {i}", False, self.context.stream)
                    for i, gradient in enumerate(gradients)]
        for i, (memory, owner) in enumerate(zip(memories, self._owners)):
            if memory is not None and memory.size != owner[0].size:
                raise ValueError(f"gradient {i}: expected {owner[0].size} entries, as its weight has (got "
                                 f"{memory.size})")
            if memory is not None and memory.dtype != owner[0].dtype:
                raise TypeError(f"gradient {i}: expected {_abi.DTYPE_NAMES[owner[0].dtype]}, as its weight is (got "
                                f"{_abi.DTYPE_NAMES[memory.dtype]}); convert it")
        self.set_gradient_pointers([memory.data if memory else None for memory in memories])
        self._gradients = memories

    def set_gradient_pointers(self, pointers):
        """The same from addresses, whose memory is the caller's to keep."""
        check(library.cth_plan_set_gradients(self.pointer, (c_void_p * len(pointers))(*pointers), len(pointers)))

    def set_rates(self, rates):
        """One a rate of the plan: a number (the learning rate), or Rate."""
        structs = [_abi.RateStruct(*rate) if isinstance(rate, tuple) else _abi.RateStruct(rate) for rate in rates]
        check(library.cth_plan_set_rates64(self.pointer, (_abi.RateStruct * len(structs))(*structs), len(structs)))

    def set_lambda(self, values):
        """One a group."""
        values = list(values)
        check(library.cth_plan_set_lambda64(self.pointer, (c_double * len(values))(*values), len(values)))

    def read_lambda(self):
        values = (c_float * self.groups)()
        check(library.cth_plan_read_lambda(self.pointer, values, self.groups))
        return list(values)

    def set_skip(self, flag):
        """A float32 in the device's memory: while it is not 0, steps and controllers change nothing.
        None: every step is taken."""
        memory = None if flag is None else memory_of(flag, "flag", False, self.context.stream)
        if memory is not None and memory.dtype != _abi.FLOAT32:
            raise TypeError(f"flag: expected float32 (got {_abi.DTYPE_NAMES[memory.dtype]}); convert it")
        check(library.cth_plan_set_skip(self.pointer, c_void_p(memory.data) if memory else None))
        self._skip = memory

    def refresh_masters(self):
        """After anyone else has written 16-bit weights: master copies that are not stored as they are become
        them. Only enqueues."""
        check(library.cth_plan_refresh_masters(self.pointer))

    def step(self):
        """w ← soft(z, αλ) over the whole list, with counts. Only enqueues."""
        check(library.cth_prox_step(self.pointer))

    def read_status(self):
        status = _abi.StepStatusStruct()
        check(library.cth_plan_read_status(self.pointer, byref(status)))
        return StepStatus(status.steps, status.nonzeros, status.nonfinite, bool(status.stopped))

    def read_counts(self):
        """Nonzeros of each group after the last step."""
        return self._counts(library.cth_plan_read_counts)

    def count_nonzero(self):
        """Nonzeros of each group, of the contents as they are."""
        return self._counts(library.cth_count_nonzero)

    def _counts(self, function):
        counts = (c_uint64 * self.groups)()
        check(function(self.pointer, counts, self.groups))
        return list(counts)

    def bracket_median(self, brackets, of="gradients"):
        """The lower median of the magnitudes strictly inside (low, high): one a group, or one over all."""
        brackets = [_abi.BracketStruct(low, high) for low, high in brackets]
        medians = (_abi.MedianStruct * len(brackets))()
        check(library.cth_bracket_median64(self.pointer, _operand(of), (_abi.BracketStruct * len(brackets))(*brackets),
                                           medians, len(brackets)))
        return [Median(median.inside, median.median) for median in medians]

    def kth_magnitude(self, k, of="weights"):
        """The k-th largest magnitude over all groups, exactly, k from 1."""
        magnitude = c_double()
        check(library.cth_kth_magnitude64(self.pointer, _operand(of), k, byref(magnitude)))
        return magnitude.value

    def kkt_residual(self):
        """How far each group is from a stationary point of L + λ‖w‖₁."""
        residuals = (_abi.KktStruct * self.groups)()
        check(library.cth_kkt_residual(self.pointer, residuals, self.groups))
        return [Kkt(r.nonzeros, r.zeros, r.on_nonzero, r.on_zero) for r in residuals]

    def restart(self):
        """Clears the status, takes steps again, and forgets a controller's phases."""
        check(library.cth_plan_restart(self.pointer))


def _operand(of):
    names = {"weights": _abi.WEIGHTS, "gradients": _abi.GRADIENTS}
    if of not in names:
        raise ValueError(f"of must be 'weights' or 'gradients' (got {of!r})")
    return names[of]


def _plan_tensor(index, tensor, stream):
    tensor = PlanTensor(*tensor) if isinstance(tensor, tuple) else PlanTensor(tensor)
    weight = memory_of(tensor.weight, f"weight {index}", True, stream)
    gradient = momentum = None
    if tensor.gradient is not None:
        gradient = memory_of(tensor.gradient, f"gradient {index}", False, stream)
    if tensor.momentum is not None:
        momentum = memory_of(tensor.momentum, f"momentum {index}", True, stream)
    empty = _abi.TensorStruct(None, weight.size, weight.dtype, weight.device_type, weight.device_index)
    master = None if tensor.master is None else memory_of(tensor.master, f"master {index}", True, stream)
    return (_abi.PlanTensorStruct(weight.struct(), gradient.struct() if gradient else empty,
                                  momentum.struct() if momentum else empty, tensor.group, tensor.rate),
            (weight, gradient, momentum, master), master.struct() if master else empty)
