"""From what users ask for to targets: a share of zeros is a float, a number of nonzeros an int."""

from math import floor, prod
from numbers import Integral, Real
from typing import NamedTuple

from .. import allocate
from ..controller import Target
from ._select import describe, first_match, matches


class Layer(NamedTuple):
    """`weights`: in all processes together."""

    named: object
    group: int
    weights: int


class Aim(NamedTuple):
    """Layers that share a λ, and how many of their weights are to be left."""

    name: str
    layers: list[Layer]
    nonzeros: int

    @property
    def weights(self):
        return sum(layer.weights for layer in self.layers)


def _is_count(value):
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_share(value):
    return isinstance(value, Real) and not isinstance(value, Integral)


def nonzeros_of(value, weights, what):
    """How many weights are left: an int says so, a float is the share of zeros."""
    if _is_count(value):
        if not 1 <= value <= weights:
            raise ValueError(f"{what}: a number of nonzeros must be from 1 to {weights}, its weights (got {value}); "
                             "a share of zeros is a float")
        return int(value)
    if not _is_share(value) or not 0 <= value < 1:
        raise ValueError(f"{what}: expected a share of zeros in [0, 1) or a number of nonzeros ≥ 1 (got {value!r})")
    return max(1, floor((1 - value) * weights + 0.5))


def _split(name, layers, total, allocation):
    """One aim a layer, of a total."""
    if allocation == "uniform":
        counts = allocate.uniform([layer.weights for layer in layers], total)
    elif allocation == "erdos_renyi":
        shapes = [tuple(layer.named.parameter.shape) for layer in layers]
        if [prod(shape) for shape in shapes] != [layer.weights for layer in layers]:
            raise ValueError(f"{name}: Erdős–Rényi allocation needs whole layers, and these are parts of them; give "
                             "counts by layer, {name: count}")
        counts = allocate.erdos_renyi(shapes, total)
    else:
        raise ValueError(f"allocation must be 'uniform' or 'erdos_renyi' (got {allocation!r})")
    return [Aim(layer.named.name, [layer], count) for layer, count in zip(layers, counts)]


def aims_of(target, layers, per_layer, allocation):
    if not layers:
        raise ValueError("SparsityController: nothing is penalised; choose weights with penalise=")
    if not isinstance(target, dict):
        target = {True: target}
    left, aims = list(layers), []
    for selector, value in target.items():
        name = describe(selector)
        taken = [layer for layer in left if matches(selector, layer.named)] if selector is not True else left
        if not taken:
            names = ", ".join(layer.named.name for layer in layers[:8]) + (", …" if len(layers) > 8 else "")
            raise ValueError(f"target {name!r}: selects none of the penalised weights that are left ({names}); "
                             "patterns are matched against whole names, and names need a model (model=)")
        groups = {layer.group for layer in taken}
        left = [layer for layer in left if layer.group not in groups]
        total = nonzeros_of(value, sum(layer.weights for layer in taken), f"target {name!r}")
        aims += _split(name, taken, total, allocation) if per_layer else [Aim(name, taken, total)]
    return aims


def _bound(values, layer, name, default):
    """One layer's bound: an int is a number of nonzeros, a float a share of the layer's weights."""
    value = first_match(values, layer.named) if isinstance(values, dict) else values
    if value is None:
        return default
    if _is_count(value) and value >= 0:
        return min(int(value), layer.weights)
    if _is_share(value) and 0 <= value <= 1:
        return floor(value * layer.weights + 0.5)
    raise ValueError(f"{name}: expected a number of nonzeros ≥ 0 or a share of the layer's weights in [0, 1] (got "
                     f"{value!r} for {layer.named.name})")


def to_target(aim, tolerance, lambda_start, least, most, divided):
    bounds = {"least": None, "most": None}
    if least is not None:
        bounds["least"] = [_bound(least, layer, "least", 0) for layer in aim.layers]
    if most is not None:
        bounds["most"] = [_bound(most, layer, "most", layer.weights) for layer in aim.layers]
    return Target([layer.group for layer in aim.layers], nonzeros=aim.nonzeros, tolerance=tolerance,
                  lambda_start=lambda_start, total_weights=aim.weights if divided else 0, **bounds)
