#!/usr/bin/python3
"""PyTorch eager doing the work of one of our steps, for timing beside us (Debian's python3-torch).

    pytorch_steps.py [--threads N] [--state FILE] [--serve]

Without --serve it times every case once and prints {case: {"min_ms", "median_ms", "samples"}}. With --serve it
speaks the protocol of tools/peers/README.md: requests on stdin, one a line, an answer each on stdout.

mackey_glass_step     zero_grad, forward, mean squared error, backward, SGD step, softshrink of the weights, count of
                      their nonzeros; 6-128-128-64-1, ReLU, full batch of 1000
prox_step_25k         SGD step, softshrink and count alone, 25,408 weights in 4 tensors
prox_step_25m         the same, 25,000,000 weights in one tensor
conv_step             zero_grad, forward, cross-entropy, backward, SGD step, softshrink of the weights, count of their
                      nonzeros a tensor; 3x3 convolutions 1-32-64-128 with ReLU and 2x2 max pools, 1152-512-10, 128
                      images of 28 x 28
CASE@tuned            PyTorch's fastest way known to us to the same result: foreach update of all parameters at once,
                      softshrink into a buffer that is kept, instead of a new tensor a step; images and convolutions
                      channels-last, ReLU in place

Exit status 77 when torch cannot be imported.
"""

import argparse
import ctypes
import json
import os
import statistics
import sys
import time

sys.dont_write_bytecode = True
import safetensors  # noqa: E402  (the small one beside this file)

try:
    import torch
except Exception as error:  # a broken installation raises other things than ImportError
    print(f"{sys.executable} cannot import torch ({error}); tools/deps.sh --peers installs it", file=sys.stderr)
    sys.exit(77)

LEARNING_RATE = 0.1
LAMBDA = 1e-4
CHECK_STEPS = 200
CONV_CHECK_STEPS = 10
SECONDS = 0.3        # of timed work a request, at least
SAMPLE_SECONDS = 1e-3  # a sample repeats the step until it takes this long
MIN_SAMPLES = 7
LAYERS = 4
LARGE = 25_000_000
CONVOLUTIONS = 3


class Update:
    """SGD step + softshrink of the weights + count, on tensors that have gradients."""

    def __init__(self, parameters, weights, tuned):
        self.parameters, self.weights, self.tuned = parameters, weights, tuned
        # The product of the two as float32, as ours takes it: one last bit would be 4e-9 in the check's sum.
        self.threshold = float(torch.tensor(LEARNING_RATE) * torch.tensor(LAMBDA))
        self.optimiser = torch.optim.SGD(parameters, lr=LEARNING_RATE)
        self.buffers = [torch.empty_like(w) for w in weights] if tuned else None

    def __call__(self):
        with torch.no_grad():
            if self.tuned:
                torch._foreach_add_(self.parameters, [p.grad for p in self.parameters], alpha=-LEARNING_RATE)
                for i, w in enumerate(self.weights):
                    # The result becomes the weight and the weight's memory the next buffer: no copy.
                    data = w.data
                    torch._C._nn.softshrink(data, self.threshold, out=self.buffers[i])
                    w.data, self.buffers[i] = self.buffers[i], data
            else:
                self.optimiser.step()
                for w in self.weights:
                    w.data = torch.nn.functional.softshrink(w.data, self.threshold)
            return sum(int(torch.count_nonzero(w)) for w in self.weights)


