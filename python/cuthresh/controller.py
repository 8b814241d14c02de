"""λ from the number of nonzeros that is wanted."""

from collections.abc import Sequence
from ctypes import byref, c_int, c_int32, c_size_t, c_uint64, c_void_p, create_string_buffer, sizeof
from typing import NamedTuple, Optional

from . import _abi
from ._handle import Owner
from ._library import check, library


class Target(NamedTuple):
    """Groups of a plan that share one λ; None: all of them. Either `nonzeros` or `sparsity`, the share
    of zeros. `least` and `most`: nonzeros that each group is left with. `total_weights`: where other
    processes hold the rest, how many there are in all."""

    groups: Optional[Sequence[int]] = None
    nonzeros: int = 0
    sparsity: float = 0.0
    tolerance: float = 0.0
    lambda_start: float = 0.0
    least: Optional[Sequence[int]] = None
    most: Optional[Sequence[int]] = None
    total_weights: int = 0


class TargetReport(NamedTuple):
    weights: int
    target: int
    nonzeros: int
    lambda_: float
    met: bool


class Controller(Owner):
    """Phases are shares of `steps` (docs/one-run.md): λ is 0 up to ramp[0], the count falls to the
    target up to ramp[1], is held, exact in `finish`, and frozen in the last `debias`."""

    def __init__(self, plan, targets, steps, ramp=(0.05, 0.6), finish=0.02, debias=0.2, integral_gain=30.0,
                 proportional_gain=1.0, update_every=0):
        structs = [_target(i, target) for i, target in enumerate(targets)]
        array = (_abi.TargetStruct * max(len(structs), 1))(*structs)
        options = _abi.ControllerOptions(sizeof(_abi.ControllerOptions), steps, ramp[0], ramp[1], finish, debias,
                                         integral_gain, proportional_gain, update_every)
        self.plan = plan
        self.targets = len(structs)
        self._own(library.cth_controller_destroy,
                  lambda made: library.cth_controller_create(plan.pointer, array, len(structs), byref(options), made))

    def update(self):
        """After each step of the plan. Only enqueues."""
        check(library.cth_controller_update(self.pointer))

    def copy_counts(self, address):
        """Nonzeros of each target here into int64s at `address` in device memory. Only enqueues."""
        check(library.cth_controller_copy_counts(self.pointer, c_void_p(address), self.targets))

    def update_from(self, address):
        """update() with these counts."""
        check(library.cth_controller_update_from(self.pointer, c_void_p(address), self.targets))

    @property
    def phase(self):
        """Of the next step: dense, ramp, hold, finish, debias or done."""
        phase = c_int()
        check(library.cth_controller_phase(self.pointer, byref(phase)))
        return _abi.PHASES[phase.value]

    def read(self):
        """One TargetReport a target. Waits."""
        reports = (_abi.TargetReportStruct * self.targets)()
        check(library.cth_controller_read(self.pointer, reports, self.targets))
        return [TargetReport(r.weights, r.target, r.nonzeros, r.lambda_, bool(r.met)) for r in reports]

    def save(self):
        """All that it needs beside weights and momenta to go on, as bytes. Waits."""
        size = c_size_t()
        check(library.cth_controller_save(self.pointer, None, byref(size)))
        state = create_string_buffer(size.value)
        check(library.cth_controller_save(self.pointer, state, byref(size)))
        return state.raw[:size.value]

    def load(self, state):
        """Into a controller made with the same targets and options, after the weights were put back."""
        state = bytes(state)
        check(library.cth_controller_load(self.pointer, state, len(state)))


def _target(index, target):
    groups = None if target.groups is None else list(target.groups)
    bounds = []
    for name in ("least", "most"):
        values = getattr(target, name)
        if values is not None and (groups is None or len(values) != len(groups)):
            raise ValueError(f"target {index}: {name} has {len(values)} entries; name the groups, and give one for "
                             "each")
        bounds.append(None if values is None else (c_uint64 * len(values))(*values))
    return _abi.TargetStruct(None if groups is None else (c_int32 * len(groups))(*groups),
                             0 if groups is None else len(groups), target.nonzeros, target.sparsity,
                             target.tolerance, target.lambda_start, *bounds, target.total_weights)
