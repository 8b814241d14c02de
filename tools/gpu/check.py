#!/usr/bin/env python3
"""Runs all that needs a GPU and writes one JSON report; called by gpu_check.sh. Python's standard library only.

usage: check.py --bin FOLDER --data FOLDER [--built BUNDLE.json | --source ROOT] [--steps LIST] [--images FOLDER]
                [--experiment-seconds N] --out FILE
       check.py --nothing REASON | --failed REASON  [--source ROOT] --out FILE
"""
import argparse
import datetime
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
STEPS = ("tests", "runs", "python", "bench", "sanitizers", "experiments")
PROGRAM_SECONDS = 1500
SANITIZER_SECONDS = 900
RUN_SECONDS = 900
BENCH_SECONDS = 3600
FOUND_ERRORS = 86  # compute-sanitizer's exit status when it found something
MESSAGE = 2000     # characters kept of one

# The full-size experiments, by the folder of --images that holds their data.
EXPERIMENTS = {"fashion-mnist": ("fashion_mnist_single", "fashion_mnist_multi"),
               "mnist": ("mnist_single", "mnist_multi"), "cifar10": ("cifar10_resnet20",)}

# A constant predicts the Mackey-Glass test rows with a mean squared error of 0.0513, a linear model with 0.0205: a
# network of 2,000 weights that trained does better than both.
LINEAR_MODEL = 0.0205
# 200 steps at a fixed λ on both devices: cuBLAS adds in another order, and a weight near the threshold may fall on
# either side of it.
FIXED_STEPS = """
[data]
kind = "mackey-glass"
train_rows = 1000
[model]
kind = "mlp"
widths = [6, 128, 128, 64, 1]
activation = "relu"
[train]
loss = "mse"
learning_rate = 0.1
steps = 200
batch = "full"
[search]
method = "fixed"
lambda = [1e-4]
[run]
engine = "reference"
seed = 123
"""
LOSS_TOLERANCE = 1e-3
COUNT_TOLERANCE = 4e-3


def output_of(command, **options):
    """(exit status or None when it did not end, output) of a command."""
    seconds = options.pop("timeout", 60)
    try:
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds, check=False,
                             **options)
        return run.returncode, run.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired as error:
        return None, (error.stdout or b"").decode(errors="replace") + f"\nstill running after {seconds} s"
    except OSError as error:
        return None, str(error)


def first_line(command):
    status, text = output_of(command)
    return text.strip().splitlines()[0] if status == 0 and text.strip() else None


def find_tool(name):
    for folder in (os.environ.get("CUDA_HOME"), "/usr/local/cuda"):
        if folder and os.access(f"{folder}/bin/{name}", os.X_OK):
            return f"{folder}/bin/{name}"
    return shutil.which(name)


def toolkit():
    nvcc = find_tool("nvcc")
    status, text = output_of([nvcc, "--version"]) if nvcc else (None, "")
    found = re.search(r"release \S+ V(\S+)", text)
    return found.group(1) if status == 0 and found else None


