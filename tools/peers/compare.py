#!/usr/bin/env python3
"""Times our steps beside PyTorch's in one run, after checking that both compute the same.

    tools/deps.sh --peers; cmake --build --preset release --target cuthresh-peer-bench
    tools/peers/compare.py [--cases conv_step ...] [--threads N] [--rounds 9] [--out FILE.json]

The two sides are processes that answer one request at a time (tools/peers/README.md). Each is stopped (SIGSTOP)
while the other works: an OpenMP thread that has finished its part spins for a while, and spinning threads of one
side would take the cores of the other. Both get the same cores and the same number of threads; neither gets
OMP_WAIT_POLICY or GOMP_SPINCOUNT. Memory is taken after the times, each in a process that does nothing else.

Exit status: 0 compared, 1 the sides disagree or one failed, 2 bad arguments or no benchmark, 77 no PyTorch.
"""

import argparse
import glob
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import safetensors  # noqa: E402  (the small one beside this file)
import state as start  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
CASES = ("mackey_glass_step", "prox_step_25k", "prox_step_25m", "conv_step")
# Whose memory is taken: of the other cases it would be that of our benchmark's own copies.
MEMORY_CASES = ("mackey_glass_step", "conv_step")
# Steps of a check, and the largest relative differences between the sides after them. The fused step is the same
# operation bit by bit; of training only the order of its sums differs. Of conv_step's 687,392 weights ten steps leave
# 0.2 % at zero: its tolerance is one of a twentieth of them.
CHECK_STEPS = {"conv_step": 10}  # else 200
LOSS_TOLERANCE = {"mackey_glass_step": 1e-3, "prox_step_25k": 1e-9, "prox_step_25m": 1e-9, "conv_step": 1e-4}
NNZ_TOLERANCE = {"mackey_glass_step": 0.005, "prox_step_25k": 0.0, "prox_step_25m": 0.0, "conv_step": 1e-4}
SKIP = 77


class Side:
    """One process, stopped except while it answers."""

    def __init__(self, name, command, environment):
        self.name = name
        self.process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, bufsize=1)
        self.hello = self.read("to its start")
        self.stop()

    def read(self, request):
        line = self.process.stdout.readline()
        if not line:
            status = self.process.wait()
            if status == SKIP:
                sys.exit(SKIP)  # it has said why
            sys.exit(f"{self.name}: ended with status {status} instead of an answer {request}")
        reply = json.loads(line)
        if "error" in reply:
            sys.exit(f"{self.name}: {reply['error']}")
        return reply

    def ask(self, request):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(request + "\n")
        reply = self.read(f"to '{request}'")
        self.stop()
        return reply

    def stop(self):
        self.process.send_signal(signal.SIGSTOP)
        for _ in range(1000):
            with open(f"/proc/{self.process.pid}/stat") as f:
                # "pid (name) state ...": the name may hold anything, so the state comes after the last ")".
                if f.read().rsplit(")", 1)[1].split()[0] == "T":
                    return
            time.sleep(0.001)
        sys.exit(f"{self.name}: process {self.process.pid} did not stop")

    def end(self):
        self.process.kill()  # ends a stopped process too
        self.process.wait()


def find_bench():
    """The newest benchmark that was not built with a sanitizer."""
    found = [path for path in glob.glob(os.path.join(ROOT, "build", "*", "bin", "cuthresh-peer-bench"))
             if path.split(os.sep)[-3] not in ("asan", "tsan", "debug")]
    return max(found, key=os.path.getmtime, default=None)


def machine():
    model = "unknown"
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {"cpu": model, "architecture": platform.machine(), "kernel": platform.release(),
            "cores": len(os.sched_getaffinity(0))}


def commit():
    done = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def relative(a, b):
    return abs(a - b) / max(abs(b), 1e-300)


