#!/usr/bin/env python3
"""tools/gpu/check.py with programs that pass, fail, skip or die: what it reports and how it exits.

usage: check_test.py SOURCE_DIR
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = None

# One script for all programs of a bundle; what it does is in the environment.
PROGRAM = r'''#!{python}
import json, os, pathlib, signal, sys
name = pathlib.Path(sys.argv[0]).name
act = os.environ.get("ACT_" + name.replace("-", "_"), os.environ["ACT"])
options = dict(a.lstrip("-").split("=", 1) for a in sys.argv[1:] if "=" in a)
if name == "cuthresh":
    if "--version" in sys.argv:
        sys.exit(0)
    out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
    device = sys.argv[sys.argv.index("--device") + 1]
    out.mkdir()
    loss = 0.5 if act == "bad" and device == "cuda" else 0.0156
    (out / "result.json").write_text(json.dumps(dict(
        device=device + " (x)", achieved=True, nnz=2000, numel=25408, rounds=1, steps_total=1, train_loss=loss,
        test_loss=loss, seconds=1.0, bytes_to_host=1, candidate_steps_per_second=2.0)))
elif name == "cuthresh-bench":
    assert sys.argv[1:-1] == ["--device", "cuda", "--format", "json", "--out"]
    timing = dict(min_us=1.0, median_us=2.0, p90_us=3.0, samples=30, calls=1)
    rows = [dict(name="group/case", cold=cold, timing=timing) for cold in (False, True)]
    pathlib.Path(sys.argv[-1]).write_text(json.dumps(dict(rows=[] if act == "empty" else rows)))
    sys.exit(1 if act == "bad" else 0)
else:
    print("[ RUN      ] Suite.First", flush=True)
    if act == "die":
        os.kill(os.getpid(), signal.SIGSEGV)
    if act == "skip":
        print("main.cpp:1: Skipped\nno CUDA device: none here\n\n[  SKIPPED ] Suite.First (0 ms)", flush=True)
    case = dict(name="First", time="0.5s", result="SKIPPED" if act == "skip" else "COMPLETED")
    if act == "bad":
        case["failures"] = [dict(failure="a differs from b")]
    if "gtest_output" in options:
        report = dict(testsuites=[dict(name="Suite", testsuite=[case])])
        pathlib.Path(options["gtest_output"].removeprefix("json:")).write_text(json.dumps(report))
    sys.exit(1 if act == "bad" else 0)
'''


class Report(unittest.TestCase):
    def run_check(self, act, **others):
        with tempfile.TemporaryDirectory() as folder:
            base = pathlib.Path(folder)
            (base / "bin").mkdir()
            for name in ("gpu_rooms_test", "gpu_test", "cuthresh-bench", "cuthresh"):
                program = base / "bin" / name
                program.write_text(PROGRAM.replace("{python}", sys.executable))
                program.chmod(0o755)
            (base / "BUNDLE.json").write_text('{"commit": "abc"}')
            # No compute-sanitizer of this machine's: it would find no device.
            environment = dict(os.environ, ACT=act, CUDA_HOME=str(base), **{f"ACT_{k}": v for k, v in others.items()})
            run = subprocess.run([sys.executable, "-B", f"{ROOT}/tools/gpu/check.py", "--bin", str(base / "bin"),
                                  "--data", ROOT, "--built", str(base / "BUNDLE.json"), "--out",
                                  str(base / "out" / "report.json")],
                                 env=environment, text=True, capture_output=True, check=False)
            self.assertEqual(run.stderr, "")
            return run.returncode, json.loads((base / "out" / "report.json").read_text())

    def of(self, report, group):
        return [test for test in report["tests"] if test["group"] == group]

    def test_all_pass(self):
        code, report = self.run_check("good")
        self.assertEqual((code, report["summary"]["status"], report["commit"]), (0, "passed", "abc"))
        self.assertEqual([test["name"] for test in self.of(report, "gpu_test")], ["Suite.First"])
        self.assertEqual(self.of(report, "gpu_test")[0]["seconds"], 0.5)
        self.assertEqual(len(self.of(report, "cuthresh fit")), 4)
        self.assertEqual(len(report["timings"]["rows"]), 2)

    def test_without_a_device_nothing_is_proven(self):
        code, report = self.run_check("skip")
        self.assertEqual((code, report["summary"]["status"]), (77, "nothing proven"))
        self.assertEqual(report["summary"]["reason"], "no CUDA device: none here")
        self.assertEqual({test["status"] for test in report["tests"] if test["group"] != "programs"}, {"skipped"})
        self.assertTrue(all("no CUDA device" in test["message"] for test in report["tests"]
                            if test["group"] != "programs"))

    def test_one_failure_of_any_kind_fails(self):
        for program, group in (("gpu_test", "gpu_test"), ("cuthresh_bench", "bench"),
                               ("cuthresh", "cuthresh fit")):
            code, report = self.run_check("good", **{program: "bad"})
            self.assertEqual((code, report["summary"]["status"]), (1, "failed"), program)
            self.assertIn("failed", {test["status"] for test in self.of(report, group)})
        _, report = self.run_check("good", gpu_test="bad")
        self.assertIn("a differs from b", self.of(report, "gpu_test")[0]["message"])

    def test_rows_that_were_measured_are_kept_when_others_failed(self):
        code, report = self.run_check("good", cuthresh_bench="bad")
        self.assertEqual((code, len(report["timings"]["rows"])), (1, 2))
        code, report = self.run_check("good", cuthresh_bench="empty")
        self.assertEqual((code, self.of(report, "bench")[0]["status"]), (1, "failed"))

    def test_a_program_that_dies_fails_and_names_its_test(self):
        code, report = self.run_check("good", gpu_rooms_test="die")
        self.assertEqual(code, 1)
        names = {test["name"]: test["status"] for test in self.of(report, "gpu_rooms_test")}
        self.assertEqual(names["Suite.First"], "failed")

    def test_what_cannot_be_built_is_no_pass(self):
        for option, want in (("--nothing", 77), ("--failed", 1)):
            with tempfile.TemporaryDirectory() as folder:
                out = pathlib.Path(folder) / "report.json"
                run = subprocess.run([sys.executable, "-B", f"{ROOT}/tools/gpu/check.py", option, "no GoogleTest",
                                      "--out", str(out)], check=False, capture_output=True)
                self.assertEqual(run.returncode, want)
                self.assertEqual(json.loads(out.read_text())["summary"]["reason"], "no GoogleTest")


if __name__ == "__main__":
    ROOT = os.path.abspath(sys.argv.pop(1))
    unittest.main()
