"""A plan over parameters that follows them: made anew where they moved, with its controller."""

from typing import Any, NamedTuple, Optional

import torch

from ..context import Context
from ..controller import Controller
from ..plan import Plan, PlanTensor, Rate
from ._tensors import Changes, check_parameter, has_master, local, memory, same_layout


class Slot(NamedTuple):
    """A parameter's place in a plan. `group` −1: neither penalised nor counted."""

    name: str
    parameter: Any
    group: int
    rate: int
    momentum: Optional[torch.Tensor] = None
    master: Optional[torch.Tensor] = None  # of 16 bits; None: the plan has one


class Layout(NamedTuple):
    kind: str
    slots: list[Slot]
    groups: int
    rates: int


def make_context(device):
    stream = torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else None
    return Context(device.type, device.index or 0, stream=stream)


def is_capturing():
    return torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()


def _memory(tensor):
    return None if tensor is None else memory(local(tensor))


class Engine:
    """`layout` is called whenever a plan is made."""

    def __init__(self, layout):
        self._layout = layout
        self._context = self._device = None
        self._plan = self._controller = None
        self._make_controller = None
        self._saved = self._withheld = None
        self._controlled = frozenset()
        self.invalidate()

    def invalidate(self):
        """The layout is another one: a plan is made at the next use."""
        self._stale = True

    # What callers may look at after refresh().
    @property
    def plan(self):
        return self._plan

    @property
    def controller(self):
        return self._controller

    @property
    def device(self):
        return self._device

    def refresh(self, rates, lambdas):
        """Makes plan and controller current. `rates`: a tuple (α, μ, weight decay) each; `lambdas`: one a
        group, which count for those that no controller has."""
        if self._stale or [tensor.data_ptr() for tensor in self._now_local()] != self._pointers:
            self._rebuild()
        elif self._device.type == "cuda":
            self._follow_stream()
        if self._versions is not None and self._versions != self._versions_now():
            self._plan.refresh_masters()  # somebody else has written weights
            self._versions = self._versions_now()
        if rates != self._rates:
            self._refuse_capture("a learning rate, momentum or weight decay changed")
            self._plan.set_rates([Rate(*rate) for rate in rates])
            self._rates = rates
        if lambdas != self._lambdas:
            self._refuse_capture("a penalty changed")
            self._set_lambda(lambdas)
            self._lambdas = lambdas
        if self._make_controller is not None and self._controller is None:
            self._restore_controller()

    def _versions_now(self):
        return [tensor._version for tensor in self._tensors]

    def _now_local(self):
        return map(local, self._parameters) if self._are_shards else self._parameters

    def _follow_stream(self):
        stream = torch.cuda.current_stream(self._device).cuda_stream
        if stream != self._context.stream:
            self._context.stream = stream

    @staticmethod
    def _refuse_capture(what):
        if is_capturing():
            raise RuntimeError(f"cuthresh: {what} since the last step before this CUDA graph capture, which cannot "
                               "be captured; run one more step in front of it, with the same tensors (gradients: "
                               "zero_grad(set_to_none=False))")

    def _rebuild(self):
        self._refuse_capture("parameters moved")
        layout = self._layout()
        tensors = [local(slot.parameter) for slot in layout.slots]
        for slot, tensor in zip(layout.slots, tensors):
            check_parameter(slot.name, tensor)
        devices = sorted({str(tensor.device) for tensor in tensors})
        if len(devices) != 1:
            raise ValueError(f"cuthresh: expected parameters on one device (got {', '.join(devices) or 'none'}); use "
                             "an optimizer for each device")
        dtypes = sorted({str(tensor.dtype) for tensor in tensors})
        if len(dtypes) != 1:
            raise ValueError(f"cuthresh: expected parameters of one dtype (got {', '.join(dtypes)}); use an optimizer, "
                             "and a controller, for each dtype")
        if self._controller is not None:
            self._saved = self._controller.save()
        if self._plan is not None:
            self._plan.close()
        self._controller = None
        if self._context is None or tensors[0].device != self._device:
            self._device = tensors[0].device
            self._context = make_context(self._device)
        elif self._device.type == "cuda":
            self._follow_stream()
        self._plan = Plan(self._context,
                          [PlanTensor(memory(tensor.detach()), None, _memory(slot.momentum), slot.group, slot.rate,
                                      _memory(slot.master)) for slot, tensor in zip(layout.slots, tensors)],
                          layout.kind, layout.groups, layout.rates)
        self._parameters = [slot.parameter for slot in layout.slots]
        self._are_shards = any(tensor is not whole for tensor, whole in zip(tensors, self._parameters))
        self._tensors = [tensor.detach() for tensor in tensors]  # keeps the memory that the plan has
        self._slot_groups = [slot.group for slot in layout.slots]
        self._pointers = [tensor.data_ptr() for tensor in tensors]
        self._versions = self._versions_now() if has_master(tensors[0].dtype) else None
        self._strides = [tensor.stride() for tensor in tensors]
        self._changes = Changes(tensors)
        self._copies = {}
        self._gradients = [None] * len(tensors)
        self._rates = self._lambdas = None
        self._skip = None
        self._stale = False

    # ---- λ and the controller ----

    def _set_lambda(self, lambdas):
        if self._controller is not None:
            now = self._plan.read_lambda()
            lambdas = [now[i] if i in self._controlled else value for i, value in enumerate(lambdas)]
        self._plan.set_lambda(lambdas)

    def control(self, targets, options):
        """From the next refresh() on a controller with these targets drives the plan."""
        self.release()
        self._saved = self._withheld = self._lambdas = None  # the caller's λ, where an earlier controller had its own
        self._controlled = frozenset(group for target in targets for group in target.groups)
        self._make_controller = lambda plan: Controller(plan, targets, **options)

    def withhold_lambda(self, withhold):
        """Sets λ of the controller's groups aside, so that steps are plain; False: puts it back."""
        if withhold:
            if self._withheld is None:
                self._withheld = self._plan.read_lambda()
            self._plan.set_lambda([0.0 if i in self._controlled else value for i, value in enumerate(self._withheld)])
        elif self._withheld is not None:
            self._plan.set_lambda(self._withheld)
            self._withheld = None

    def release(self):
        """Without a controller from here on; λ stays."""
        if self._controller is not None:
            self._controller.close()
        self._controller = self._make_controller = None
        self._controlled = frozenset()

    def _restore_controller(self):
        self._controller = self._make_controller(self._plan)
        if self._saved is not None:
            self._controller.load(self._saved)
            self._saved = None
        if any(value != 0 for i, value in enumerate(self._lambdas) if i not in self._controlled):
            self._set_lambda(self._lambdas)

    # ---- steps ----

    def take_gradients(self):
        """The parameters' .grad as they are now; copied where their memory is laid out otherwise."""
        pointers = []
        for i, parameter in enumerate(self._parameters):
            gradient = parameter.grad
            if gradient is None:
                pointers.append(None)
                continue
            if self._are_shards:
                gradient = local(gradient)
            if gradient.is_sparse or gradient.stride() != self._strides[i]:
                gradient = self._laid_out(i, gradient)
            pointers.append(gradient.data_ptr())
        if pointers != self._gradients:
            self._refuse_capture("gradients moved")
            self._plan.set_gradient_pointers(pointers)
            self._gradients = pointers

    def _laid_out(self, i, gradient):
        if gradient.is_sparse:
            raise ValueError("cuthresh: a gradient is sparse; use dense gradients (nn.Embedding(sparse=False))")
        if same_layout(gradient, self._tensors[i]):
            return gradient
        if i not in self._copies:
            self._copies[i] = torch.empty_like(self._tensors[i])
        return self._copies[i].copy_(gradient)

    def skip_where(self, found):
        """`found`: a tensor of one float32 that is not 0 where the step is to change nothing; None: none."""
        if found is None:
            if self._skip is not None:
                self._skip.zero_()
            return
        if self._skip is None:
            self._refuse_capture("a gradient scaler is new")
            self._skip = torch.zeros(1, dtype=torch.float32, device=self._device)
            self._plan.set_skip(memory(self._skip))
        self._skip.copy_(found.reshape(1))

    def step(self):
        self._plan.step()
        self.announce()

    def announce(self):
        """The parameters have changed, for autograd to know."""
        self._changes.announce()
        if self._versions is not None:
            self._versions = self._versions_now()

    def tensors_of(self, groups):
        """What of these groups lies here, in the plan's order."""
        return [tensor for tensor, group in zip(self._tensors, self._slot_groups) if group in groups]