def check(ours, theirs, case):
    """Both answers; exits when they differ by more than rounding explains."""
    a, b = ours.ask("check " + case), theirs.ask("check " + case)
    steps = CHECK_STEPS.get(case, 200)
    loss, nnz = relative(a["loss"], b["loss"]), relative(a["nnz"], b["nnz"])
    # Written so that a NaN fails.
    if not (loss <= LOSS_TOLERANCE[case] and nnz <= NNZ_TOLERANCE[case]):
        sys.exit(f"{case}: the sides disagree after {steps} steps: cuthresh nnz {a['nnz']} loss {a['loss']:.9g}, "
                 f"PyTorch nnz {b['nnz']} loss {b['loss']:.9g} (allowed: {NNZ_TOLERANCE[case]:g} and "
                 f"{LOSS_TOLERANCE[case]:g} relative)")
    print(f"{case}: same result after {steps} steps (nnz {a['nnz']} and {b['nnz']}, loss {a['loss']:.7g}, "
          f"relative difference {loss:.1e})", flush=True)
    return {"cuthresh": {"nnz": a["nnz"], "loss": a["loss"]}, "pytorch": {"nnz": b["nnz"], "loss": b["loss"]}}


def summary(replies):
    """The minimum of the minima and the median of the medians over all alternations."""
    return {"min_ms": min(r["min_ms"] for r in replies), "median_ms": statistics.median(r["median_ms"] for r in replies),
            "samples": sum(r["samples"] for r in replies)}


def compare(ours, theirs, case, rounds):
    requests = [(ours, case), (theirs, case), (theirs, case + "@tuned")]
    replies = [[] for _ in requests]
    for number in range(rounds):
        # Who goes first alternates, so that a drifting clock favours nobody.
        order = range(len(requests)) if number % 2 == 0 else reversed(range(len(requests)))
        for i in order:
            side, request = requests[i]
            replies[i].append(side.ask(request))
    names = ("cuthresh", "pytorch", "pytorch_tuned")
    result = {name: summary(r) for name, r in zip(names, replies)}
    for peer, peers in zip(names[1:], replies[1:]):
        ratio = {key: result[peer][key] / result["cuthresh"][key] for key in ("min_ms", "median_ms")}
        # Within one alternation both sides had the same neighbours: on a shared machine, whose speed drifts by half
        # from minute to minute, the median of these says most.
        pairs = [b["min_ms"] / a["min_ms"] for a, b in zip(replies[0], peers)]
        ratio["paired"] = statistics.median(pairs)
        ratio["paired_range"] = [min(pairs), max(pairs)]
        result[f"ratio_{peer}"] = ratio
    return result


def measure_memory(commands, environment, case):
    """KiB resident before the case was made and at its peak, each in a process of its own."""
    requests = {"cuthresh": ("cuthresh", case), "pytorch": ("PyTorch", case),
                "pytorch_tuned": ("PyTorch", case + "@tuned")}
    result = {}
    for name, (side, request) in requests.items():
        process = Side(side, commands[side], environment)
        try:
            reply = process.ask("memory " + request)
        finally:
            process.end()
        result[name] = {"before_kib": reply["before_kib"], "peak_kib": reply["peak_kib"],
                        "case_kib": reply["peak_kib"] - reply["before_kib"]}
    return result


def print_memory(memory):
    print(f"\n{'case':<18} {'side':<14} {'case MiB':>10} {'peak MiB':>10}   (case: above what the process held before)")
    for case, sides in memory.items():
        for side, m in sides.items():
            print(f"{case if side == 'cuthresh' else '':<18} {side:<14} {m['case_kib'] / 1024:>10.1f} "
                  f"{m['peak_kib'] / 1024:>10.1f}")


