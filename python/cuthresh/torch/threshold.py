"""The soft threshold alone, to follow any optimizer's step."""

import torch

from ..plan import Plan, PlanTensor
from ._engine import make_context
from ._tensors import Changes, check_parameter, local, memory


@torch.no_grad()
def soft_threshold_(params, lam, lr=1.0):
    """w ← sign(w)·max(|w| − lr·lam, 0) in place, for a tensor or a list of them on one device; `lam`: λ,
    or one a tensor. Only enqueues. Returns `params`.

    A plan is made for each call; SparsityController keeps one."""
    tensors = [params] if isinstance(params, torch.Tensor) else list(params)
    lams = list(lam) if isinstance(lam, (list, tuple)) else [lam] * len(tensors)
    if len(lams) != len(tensors):
        raise ValueError(f"soft_threshold_: expected one lam, or {len(tensors)} (got {len(lams)})")
    tensors = [local(tensor) for tensor in tensors]
    for i, tensor in enumerate(tensors):
        check_parameter(f"soft_threshold_: tensor {i}", tensor)
    if not tensors:
        return params
    with make_context(tensors[0].device) as context:
        plan = Plan(context, [PlanTensor(memory(tensor.detach()), group=i) for i, tensor in enumerate(tensors)],
                    "threshold")
        plan.set_rates([float(lr)])
        plan.set_lambda([float(value) for value in lams])
        plan.step()
    Changes(tensors).announce()
    return params
