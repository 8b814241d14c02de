"""The peers' side of the protocol of tools/peers/README.md: requests on stdin, one a line, an answer each on stdout.

A case has step(), one step with its count read; reset(), to its start; check(), its figures after the prescribed
steps from the start; `how`, what it runs in words. The base class says the rest.
"""

import argparse
import ctypes
import json
import os
import statistics
import sys
import time

import safetensors

LEARNING_RATE = 0.1
LAMBDA = 1e-4
CHECK_STEPS = {"mackey_glass_step": 200, "prox_step_25k": 200, "prox_step_25m": 200, "conv_step": 10}
SECONDS = 0.3        # of timed work a request, at least
SAMPLE_SECONDS = 1e-3  # a sample repeats the step until it takes this long
MIN_SAMPLES = 7
SLOW_SECONDS = 2.0   # of timed work after which the samples are enough, however few
WARM_UP_STEPS = 3
SKIP = 77


class Unknown(Exception):
    """No such case or variant."""


class Missing(Exception):
    """This peer does not do this case here: why."""


class Case:
    def before_sample(self):
        """Back to the start, for a case whose steps must not go on from sample to sample."""

    def steps(self, count):
        for _ in range(count):
            self.step()

    def synchronize(self):
        """Waits for a device."""


def time_case(case):
    def timed(count):
        case.synchronize()
        begin = time.perf_counter()
        case.steps(count)
        case.synchronize()
        return time.perf_counter() - begin

    case.reset()
    case.steps(1)  # compiles, where that is put off
    repeats = max(1, int(SAMPLE_SECONDS / (timed(WARM_UP_STEPS) / WARM_UP_STEPS)))
    samples, total = [], 0.0
    while total < SECONDS or (len(samples) < MIN_SAMPLES and total < SLOW_SECONDS):
        case.before_sample()
        elapsed = timed(repeats)
        total += elapsed
        samples.append(elapsed / repeats * 1e3)
    return {"min_ms": min(samples), "median_ms": statistics.median(samples), "samples": len(samples)}


def status_kib(key):
    with open("/proc/self/status") as f:
        for line in f:
            if line.startswith(key + ":"):
                return int(line.split()[1])
    raise OSError(f"/proc/self/status has no line {key}")


class Server:
    """make(base, variant) gives a Case; it raises Missing or Unknown."""

    def __init__(self, make):
        self.make, self.base, self.made = make, None, {}

    def case(self, name):
        base, _, variant = name.partition("@")
        if base != self.base:  # all variants of one case at a time: the large ones hold hundreds of megabytes
            self.made.clear()
            self.base = base
        if name not in self.made:
            self.made[name] = self.make(base, variant)
        return self.made[name]

    def memory(self, name):
        """What is resident before the case is made, and the most while its step is timed."""
        self.made.clear()
        try:
            ctypes.CDLL(None).malloc_trim(0)
            with open("/proc/self/clear_refs", "w") as f:
                f.write("5")
        except (AttributeError, OSError):
            pass  # the peak is then the whole process's
        before = status_kib("VmRSS")
        time_case(self.case(name))
        return {"before_kib": before, "peak_kib": status_kib("VmHWM")}

    def answer(self, line):
        *verb, name = line.split()
        answers = {"": lambda: time_case(self.case(name)), "memory": lambda: self.memory(name),
                   "check": lambda: {**self.case(name).check(), "how": self.case(name).how}}
        try:
            if " ".join(verb) not in answers:
                raise Unknown
            return {"case": name, **answers[" ".join(verb)]()}
        except Missing as reason:
            return {"case": name, "missing": str(reason)}
        except Unknown:
            return {"error": f"unknown request '{line.strip()}'; expected CASE[@VARIANT], check CASE[@VARIANT] or "
                             "memory CASE[@VARIANT]"}
        except Exception as error:  # a compiler that fails, no memory: this peer's case alone
            first = str(error).strip().split("\n")[0]
            return {"case": name, "missing": f"failed: {type(error).__name__}: {first[:300]}"}


def say(reply):
    print(json.dumps(reply), flush=True)


def unavailable(reason):
    """For a program whose library cannot be imported."""
    say({"missing": reason})
    print(reason, file=sys.stderr)
    sys.exit(SKIP)


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--state", help="safetensors file with x, y, the parameters and g.*; default: made here")
    parser.add_argument("--serve", action="store_true", help="answer requests, as compare.py sends them")
    parser.add_argument("requests", nargs="*", help="without --serve: what to ask, e.g. 'check kth_25m' conv_step@tuned")
    return parser.parse_args()


def read_state(path):
    """{name: (shape, array('f'))}."""
    if path:
        return safetensors.read(path)
    import state  # the small one beside this file
    return state.make()


def run(args, hello, make):
    server = Server(make)
    if args.serve:
        say({"ready": True, "threads": args.threads, "device": args.device, **hello})
    for line in sys.stdin if args.serve else args.requests:
        if line.strip():
            say(server.answer(line))