def print_table(results):
    print(f"\n{'case':<18} {'side':<14} {'min ms':>10} {'median ms':>10} {'ratio (min)':>12} {'ratio (median)':>15} {'ratio (paired)':>20}")
    for case, result in results.items():
        for side in ("cuthresh", "pytorch", "pytorch_tuned"):
            ratio = result.get(f"ratio_{side}")
            times = ["", "", ""]
            if ratio:
                low, high = ratio["paired_range"]
                times = [f"{ratio['min_ms']:.2f}x", f"{ratio['median_ms']:.2f}x",
                         f"{ratio['paired']:.2f}x ({low:.1f}..{high:.1f})"]
            print(f"{case if side == 'cuthresh' else '':<18} {side:<14} {result[side]['min_ms']:>10.4f} "
                  f"{result[side]['median_ms']:>10.4f} {times[0]:>12} {times[1]:>15} {times[2]:>20}")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=0, help="threads of each side (default: one a core)")
    parser.add_argument("--rounds", type=int, default=9, help="alternations a case, at least 7")
    parser.add_argument("--bench", help="our benchmark (default: the newest build/*/bin/cuthresh-peer-bench)")
    parser.add_argument("--python", default="/usr/bin/python3", help="the interpreter that has torch")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--out", help="write the results to this JSON file")
    args = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    args.threads = args.threads or len(cores)
    if not 1 <= args.threads <= len(cores):
        parser.error(f"--threads {args.threads}: this process may use {len(cores)} cores")
    if args.rounds < 7:
        parser.error(f"--rounds {args.rounds}: fewer than 7 alternations say little on a shared machine")
    args.bench = args.bench or find_bench()
    if not args.bench or not os.access(args.bench, os.X_OK):
        parser.error("no benchmark; build it with: cmake --build --preset release --target cuthresh-peer-bench")
    return args, cores[:args.threads]


def main():
    args, cores = arguments()
    try:
        os.sched_setaffinity(0, cores)  # inherited by both sides
    except OSError as error:
        sys.exit(f"cannot keep to the cores {cores}: {error}")
    # Threads are set by number alone; what else tunes them, or pins OpenBLAS to an old processor, goes.
    environment = {key: value for key, value in os.environ.items()
                   if not key.startswith(("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "DNNL_"))}
    environment.update(OMP_NUM_THREADS=str(args.threads), OPENBLAS_NUM_THREADS=str(args.threads))

    results, checks, memory, sides = {}, {}, {}, []
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "state.safetensors")
        safetensors.write(path, start.make())
        options = ["--serve", "--threads", str(args.threads), "--state", path]
        try:
            commands = {"PyTorch": [args.python, os.path.join(HERE, "pytorch_steps.py")] + options,
                        "cuthresh": [args.bench] + options}
            sides.extend(Side(name, command, environment) for name, command in commands.items())
            theirs, ours = sides
            print(f"cuthresh: {ours.hello.get('what', args.bench)}\n{theirs.hello['what']}, BLAS {theirs.hello['blas']}, "
                  f"{args.threads} threads on cores {cores}, {args.rounds} alternations", flush=True)
            if "openblas" not in theirs.hello["blas"]:
                print("note: PyTorch runs on a generic BLAS and is an unfair peer; tools/deps.sh --peers installs a fast one")
            for case in args.cases:
                checks[case] = check(ours, theirs, case)
                results[case] = compare(ours, theirs, case, args.rounds)
            for case in [c for c in args.cases if c in MEMORY_CASES]:
                memory[case] = measure_memory(commands, environment, case)
        finally:
            for side in sides:
                side.end()
    print_table(results)
    if memory:
        print_memory(memory)
    if args.out:
        report = {"commit": commit(), "machine": machine(), "threads": args.threads, "alternations": args.rounds,
                  "cuthresh": ours.hello, "pytorch": theirs.hello, "checks": checks, "cases": results, "memory": memory}
        temporary = f"{args.out}.{os.getpid()}.tmp"
        with open(temporary, "w") as f:
            json.dump(report, f, indent=2)
            f.write("\n")
            f.flush()
            os.fsync(f.fileno())
        os.replace(temporary, args.out)
        print("wrote", args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
