"""Parameters as memory: their layout, their device, and autograd's knowledge of changes."""

import torch

from .. import _abi
from .._arrays import Memory


DTYPES = {torch.float32: _abi.FLOAT32, torch.float64: _abi.FLOAT64, torch.float16: _abi.FLOAT16,
          torch.bfloat16: _abi.BFLOAT16}


def compute_dtype(dtype):
    """What steps of such parameters are computed in: momentum and, of 16 bits, the master copy."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def has_master(dtype):
    return dtype in (torch.float16, torch.bfloat16)


def local(tensor):
    """What of a tensor lies in this process: a DTensor's shard, else itself."""
    return getattr(tensor, "_local_tensor", tensor)


def is_dense(tensor):
    """True when its elements fill its memory without gaps or overlaps, in whatever order."""
    if tensor.is_contiguous():
        return True
    expected = 1
    for stride, extent in sorted((s, e) for s, e in zip(tensor.stride(), tensor.shape) if e != 1):
        if stride != expected:
            return False
        expected *= extent
    return True


def same_layout(a, b):
    return a.stride() == b.stride() or (a.is_contiguous() and b.is_contiguous())


def check_parameter(name, tensor):
    if tensor.is_sparse or not is_dense(tensor):
        raise ValueError(f"{name}: its elements do not fill its memory (strides {tuple(tensor.stride())} of shape "
                         f"{tuple(tensor.shape)}); make it dense, e.g. p.data = p.data.contiguous()")
    if tensor.dtype not in DTYPES:
        raise ValueError(f"{name}: expected float32, float64, bfloat16 or float16 (got {tensor.dtype}); leave it out "
                         "of the optimizer, or convert it")
    if tensor.device.type not in ("cpu", "cuda"):
        raise ValueError(f"{name}: expected a CPU or CUDA tensor (got {tensor.device})")


def memory(tensor):
    device = tensor.device
    kind = _abi.CUDA if device.type == "cuda" else _abi.CPU
    return Memory(tensor.data_ptr(), tensor.numel(), kind, device.index or 0, DTYPES[tensor.dtype], tensor)


def flat(tensor):
    """Its elements in the order of memory, as a view."""
    return tensor.detach().as_strided((tensor.numel(),), (1,))


class Changes:
    """Tells autograd that tensors were changed in place: an operation on nothing, in views that share
    their version counters. (torch.autograd.graph.increment_version does not exist before 2.1.)"""

    def __init__(self, tensors):
        self._empty = [tensor.detach().as_strided((0,), (1,)) for tensor in tensors]

    def announce(self):
        if self._empty:
            torch._foreach_zero_(self._empty)
