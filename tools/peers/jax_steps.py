#!/usr/bin/env python3
"""JAX doing the work of our cases, for timing beside us. The arguments of pytorch_steps.py.

CASE    the whole step in one jax.jit, its count read after each step
@loop   of the steps that change weights: all steps of a sample in one lax.while_loop that would end early at a count
        that never comes, as a search that stops at its target does; read once, after the last

Exit status 77 when jax cannot be imported.
"""

import functools
import os
import sys

sys.dont_write_bytecode = True
import server  # noqa: E402  (the small one beside this file)

try:
    import jax
    import jax.numpy as jnp
    import numpy as np
    from jax import lax
except Exception as error:  # a broken installation raises other things than ImportError
    server.unavailable(f"{sys.executable} cannot import jax ({error}); pip install jax into an environment of its own, "
                       "and give its interpreter as --jax-python")
import formula  # noqa: E402
import state as start  # noqa: E402

RATE = np.float32(server.LEARNING_RATE)
THRESHOLD = RATE * np.float32(server.LAMBDA)
LISTS = ("bracket_median_1m", "bracket_median_25m", "search_pivot_687k", "kth_25m", "count_25m", "certificate_25m")


def updated(weights, gradients):
    """SGD step and softshrink of each, and the count of all nonzeros."""
    stepped = [w - RATE * g for w, g in zip(weights, gradients)]
    shrunk = [jnp.where(v > THRESHOLD, v - THRESHOLD, jnp.where(v < -THRESHOLD, v + THRESHOLD, jnp.zeros_like(v)))
              for v in stepped]
    return shrunk, sum(jnp.count_nonzero(w) for w in shrunk)


def dense(a, w, b):
    return a @ w.T + b


def mackey_glass_loss(weights, biases, x, y):
    a = x
    for w, b in zip(weights[:-1], biases[:-1]):
        a = jax.nn.relu(dense(a, w, b))
    return jnp.mean((dense(a, weights[-1], biases[-1]) - y)**2)


def convolution_loss(weights, biases, x, labels):
    a = x
    for w, b in zip(weights[:3], biases[:3]):
        a = lax.conv_general_dilated(a, w, (1, 1), "SAME", dimension_numbers=("NCHW", "OIHW", "NCHW"))
        a = jax.nn.relu(a + b[None, :, None, None])
        a = lax.reduce_window(a, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
    a = jax.nn.relu(dense(a.reshape(a.shape[0], -1), weights[3], biases[3]))
    logits = dense(a, weights[4], biases[4])
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1))


class Steps(server.Case):
    """advance(variables, constants) -> (variables, count), everything jitted; variables[0] are the weights."""

    def __init__(self, advance, variables, constants, base, variant):
        self.initial, self.constants, self.base, self.variant = variables, constants, base, variant
        self.how = "one jax.jit a step" if variant == "" else "one jax.jit, its steps in a lax.while_loop"

        def loop(variables, constants, steps):
            def ends(carried):
                return (carried[0] < steps) & (carried[2] != -1)

            def body(carried):
                return (carried[0] + 1, *advance(carried[1], constants))
            return lax.while_loop(ends, body, (0, variables, jnp.zeros((), jnp.int32)))[1:]
        self.one = jax.jit(advance, donate_argnums=0)
        self.many = jax.jit(loop, donate_argnums=0)
        self.reset()

    def reset(self):
        self.variables = jax.tree_util.tree_map(jnp.copy, self.initial)
        jax.block_until_ready(self.variables)

    def before_sample(self):
        if self.base.startswith("prox_"):
            self.reset()

    def steps(self, count):
        if self.variant == "loop":
            self.variables, nnz = self.many(self.variables, self.constants, count)
            return int(nnz)
        for _ in range(count):
            self.variables, nnz = self.one(self.variables, self.constants)
            nnz = int(nnz)
        return nnz

    def synchronize(self):
        jax.block_until_ready(self.variables)

    def check(self):
        self.reset()
        nnz = self.steps(server.CHECK_STEPS[self.base])
        return {"nnz": nnz, "loss": self.loss()}

    def loss(self):
        weights = [np.asarray(w, np.float64) for w in self.variables[0]]
        return float(sum(np.abs(w).sum() for w in weights) / sum(w.size for w in weights))


class Training(Steps):
    def __init__(self, loss, weights, biases, data, base, variant):
        self.loss_of = loss

        def advance(variables, constants):
            gradients = jax.grad(loss, argnums=(0, 1))(*variables, *constants)
            shrunk, nnz = updated(variables[0], gradients[0])
            return (shrunk, [b - RATE * g for b, g in zip(variables[1], gradients[1])]), nnz
        super().__init__(advance, (weights, biases), data, base, variant)

    def loss(self):
        return float(jax.jit(self.loss_of)(*self.variables, *self.constants))