class Training:
    """mackey_glass_step."""

    def __init__(self, state, tuned):
        self.initial = {name: state[name] for j in range(1, LAYERS + 1) for name in (f"fc{j}.weight", f"fc{j}.bias")}
        self.x, self.y = state["x"], state["y"]
        self.net = torch.nn.Sequential()
        for j in range(1, LAYERS + 1):
            fan_out, fan_in = state[f"fc{j}.weight"].shape
            self.net.add_module(f"fc{j}", torch.nn.Linear(fan_in, fan_out))
            if j < LAYERS:
                self.net.add_module(f"relu{j}", torch.nn.ReLU())
        self.loss = torch.nn.MSELoss()
        parameters = list(self.net.parameters())
        self.update = Update(parameters, parameters[0::2], tuned)
        self.tuned = tuned
        self.reset()

    def reset(self):
        self.net.load_state_dict(self.initial)

    def before_sample(self):
        """Training just goes on from sample to sample."""

    def step(self):
        self.net.zero_grad(set_to_none=self.tuned)
        loss = self.loss(self.net(self.x), self.y)
        loss.backward()
        return self.update()

    def check(self):
        self.reset()
        for _ in range(CHECK_STEPS):
            nnz = self.step()
        with torch.no_grad():
            return {"nnz": nnz, "loss": float(self.loss(self.net(self.x), self.y))}


class Convolutions:
    """conv_step."""

    def __init__(self, state, tuned):
        prefix = "cnn."
        self.x, self.labels = state[prefix + "x"], state[prefix + "labels"].long()
        layers = [f"conv{j}" for j in range(1, CONVOLUTIONS + 1)] + ["fc1", "fc2"]
        self.initial = {f"{layer}.{part}": state[f"{prefix}{layer}.{part}"]
                        for layer in layers for part in ("weight", "bias")}
        self.net = torch.nn.Sequential()
        for layer in layers:
            fan_out, fan_in, *window = self.initial[layer + ".weight"].shape
            if window:
                self.net.add_module(layer, torch.nn.Conv2d(fan_in, fan_out, window, padding=1))
                self.net.add_module("relu_" + layer, torch.nn.ReLU(inplace=tuned))
                self.net.add_module("pool_" + layer, torch.nn.MaxPool2d(2))
            else:
                if layer == "fc1":
                    self.net.add_module("flatten", torch.nn.Flatten())
                self.net.add_module(layer, torch.nn.Linear(fan_in, fan_out))
                if layer != layers[-1]:
                    self.net.add_module("relu_" + layer, torch.nn.ReLU(inplace=tuned))
        if tuned:
            self.net = self.net.to(memory_format=torch.channels_last)
            self.x = self.x.contiguous(memory_format=torch.channels_last)
        self.loss = torch.nn.CrossEntropyLoss()
        parameters = list(self.net.parameters())
        self.update = Update(parameters, parameters[0::2], tuned)
        self.tuned = tuned
        self.reset()

    def reset(self):
        self.net.load_state_dict(self.initial)

    def before_sample(self):
        """Training just goes on from sample to sample."""

    def step(self):
        self.net.zero_grad(set_to_none=self.tuned)
        loss = self.loss(self.net(self.x), self.labels)
        loss.backward()
        return self.update()

    def check(self):
        self.reset()
        for _ in range(CONV_CHECK_STEPS):
            nnz = self.step()
        with torch.no_grad():
            return {"nnz": nnz, "loss": float(self.loss(self.net(self.x), self.labels))}


class Prox:
    """prox_step_*: constant gradients; before each sample the weights are set back, outside the timing."""

    def __init__(self, weights, gradients, tuned):
        self.initial = weights
        self.weights = [torch.nn.Parameter(w.clone()) for w in weights]
        for w, g in zip(self.weights, gradients):
            w.grad = g
        self.update = Update(self.weights, self.weights, tuned)
        self.step = self.update

    def before_sample(self):
        with torch.no_grad():
            for w, initial in zip(self.weights, self.initial):
                w.copy_(initial)

    reset = before_sample

    def check(self):
        self.reset()
        for _ in range(CHECK_STEPS):
            nnz = self.step()
        total = sum(float(w.detach().double().abs().sum()) for w in self.weights)
        return {"nnz": nnz, "loss": total / sum(w.numel() for w in self.weights)}


