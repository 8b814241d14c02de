"""Training to a prescribed sparsity: fused proximal steps, exact counts, and a controller that finds λ.

Arrays are NumPy's, anything with __dlpack__, or Python buffers: float32, float64, float16 or bfloat16
(all of a plan the same), contiguous, worked on in place. `cuthresh.torch` has an optimizer and a controller for PyTorch."""

from . import allocate
from ._library import library_path, version
from .context import Context
from .controller import Controller, Target, TargetReport
from .errors import DeviceError, Error, InvalidArgument, Unsupported
from .functions import count_nonzero, kth_magnitude, soft_threshold
from .plan import Kkt, Median, Plan, PlanTensor, Rate, StepStatus

__version__ = version()

__all__ = ["Context", "Controller", "DeviceError", "Error", "InvalidArgument", "Kkt", "Median", "Plan", "PlanTensor",
           "Rate", "StepStatus", "Target", "TargetReport", "Unsupported", "allocate", "count_nonzero",
           "kth_magnitude", "library_path", "soft_threshold", "version"]
