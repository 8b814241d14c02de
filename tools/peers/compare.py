#!/usr/bin/env python3
"""Times our steps beside PyTorch's and JAX's in one run, after checking that all compute the same.

    tools/deps.sh --peers; cmake --build --preset release --target cuthresh-peer-bench
    tools/peers/compare.py [--cases REGEX] [--peers NAME ...] [--device cuda] [--threads N] [--rounds 9] [--out FILE.json]

The sides are processes that answer one request at a time (tools/peers/README.md). Each is stopped (SIGSTOP)
while another works: an OpenMP thread that has finished its part spins for a while, and spinning threads of one
side would take the cores of the other. All get the same cores and the same number of threads; none gets
OMP_WAIT_POLICY or GOMP_SPINCOUNT. Memory is taken after the times, each in a process that does nothing else.

Exit status: 0 compared, 1 the sides disagree or one failed, 2 bad arguments or no benchmark, 77 no peer at all.
"""

import argparse
import glob
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
import cases  # noqa: E402  (the small ones beside this file)
import ratios  # noqa: E402
import safetensors  # noqa: E402
import state as start  # noqa: E402
from side import Side  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SKIP = 77
OURS = "cuthresh"


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


class Comparison:
    """What was found out, case by case."""

    def __init__(self, sides, peers):
        """sides: {program: Side}, ours among them. peers: names of cases.PEERS."""
        self.sides, self.peers = sides, peers
        self.checks, self.how, self.results, self.missing, self.disagree, self.memory = {}, {}, {}, {}, {}, {}

    def requests(self, case):
        """{side: (program, request)} of ourselves and of the peers that are there."""
        found = {OURS: (OURS, case)}
        for peer in self.peers:
            program, variant = cases.PEERS[peer]
            if self.sides[program].missing:
                self.missing.setdefault(case, {})[peer] = self.sides[program].missing
            else:
                found[peer] = (program, cases.request(case, variant))
        return found

    def check(self, case):
        """The requests of the sides that agree; who is missing or disagrees is noted and said."""
        agreed = {}
        for name, (program, request) in self.requests(case).items():
            reply = self.sides[program].ask("check " + request)
            if "missing" in reply:
                if name == OURS:
                    sys.exit(f"{OURS}: {request}: {reply['missing']}")
                self.missing.setdefault(case, {})[name] = reply["missing"]
                continue
            figures = {figure: reply[figure] for figure in cases.CASES[case].figures}
            self.checks.setdefault(case, {})[name] = figures
            self.how.setdefault(case, {})[name] = reply.get("how", "")
            differs = cases.disagreement(case, self.checks[case][OURS], figures)
            if differs:
                self.disagree.setdefault(case, {})[name] = differs
                print(f"{case}: {OURS} and {name} DISAGREE: {differs}", flush=True)
            else:
                agreed[name] = (program, request)
        shown = ", ".join(f"{figure} {value:.9g}" for figure, value in list(self.checks[case][OURS].items())[:3])
        print(f"{case}: {shown}: same from {', '.join(list(agreed)[1:]) or 'nobody'}", flush=True)
        return agreed

    def time(self, case, requests, rounds):
        asks = {name: lambda side=self.sides[program], request=request: side.ask(request)
                for name, (program, request) in requests.items()}
        replies = ratios.alternate(asks, rounds)
        result = {name: ratios.summary(r) for name, r in replies.items()}
        for peer in list(requests)[1:]:
            result[f"ratio_{peer}"] = ratios.ratio(replies[OURS], replies[peer])
        self.results[case] = result

    def measure_memory(self, case, requests, start_side):
        """KiB resident before the case was made and at its peak, each in a process of its own."""
        self.memory[case] = {}
        for name, (program, request) in requests.items():
            process = start_side(program)
            try:
                reply = process.ask("memory " + request)
            finally:
                process.end()
            if "missing" not in reply:
                self.memory[case][name] = {"before_kib": reply["before_kib"], "peak_kib": reply["peak_kib"],
                                           "case_kib": reply["peak_kib"] - reply["before_kib"]}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", metavar="REGEX", default="", help="cases whose name it is found in (default: all)")
    parser.add_argument("--peers", nargs="+", metavar="NAME", choices=cases.PEERS, default=list(cases.PEERS),
                        help=f"beside whom, of {', '.join(cases.PEERS)} (default: all)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=0, help="threads of each side (default: one a core)")
    parser.add_argument("--rounds", type=int, default=9, help="alternations a case, at least 7")
    parser.add_argument("--bench", help="our benchmark (default: the newest build/*/bin/cuthresh-peer-bench)")
    parser.add_argument("--python", default="/usr/bin/python3", help="the interpreter that has torch")
    parser.add_argument("--jax-python", help="the interpreter that has jax (default: that of torch)")
    parser.add_argument("--out", help="write the results to this JSON file")
    args = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    args.threads = args.threads or len(cores)
    args.jax_python = args.jax_python or args.python
    if not 1 <= args.threads <= len(cores):
        parser.error(f"--threads {args.threads}: this process may use {len(cores)} cores")
    for option, python in (("--python", args.python), ("--jax-python", args.jax_python)):
        if not shutil.which(python):
            parser.error(f"{option} {python}: no such program")
    if args.rounds < 7:
        parser.error(f"--rounds {args.rounds}: fewer than 7 alternations say little on a shared machine")
    try:
        args.cases = cases.select(args.cases)
    except ValueError as error:
        parser.error(f"--cases: {error}")
    args.bench = args.bench or find_bench()
    if not args.bench or not os.access(args.bench, os.X_OK):
        parser.error("no benchmark; build it with: cmake --build --preset release --target cuthresh-peer-bench")
    return args, cores[:args.threads]


def environment(args):
    # Threads are set by number alone; what else tunes them, or pins OpenBLAS to an old processor, goes.
    kept = {key: value for key, value in os.environ.items()
            if not key.startswith(("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "DNNL_", "XLA_"))}
    kept.update(OMP_NUM_THREADS=str(args.threads), OPENBLAS_NUM_THREADS=str(args.threads))
    return kept


def run(args, cores, path):
    options = ["--serve", "--threads", str(args.threads), "--device", args.device, "--state", path]
    commands = {OURS: [args.bench] + options,
                "torch": [args.python, os.path.join(HERE, "pytorch_steps.py")] + options,
                "jax": [args.jax_python, os.path.join(HERE, "jax_steps.py")] + options}

    def start_side(program):
        return Side(program, commands[program], environment(args))
    sides = {}
    try:
        for program in {OURS: None, **{cases.PEERS[peer][0]: None for peer in args.peers}}:
            sides[program] = start_side(program)
        comparison = Comparison(sides, args.peers)
        for side in sides.values():
            blas = side.hello.get("blas")
            print(f"{side.name}: {side.missing or side.hello['what']}{', BLAS ' + blas if blas else ''}")
            if blas and "openblas" not in blas and "MKL" not in blas:
                print("note: PyTorch runs on a generic BLAS and is an unfair peer; tools/deps.sh --peers installs a fast one")
        print(f"{args.threads} threads on cores {cores}, {args.rounds} alternations", flush=True)
        if all(side.missing for side in list(sides.values())[1:]):
            print("no peer at all: nothing to compare with", file=sys.stderr)
            sys.exit(SKIP)
        agreed = {}
        for case in args.cases:
            agreed[case] = comparison.check(case)
            if len(agreed[case]) > 1:
                comparison.time(case, agreed[case], args.rounds)
        for case in [c for c in comparison.results if cases.CASES[c].memory and args.device == "cpu"]:
            comparison.measure_memory(case, agreed[case], start_side)
        return comparison
    finally:
        for side in sides.values():
            side.end()


def write(path, args, found):
    report = {"commit": commit(), "machine": machine(), "device": args.device, "threads": args.threads,
              "alternations": args.rounds, **{side.name: side.hello for side in found.sides.values()},
              "checks": found.checks, "how": found.how, "cases": found.results, "missing": found.missing,
              "disagree": found.disagree, "memory": found.memory}
    temporary = f"{path}.{os.getpid()}.tmp"
    with open(temporary, "w") as f:
        json.dump(report, f, indent=2)
        f.write("\n")
        f.flush()
        os.fsync(f.fileno())
    os.replace(temporary, path)
    print("wrote", path)


def main():
    args, cores = arguments()
    try:
        os.sched_setaffinity(0, cores)  # inherited by all sides
    except OSError as error:
        sys.exit(f"cannot keep to the cores {cores}: {error}")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "state.safetensors")
        safetensors.write(path, start.make())
        found = run(args, cores, path)
    print("\n" + "\n".join(ratios.table(found.results, found.missing)))
    if found.memory:
        print("\n" + "\n".join(ratios.memory_table(found.memory)))
    if args.out:
        write(args.out, args, found)
    return 1 if found.disagree else 0


if __name__ == "__main__":
    sys.exit(main())
