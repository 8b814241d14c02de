"""Gradient scalers: PyTorch's two ways of telling an optimizer of them.

From 2.0 on the scaler sets optimizer.grad_scale (None: unscaled already) and optimizer.found_inf
around step(); before, it hands itself on as grad_scaler=. Neither way anything waits."""

import torch


def found_inf(optimizer, grad_scaler=None):
    """Where a scaler has found what overflowed: a tensor that is then not 0; None without a scaler."""
    if grad_scaler is not None:
        found = list(grad_scaler._per_optimizer_states[id(optimizer)]["found_inf_per_device"].values())
        return sum(found[1:], found[0]) if found else None
    return getattr(optimizer, "found_inf", None)


def unscale(optimizer, grad_scaler=None):
    """Divides the gradients by the scale where nobody has yet. Returns found_inf()."""
    if grad_scaler is not None:
        stage = grad_scaler._per_optimizer_states[id(optimizer)]["stage"]
        if stage.name == "READY":
            grad_scaler.unscale_(optimizer)
        return found_inf(optimizer, grad_scaler)
    found = found_inf(optimizer)
    scale = getattr(optimizer, "grad_scale", None)
    if scale is not None:
        inverse = scale.double().reciprocal().float()
        for group in optimizer.param_groups:
            gradients = [parameter.grad for parameter in group["params"] if parameter.grad is not None]
            if gradients and gradients[0].device.type == "cuda" and found is not None:
                torch._amp_foreach_non_finite_check_and_unscale_(gradients, found, inverse)
                continue
            for gradient in gradients:
                gradient.mul_(inverse)
    return found
