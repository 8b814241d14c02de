"""Which parameters are meant: by name, module type, list or predicate."""

import fnmatch
import re
from typing import Any, NamedTuple, Optional

import torch
from torch import nn

_NORMS = tuple(getattr(nn, name) for name in ("LayerNorm", "GroupNorm", "LocalResponseNorm", "RMSNorm")
               if hasattr(nn, name)) + (nn.modules.batchnorm._NormBase,)


class Named(NamedTuple):
    """A parameter, its name in the model, and the module that it belongs to (None: not known)."""

    name: str
    parameter: Any
    module: Optional[nn.Module] = None


def named_parameters(model):
    """The parameters of a model, each once, by the names that they have in the model itself: without what
    data parallel and torch.compile put in front."""
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        model = model.module
    seen, found = set(), []
    for prefix, module in model.named_modules():
        for name, parameter in module._parameters.items():
            if parameter is not None and id(parameter) not in seen:
                seen.add(id(parameter))
                full = f"{prefix}.{name}" if prefix else name
                found.append(Named(full.replace("_orig_mod.", ""), parameter, module))
    return found


def is_weight(named):
    """False for biases and for parameters of normalisation: with fewer than two extents, or owned by a
    normalising module."""
    return named.parameter.dim() >= 2 and not isinstance(named.module, _NORMS)


def matches(selector, named):
    """Patterns (str: as in a shell; compiled: searched for) and module types mean weights only. A tensor
    means itself, a predicate(name, parameter) what it says. None and True: all weights."""
    if selector is None or selector is True:
        return is_weight(named)
    if selector is False:
        return False
    if isinstance(selector, torch.Tensor):
        return selector is named.parameter
    if isinstance(selector, str):
        return is_weight(named) and fnmatch.fnmatchcase(named.name, selector)
    if isinstance(selector, re.Pattern):
        return is_weight(named) and selector.search(named.name) is not None
    if isinstance(selector, type):
        return is_weight(named) and isinstance(named.module, selector)
    if callable(selector):
        return bool(selector(named.name, named.parameter))
    if isinstance(selector, (list, tuple, set, frozenset)):
        return any(matches(one, named) for one in selector)
    raise TypeError("a selector is a name pattern, a compiled regular expression, a module type, a tensor, a "
                    f"predicate(name, parameter), or a list of these (got {type(selector).__name__})")


def selected(selector, of, what):
    """Those of the list that a selector means, which must be one at least."""
    found = [named for named in of if matches(selector, named)]
    if not found:
        names = ", ".join(named.name for named in of[:8]) + (", …" if len(of) > 8 else "")
        raise ValueError(f"{what}: {describe(selector)} selects none of the parameters ({names}); patterns are "
                         "matched against whole names, and names need a model (model=)")
    return found


def describe(selector):
    if selector is None or selector is True:
        return "all weights"
    if isinstance(selector, re.Pattern):
        return f"/{selector.pattern}/"
    if isinstance(selector, type):
        return selector.__name__
    if isinstance(selector, torch.Tensor):
        return "a tensor"
    if isinstance(selector, (list, tuple)):
        return " + ".join(map(describe, selector))
    return selector if isinstance(selector, str) else getattr(selector, "__name__", str(selector))


def first_match(values, named):
    """Of {selector: value} the value whose selector comes first; None without one."""
    for selector, value in values.items():
        if matches(selector, named):
            return value
    return None