def make_case(name, state):
    base, _, variant = name.partition("@")
    if variant not in ("", "tuned"):
        raise KeyError(name)
    tuned = variant == "tuned"
    if base == "mackey_glass_step":
        return Training(state, tuned)
    if base == "conv_step":
        return Convolutions(state, tuned)
    names = [f"fc{j}.weight" for j in range(1, LAYERS + 1)]
    weights, gradients = [state[n] for n in names], [state["g." + n] for n in names]
    if base == "prox_step_25k":
        return Prox(weights, [g.clone() for g in gradients], tuned)
    if base == "prox_step_25m":
        # Element i is element i mod 25,408 of the four tensors one after the other.
        def large(parts):
            small = torch.cat([p.reshape(-1) for p in parts])
            return small.repeat(-(-LARGE // small.numel()))[:LARGE].clone()
        return Prox([large(weights)], [large(gradients)], tuned)
    raise KeyError(name)


def time_case(case):
    case.reset()
    begin = time.perf_counter()
    for _ in range(3):
        case.step()
    repeats = max(1, int(SAMPLE_SECONDS / ((time.perf_counter() - begin) / 3)))
    samples, total = [], 0.0
    while total < SECONDS or len(samples) < MIN_SAMPLES:
        case.before_sample()
        begin = time.perf_counter()
        for _ in range(repeats):
            case.step()
        elapsed = time.perf_counter() - begin
        total += elapsed
        samples.append(elapsed / repeats * 1e3)
    return {"min_ms": min(samples), "median_ms": statistics.median(samples), "samples": len(samples)}


def status_kib(key):
    with open("/proc/self/status") as f:
        for line in f:
            if line.startswith(key + ":"):
                return int(line.split()[1])
    raise OSError(f"/proc/self/status has no line {key}")


def memory(name, state):
    """What is resident before the case is made, and the most while its step is timed."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
        with open("/proc/self/clear_refs", "w") as f:
            f.write("5")
    except (AttributeError, OSError):
        pass  # the peak is then the whole process's
    before = status_kib("VmRSS")
    time_case(make_case(name, state))
    return {"before_kib": before, "peak_kib": status_kib("VmHWM")}


def blas():
    """The BLAS library that this process has loaded."""
    torch.mm(torch.ones(64, 64), torch.ones(64, 64))
    with open("/proc/self/maps") as f:
        found = {os.path.basename(os.path.realpath(line.split()[-1])) for line in f if "blas" in line.lower()}
    return ", ".join(sorted(found)) or "none"


def serve(state, cases):
    def answer(reply):
        print(json.dumps(reply), flush=True)

    answer({"ready": True, "what": f"PyTorch {torch.__version__}", "threads": torch.get_num_threads(),
            "blas": blas()})
    made = {}  # one case at a time: the large ones hold hundreds of megabytes
    for line in sys.stdin:
        words = line.split()
        if not words:
            continue
        name = words[-1]
        try:
            if len(words) == 2 and words[0] == "memory":
                made.clear()
                answer({"case": name, **memory(name, state)})
                continue
            if name not in made:
                made.clear()
                made[name] = make_case(name, state)
            if len(words) == 1:
                answer({"case": name, **time_case(made[name])})
            elif len(words) == 2 and words[0] == "check":
                answer({"case": name, **made[name].check()})
            else:
                raise KeyError(line.strip())
        except KeyError as error:
            answer({"error": f"unknown request {error}; expected CASE, check CASE or memory CASE with CASE of "
                             f"{', '.join(cases)}"})


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--state", help="safetensors file with x, y, the parameters and g.*; default: made here")
    parser.add_argument("--serve", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    if args.state:
        raw = safetensors.read(args.state)
    else:
        import state as start  # the small one beside this file
        raw = start.make()
    state = {name: torch.frombuffer(values, dtype=torch.float32).reshape(shape).clone()
             for name, (shape, values) in raw.items()}
    del raw
    bases = ("mackey_glass_step", "prox_step_25k", "prox_step_25m", "conv_step")
    cases = [base + variant for base in bases for variant in ("", "@tuned")]
    if args.serve:
        serve(state, cases)
    else:
        print(json.dumps({name: time_case(make_case(name, state)) for name in cases}, indent=2))


if __name__ == "__main__":
    main()
