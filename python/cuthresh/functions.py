"""One call each, without a plan of one's own."""

from contextlib import ExitStack

from . import _abi
from ._arrays import memory_of
from .context import Context
from .plan import Plan, PlanTensor

_DEVICE_NAMES = {_abi.CPU: "cpu", _abi.CUDA: "cuda"}


def _with_plan(arrays, context, writable, work):
    """work(plan), with a group an array."""
    memories = [memory_of(array, f"array {i}", writable) for i, array in enumerate(arrays)]
    with ExitStack() as stack:
        if context is None:
            on = memories[0] if memories else None
            context = stack.enter_context(Context(_DEVICE_NAMES[on.device_type], on.device_index) if on else Context())
        tensors = [PlanTensor(memory, group=i) for i, memory in enumerate(memories)]
        return work(stack.enter_context(Plan(context, tensors, "threshold")))


def _counts(arrays, context, writable, work):
    """A count each of a list; a count of one array."""
    if isinstance(arrays, (list, tuple)):
        return _with_plan(arrays, context, writable, work)
    return _with_plan([arrays], context, writable, work)[0]


def soft_threshold(arrays, threshold, context=None):
    """x ← sign(x)·max(|x| − threshold, 0) in place, for an array or a list of them. Returns how many
    entries are not zero after it, of each."""

    def work(plan):
        plan.set_rates([1.0])
        plan.set_lambda([threshold] * plan.groups)
        plan.step()
        return plan.read_counts()

    return _counts(arrays, context, True, work)


def count_nonzero(arrays, context=None):
    """Entries that are not ±0, of each array."""
    return _counts(arrays, context, False, Plan.count_nonzero)


def kth_magnitude(arrays, k, context=None):
    """The k-th largest magnitude over all arrays, exactly, k from 1."""
    arrays = arrays if isinstance(arrays, (list, tuple)) else [arrays]
    return _with_plan(arrays, context, False, lambda plan: plan.kth_magnitude(k))
