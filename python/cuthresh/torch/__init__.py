"""cuthresh for PyTorch: ProxSGD, SparsityController and soft_threshold_ (docs/python.md)."""

from .controller import SparsityController
from .prox_sgd import ProxSGD
from .report import Report
from .threshold import soft_threshold_

__all__ = ["ProxSGD", "Report", "SparsityController", "soft_threshold_"]