def about_source(root):
    commit = first_line(["git", "-C", str(root), "rev-parse", "HEAD"])
    status, text = output_of(["git", "-C", str(root), "status", "--porcelain"])
    return {"commit": commit, "changed_files": len(text.splitlines()) if status == 0 else None,
            "toolkit": toolkit(), "compiler": first_line(["g++", "--version"]),
            "when": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")}


def about_device():
    smi = find_tool("nvidia-smi")
    if smi is None:
        return {"name": None, "driver": None, "memory": None}
    status, text = output_of([smi, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"])
    if status != 0 or not text.strip():
        return {"name": None, "driver": None, "memory": None, "message": text.strip()[-MESSAGE:]}
    name, driver, memory = [part.strip() for part in text.strip().splitlines()[0].split(",")]
    return {"name": name, "driver": driver, "memory": memory}


class Check:
    def __init__(self, arguments, save):
        self.save = save  # after every entry: a runner may end the check at its own limit
        self.bin = pathlib.Path(arguments.bin).resolve()
        self.data = pathlib.Path(arguments.data).resolve()
        self.images = arguments.images
        self.experiment_seconds = arguments.experiment_seconds
        self.tests = []
        self.timings = None
        self.no_device = None
        self.environment = dict(os.environ, CTH_SOURCE_DIR=str(self.data), OMP_WAIT_POLICY="PASSIVE")
        self.scratch = None

    def note(self, group, name, status, seconds=0.0, message="", **more):
        self.tests.append({"group": group, "name": name, "status": status, "seconds": round(seconds, 3),
                           "message": message.strip()[-MESSAGE:], **more})
        self.save(self)
        print(f"{status:8} {seconds:8.1f} s  {group}: {name}", flush=True)
        if status != PASSED and message.strip() and message.strip() != self.no_device:
            print("    " + message.strip().splitlines()[-1][:200], flush=True)

    def timed(self, command, **options):
        start = time.monotonic()
        status, text = output_of(command, **options)
        return status, text, time.monotonic() - start

    def prepare(self):
        """The C++ library of the bundle is used only where the system's own is too old for the programs."""
        command = [str(self.bin / "cuthresh"), "--version"]
        status, text = output_of(command, env=self.environment)
        newer = self.bin.parent / "lib" / "newer"
        if status != 0 and newer.is_dir():
            before = os.environ.get("LD_LIBRARY_PATH")
            self.environment["LD_LIBRARY_PATH"] = f"{newer}:{before}" if before else str(newer)
            status, text = output_of(command, env=self.environment)
        self.note("programs", "cuthresh starts", PASSED if status == 0 else FAILED, message=text)
        return status == 0

    def find_device(self):
        """Sets the reason why there is none, by what the library itself says."""
        command = [str(self.bin / "gpu_test"), "--gtest_filter=Registry.AutoTakesTheGpu"]
        status, text = output_of(command, env=self.environment, cwd=self.scratch)
        found = re.search(r"Skipped\n(.+)", text)
        if status == 0 and found:
            self.no_device = found.group(1).strip()
            print(self.no_device, flush=True)

    # (a) Test programs.

    def gtest(self, program):
        report = pathlib.Path(self.scratch) / f"{program}.json"
        command = [str(self.bin / program), f"--gtest_output=json:{report}"]
        status, text, seconds = self.timed(command, env=self.environment, cwd=self.scratch, timeout=PROGRAM_SECONDS)
        if report.exists():
            cases = self.cases_of(json.loads(report.read_text()), self.reasons_of(text))
        else:  # it did not come to the end
            cases = self.cases_of_output(text)
            self.note(program, "the whole program", FAILED, seconds,
                      f"ended with {status} before its report\n{text}")
        if not cases:
            self.note(program, "the whole program", FAILED, seconds, f"ran no test\n{text}")
        for name, outcome, took, message in cases:
            self.note(program, name, outcome, took, message)
        if status not in (0, None) and all(outcome != FAILED for _, outcome, _, _ in cases) and report.exists():
            self.note(program, "the whole program", FAILED, seconds, f"exit status {status}\n{text}")

    @staticmethod
    def reasons_of(text):
        """{test: why it was skipped}: GoogleTest 1.12 leaves that out of its report."""
        found = re.findall(r"\[ RUN      \] (\S+)\n.*?: Skipped\n(.*?)\n+\[  SKIPPED \] \1", text, re.S)
        return dict(found)

    @staticmethod
    def cases_of(report, reasons):
        cases = []
        for suite in report["testsuites"]:
            for case in suite["testsuite"]:
                name = f"{suite['name']}.{case['name']}"
                failures = [entry["failure"] for entry in case.get("failures", [])]
                outcome = FAILED if failures else SKIPPED if case.get("result") == "SKIPPED" else PASSED
                message = "\n".join(failures) if failures else reasons.get(name, "")
                cases.append((name, outcome, float(case["time"].rstrip("s")), message))
        return cases

    @staticmethod
    def cases_of_output(text):
        words = {"OK": PASSED, "FAILED": FAILED, "SKIPPED": SKIPPED}
        cases, started = [], None
        for line in text.splitlines():
            if found := re.match(r"\[ RUN      \] (\S+)", line):
                started = found.group(1)
            elif found := re.match(r"\[ +(OK|FAILED|SKIPPED) +\] (\S+?),? .*\((\d+) ms\)", line):
                cases.append((found.group(2), words[found.group(1)], int(found.group(3)) / 1e3, ""))
                started = None
        if started:
            cases.append((started, FAILED, 0.0, "the program ended in this test"))
        return cases

    # (b) compute-sanitizer.

    def sanitizers(self):
        tool = find_tool("compute-sanitizer")
        # The suites over rooms on the device alone, and what is small when it is told to be; TooMuch makes an API
        # call fail on purpose.
        filters = {"gpu_rooms_test": "Rooms/*/cuda",
                   "gpu_test": "-HugeTensor.*:Memory.TooMuch*:Functions/*:Registry.*"}
        for check in ("memcheck", "racecheck", "initcheck"):
            for program, only in filters.items():
                name = f"{check} {program}"
                if self.no_device or tool is None:
                    self.note("compute-sanitizer", name, SKIPPED, message=self.no_device or "no compute-sanitizer here")
                    continue
                command = [tool, "--tool", check, "--error-exitcode", str(FOUND_ERRORS), str(self.bin / program),
                           f"--gtest_filter={only}"]
                status, text, seconds = self.timed(command, env=dict(self.environment, CTH_GPU_SMALL="1"),
                                                   cwd=self.scratch, timeout=SANITIZER_SECONDS)
                summary = re.search(r"(?:ERROR|RACECHECK) SUMMARY: (.*)", text)
                if status == 0 and summary:
                    self.note("compute-sanitizer", name, PASSED, seconds, summary.group(0))
                elif summary is None:
                    # Some machines do not let the tool attach; that says nothing about the kernels.
                    self.note("compute-sanitizer", name, SKIPPED, seconds, f"the tool did not run to its end\n{text}")
                else:
                    self.note("compute-sanitizer", name, FAILED, seconds, text)

    # (c) The command.

    def fit(self, config, device, name, options=(), timeout=RUN_SECONDS):
        out = pathlib.Path(self.scratch) / f"run-{name}-{device}"
        command = [str(self.bin / "cuthresh"), "fit", str(config), "--device", device, "--out", str(out), "--quiet",
                   "--json", *options]
        status, text, seconds = self.timed(command, env=self.environment, cwd=self.scratch, timeout=timeout)
        result = None
        if (out / "result.json").exists():
            result = json.loads((out / "result.json").read_text())
        return status, result, text, seconds

    def runs(self):
        together = ("--set", "search.parallel=4")
        for example, name, options in (("mackey_glass_single", "mackey_glass_single", ()),
                                       ("mackey_glass_multi", "mackey_glass_multi", ()),
                                       ("mackey_glass_single", "mackey_glass_single_4_at_once", together)):
            if self.no_device:
                self.note("cuthresh fit", name, SKIPPED, message=self.no_device)
                continue
            status, result, text, seconds = self.fit(self.data / "examples" / f"{example}.toml", "cuda", name,
                                                     options)
            wrong = []
            if status != 0 or result is None:
                wrong.append(f"exit status {status}: {text}")
            else:
                if not result["device"].startswith("cuda ("):
                    wrong.append(f"ran on {result['device']}")
                if not result["achieved"]:
                    wrong.append(f"target missed: {result['nnz']} nonzeros")
                if result["test_loss"] is None or not result["test_loss"] < LINEAR_MODEL:
                    wrong.append(f"test MSE {result['test_loss']}, a linear model has {LINEAR_MODEL}")
            kept = {key: result[key] for key in ("device", "achieved", "nnz", "numel", "rounds", "steps_total",
                                                 "train_loss", "test_loss", "seconds", "bytes_to_host",
                                                 "candidate_steps_per_second")} if result else {}
            self.note("cuthresh fit", name, FAILED if wrong else PASSED, seconds, "; ".join(wrong), result=kept)

    def experiments(self):
        for folder, names in EXPERIMENTS.items():
            data = pathlib.Path(self.images, folder).resolve() if self.images else None
            for name in names:
                missing = self.no_device or (None if data and data.is_dir() else
                                             f"no folder {folder} in --images FOLDER")
                if missing:
                    self.note("experiments", name, SKIPPED, message=missing)
                    continue
                options = ("--set", f"data.path={json.dumps(str(data))}", "--set", "search.compare_dense=true")
                status, result, text, seconds = self.fit(self.data / "examples" / f"{name}.toml", "cuda", name, options,
                                                         self.experiment_seconds)
                kept = {key: result[key] for key in ("device", "achieved", "nnz", "numel", "rounds", "steps_total",
                                                     "train_accuracy", "test_accuracy", "dense", "seconds")} if result else {}
                self.note("experiments", name, PASSED if status == 0 and result else FAILED, seconds,
                          "" if status == 0 else f"exit status {status}: {text}", result=kept)

    def fixed_steps(self):
        name = "200 fixed steps, cuda and cpu"
        if self.no_device:
            self.note("cuthresh fit", name, SKIPPED, message=self.no_device)
            return
        config = pathlib.Path(self.scratch) / "fixed.toml"
        config.write_text(FIXED_STEPS)
        results, total = {}, 0.0
        for device in ("cuda", "cpu"):
            status, result, text, seconds = self.fit(config, device, "fixed")
            total += seconds
            if status != 0 or result is None:
                self.note("cuthresh fit", name, FAILED, total, f"{device}: exit status {status}: {text}")
                return
            results[device] = {key: result[key] for key in ("device", "nnz", "train_loss", "test_loss")}
        gpu, cpu = results["cuda"], results["cpu"]
        wrong = [f"{key}: cuda {gpu[key]}, cpu {cpu[key]}"
                 for key, tolerance in (("nnz", COUNT_TOLERANCE), ("train_loss", LOSS_TOLERANCE),
                                        ("test_loss", LOSS_TOLERANCE))
                 if gpu[key] is None or cpu[key] is None or not abs(gpu[key] - cpu[key]) <= tolerance * abs(cpu[key])]
        self.note("cuthresh fit", name, FAILED if wrong else PASSED, total, "; ".join(wrong), result=results)

    # (d) The benchmark.

    def bench(self):
        if self.no_device:
            self.note("bench", "cuthresh-bench", SKIPPED, message=self.no_device)
            return
        out = pathlib.Path(self.scratch) / "bench.json"
        status, text, seconds = self.timed([str(self.bin / "cuthresh-bench"), "--device", "cuda", "--format", "json",
                                            "--out", str(out)],
                                           env=self.environment, cwd=self.scratch, timeout=BENCH_SECONDS)
        # Rows whose check failed are missing in the report; the others stand.
        if out.exists():
            self.timings = json.loads(out.read_text())
        rows = len(self.timings["rows"]) if self.timings else 0
        passed = status == 0 and rows > 0
        self.note("bench", "cuthresh-bench", PASSED if passed else FAILED, seconds,
                  f"{rows} rows" if passed else f"exit status {status}\n{text}")

    # (e) The Python package, where this interpreter has PyTorch.

    def python(self):
        library = next(iter(sorted((self.bin.parent / "lib").glob("libcuthresh.so*"))), None)
        runner = self.data / "tests" / "python" / "run.py"
        missing = self.no_device or (None if library and runner.exists() else
                                     "no libcuthresh.so and tests/python beside the programs")
        if missing:
            self.note("python", "cuda_test", SKIPPED, message=missing)
            return
        status, text, seconds = self.timed([sys.executable, "-B", str(runner), "cuda_test", "-v"], cwd=self.scratch,
                                           env=dict(self.environment, CUTHRESH_LIBRARY=str(library)),
                                           timeout=PROGRAM_SECONDS)
        ran_none = status == 77 or (status == 0 and "Ran 0 tests" in text)
        self.note("python", "cuda_test", SKIPPED if ran_none else PASSED if status == 0 else FAILED, seconds,
                  text if status in (0, 77) else f"exit status {status}\n{text}")

    def run(self, steps):
        with tempfile.TemporaryDirectory(prefix="gpu-check-") as self.scratch:
            if not self.prepare():
                return
            self.find_device()
            if "tests" in steps:
                for program in ("gpu_rooms_test", "gpu_test"):
                    self.gtest(program)
            if "runs" in steps:
                self.runs()
                self.fixed_steps()
            if "python" in steps:
                self.python()
            if "bench" in steps:
                self.bench()
            if "sanitizers" in steps:
                self.sanitizers()
            if "experiments" in steps:
                self.experiments()


def summary_of(tests, reason, failed):
    """(summary, exit status). That the command starts proves nothing about a GPU."""
    counts = {word: sum(test["status"] == word and (word != PASSED or test["group"] != "programs") for test in tests)
              for word in (PASSED, FAILED, SKIPPED)}
    if counts[FAILED] or failed:
        status, code = "failed", 1
    elif counts[PASSED] == 0:
        status, code = "nothing proven", 77
    else:
        status, code = "passed", 0
    return {"status": status, "reason": reason or "", **counts}, code


def print_bench(timings):
    print(f"{'case':56} {'cache':5} {'min us':>10} {'median':>10} {'p90':>10}")
    for row in timings["rows"]:
        cells = [f"{row['timing'][key]:10.2f}" for key in ("min_us", "median_us", "p90_us")]
        print(f"{row['name']:56} {'cold' if row['cold'] else '':5} {' '.join(cells)}")


def main():
    parser = argparse.ArgumentParser()
    for name in ("--bin", "--data", "--built", "--source", "--nothing", "--failed"):
        parser.add_argument(name)
    parser.add_argument("--images")
    parser.add_argument("--experiment-seconds", type=int, default=6 * 3600)
    parser.add_argument("--out", required=True)
    parser.add_argument("--steps", default=",".join(STEPS))
    arguments = parser.parse_args()
    steps = arguments.steps.split(",")
    if unknown := [step for step in steps if step not in STEPS]:
        parser.error(f"unknown step '{unknown[0]}'; there are {', '.join(STEPS)}")
    out = pathlib.Path(arguments.out)
    out.parent.mkdir(parents=True, exist_ok=True)

    if arguments.built:
        built = json.loads(pathlib.Path(arguments.built).read_text())
    else:
        built = about_source(arguments.source) if arguments.source else {}
    report = {"schema": "cuthresh/gpu-check/2", "mode": "bundle" if arguments.built else "source",
              "when": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
              "commit": built.get("commit"), "built": built, "steps": steps, "device": about_device(), "toolkit": toolkit()}

    def write(tests, reason, timings, finished):
        report["summary"], code = summary_of(tests, reason, arguments.failed)
        report["finished"] = finished
        report["tests"] = tests
        report["timings"] = timings
        out.write_text(json.dumps(report, indent=2) + "\n")
        return code

    reason, tests, timings = arguments.nothing or arguments.failed, [], None
    if not reason:
        check = Check(arguments, lambda c: write(c.tests, c.no_device, c.timings, False))
        check.run(steps)
        tests, timings, reason = check.tests, check.timings, check.no_device
    code = write(tests, reason, timings, True)
    counts = report["summary"]
    if timings:
        print_bench(timings)
    print(f"{counts['status']}: {counts[PASSED]} passed, {counts[FAILED]} failed, {counts[SKIPPED]} skipped"
          + (f"; {reason}" if reason else "") + f"\nreport: {out}")
    return code


if __name__ == "__main__":
    sys.exit(main())