def make_steps(base, variant, state):
    names = [f"fc{j}" for j in range(1, len(start.WIDTHS))]
    if base.startswith("prox_"):
        def advance(variables, constants):
            shrunk, nnz = updated(variables[0], constants)
            return (shrunk,), nnz
        pairs = [(state[n + ".weight"], state[f"g.{n}.weight"]) for n in names]
        if base == "prox_step_25m":
            pairs = [tuple(jnp.resize(jnp.concatenate([p.reshape(-1) for p in parts]), formula.LARGE)
                           for parts in zip(*pairs))]
        weights, gradients = map(list, zip(*pairs))
        return Steps(advance, (weights,), gradients, base, variant)
    prefix, loss, data = "", mackey_glass_loss, ("x", "y")
    if base == "conv_step":
        prefix, loss, data, names = "cnn.", convolution_loss, ("cnn.x", "cnn.labels"), list(start.CONV_SHAPES)
    weights, biases = ([state[f"{prefix}{n}.{part}"] for n in names] for part in ("weight", "bias"))
    x, y = (state[name] for name in data)
    return Training(loss, weights, biases, (x, y.astype(jnp.int32) if base == "conv_step" else y), base, variant)


# Sizes are fixed in a jitted function, so what lies outside the bracket is sorted behind what lies inside.
def medians(g):
    found = []
    for magnitude in map(jnp.abs, g):
        inside = (magnitude > formula.BRACKET[0]) & (magnitude < formula.BRACKET[1])
        count = jnp.count_nonzero(inside)
        found.append((count, jnp.sort(jnp.where(inside, magnitude, jnp.inf))[jnp.maximum(count - 1, 0) // 2]))
    return found


def certificate(w, g):
    strength = jnp.float32(server.LAMBDA)
    nonzero = w != 0
    on_nonzero = jnp.max(jnp.where(nonzero, jnp.abs(g + strength * jnp.sign(w)), 0))
    on_zero = jnp.max(jnp.where(nonzero, 0, jnp.maximum(jnp.abs(g) - strength, 0)))
    return jnp.count_nonzero(nonzero), on_nonzero, on_zero


class ListCase(server.Case):
    def __init__(self, base, data):
        kind = base.rpartition("_")[0]
        w, g = [jnp.asarray(v) for v in data["w"]], [jnp.asarray(v) for v in data["g"]]
        k = data["k"]
        functions = {"count": (jnp.count_nonzero, (w[0],), ("nnz",), "jnp.count_nonzero"),
                     "certificate": (certificate, (w[0], g[0]), ("nnz", "on_nonzero", "on_zero"), "jnp.where, jnp.max"),
                     "kth": (lambda g: jnp.sort(jnp.abs(g))[g.size - k], (g[0],), ("kth",), "jnp.sort"),
                     "bracket_median": (medians, (g,), None, "jnp.sort of what is inside"),
                     "search_pivot": (medians, (g,), None, "jnp.sort of what is inside, a tensor")}
        function, self.arguments, self.names, how = functions[kind]
        self.how = how + ", jax.jit"
        self.function = jax.jit(function)

    def check(self):
        result = jax.device_get(self.function(*self.arguments))
        if self.names:
            values = [np.asarray(v).item() for v in (result if isinstance(result, tuple) else (result,))]
            return dict(zip(self.names, values))
        figures = {}
        for i, (inside, median) in enumerate(result, 1):
            number = "" if len(result) == 1 else f"_{i}"
            figures["inside" + number], figures["median" + number] = inside.item(), median.item()
        return figures

    step = check

    def reset(self):
        pass


def main():
    args = server.arguments(__doc__.split("\n")[0])
    if args.device == "cpu":
        # Its pool has a thread a core that the process may use, which is what compare.py sets.
        jax.config.update("jax_platforms", "cpu")
    elif not any(device.platform == "gpu" for device in jax.devices()):
        server.unavailable(f"jax {jax.__version__} finds no CUDA device")
    # Float32 throughout, as ours: on a GPU the default rounds the factors of products to TF32.
    jax.config.update("jax_default_matmul_precision", "highest")
    state = {name: jnp.asarray(np.frombuffer(values, np.float32).reshape(shape))
             for name, (shape, values) in server.read_state(args.state).items()}
    list_data = functools.lru_cache(maxsize=1)(formula.data)

    def make(base, variant):
        if variant not in ("", "loop"):
            raise server.Unknown
        if base in server.CHECK_STEPS:
            return make_steps(base, variant, state)
        if base not in LISTS:
            raise server.Unknown
        if variant:
            raise server.Missing("nothing changes from call to call, so there is nothing to loop over")
        return ListCase(base, list_data(base))

    server.run(args, {"what": f"JAX {jax.__version__} on {jax.devices()[0].device_kind}", "cores": len(os.sched_getaffinity(0))},
               make)


if __name__ == "__main__":
    main()
