"""What tools/peers makes of the sides' answers: compare_test.py SOURCE_DIR. Nothing is timed here."""

import contextlib
import io
import json
import os
import stat
import subprocess
import sys
import tempfile
import unittest

SOURCE = os.path.abspath(sys.argv[1])
sys.path.insert(0, os.path.join(SOURCE, "tools", "peers"))
import cases  # noqa: E402
import compare  # noqa: E402
import ratios  # noqa: E402
import server  # noqa: E402
from side import Side  # noqa: E402


def answer(minimum, median, samples=7):
    return {"min_ms": minimum, "median_ms": median, "samples": samples}


class RatiosTest(unittest.TestCase):
    def test_summary(self):
        replies = [answer(2.0, 5.0), answer(1.0, 9.0, 8), answer(4.0, 6.0)]
        self.assertEqual(ratios.summary(replies), {"min_ms": 1.0, "median_ms": 6.0, "samples": 22})

    def test_paired_ratio_is_blind_to_a_machine_that_slows_down(self):
        # Both get 10 times slower after the first alternation: 3, 4 and 5 times as long within each. The minima (1 and
        # 3) and the medians (10 and 40) meet in different alternations.
        ours = [answer(1.0, 1.0), answer(10.0, 10.0), answer(10.0, 10.0)]
        theirs = [answer(3.0, 3.0), answer(40.0, 40.0), answer(50.0, 50.0)]
        self.assertEqual(ratios.ratio(ours, theirs),
                         {"min_ms": 3.0, "median_ms": 4.0, "paired": 4.0, "paired_range": [3.0, 5.0]})
        # Pairing differs from the ratio of the minima where the neighbours differed.
        theirs = [answer(30.0, 30.0), answer(20.0, 20.0), answer(20.0, 20.0)]
        self.assertEqual(ratios.ratio(ours, theirs),
                         {"min_ms": 20.0, "median_ms": 2.0, "paired": 2.0, "paired_range": [2.0, 30.0]})

    def test_unequal_alternations_are_no_pairs(self):
        with self.assertRaises(ValueError):
            ratios.ratio([answer(1.0, 1.0)], [answer(1.0, 1.0)] * 2)

    def test_who_goes_first_alternates(self):
        asked = []
        asks = {name: lambda name=name: asked.append(name) or len(asked) for name in "abc"}
        replies = ratios.alternate(asks, 3)
        self.assertEqual("".join(asked), "abccbaabc")
        self.assertEqual(replies, {"a": [1, 6, 7], "b": [2, 5, 8], "c": [3, 4, 9]})

    def test_table_says_who_is_missing_once(self):
        ours, theirs = [answer(1.0, 2.0)], [answer(12.0, 30.0)]
        results = {"kth_25m": {"cuthresh": ratios.summary(ours), "jax": ratios.summary(theirs),
                               "ratio_jax": ratios.ratio(ours, theirs)}}
        missing = {"kth_25m": {"pytorch": "no torch"}, "count_25m": {"pytorch": "no torch"}}
        lines = ratios.table(results, missing)
        row = [line for line in lines if " jax " in line][0].split()
        self.assertEqual(row, ["jax", "12.0000", "30.0000", "12.00x", "15.00x", "12.00x", "(12.0..12.0)"])
        self.assertEqual([line for line in lines if "no torch" in line], ["  pytorch (kth_25m, count_25m): no torch"])


class CasesTest(unittest.TestCase):
    def test_agreement(self):
        def differs(case, theirs):
            return cases.disagreement(case, {"nnz": 1_000_000, "loss": 2.0}, theirs)
        self.assertEqual(differs("conv_step", {"nnz": 1_000_100, "loss": 2.0002}), "")
        self.assertIn("nnz", differs("conv_step", {"nnz": 1_000_101, "loss": 2.0}))
        self.assertIn("loss", differs("conv_step", {"nnz": 1_000_000, "loss": 2.0003}))
        self.assertIn("loss", differs("conv_step", {"nnz": 1_000_000, "loss": float("nan")}))
        self.assertIn("nnz", differs("prox_step_25m", {"nnz": 1_000_001, "loss": 2.0}))
        self.assertIn("kth", cases.disagreement("kth_25m", {"kth": 1.0}, {"kth": 1.0 + 2**-52}))

    def test_selection(self):
        self.assertEqual(cases.select("^bracket"), ["bracket_median_1m", "bracket_median_25m"])
        self.assertEqual(cases.select(""), list(cases.CASES))
        for pattern in ("nothing", "("):
            with self.assertRaises(ValueError):
                cases.select(pattern)


class Sides:
    """Stand-ins that answer from a table."""

    def __init__(self, name, replies, missing=""):
        self.name, self.replies, self.missing = name, replies, missing

    def ask(self, request):
        return self.replies[request]


class ComparisonTest(unittest.TestCase):
    def test_only_who_agrees_is_timed(self):
        ours = Sides("cuthresh", {"check count_25m": {"nnz": 3}, "count_25m": answer(1.0, 1.0)})
        torch = Sides("torch", {"check count_25m": {"nnz": 3, "how": "eager"}, "count_25m": answer(2.0, 2.0),
                                "check count_25m@tuned": {"nnz": 4}, "check count_25m@graph": {"missing": "no GPU"}})
        found = compare.Comparison({"cuthresh": ours, "torch": torch, "jax": Sides("jax", {}, "no jax")},
                                   ["pytorch", "pytorch_tuned", "pytorch_graph", "jax"])
        with contextlib.redirect_stdout(io.StringIO()) as said:
            agreed = found.check("count_25m")
        found.time("count_25m", agreed, 7)
        self.assertEqual(list(agreed), ["cuthresh", "pytorch"])
        self.assertEqual(found.missing, {"count_25m": {"pytorch_graph": "no GPU", "jax": "no jax"}})
        self.assertEqual(list(found.disagree["count_25m"]), ["pytorch_tuned"])
        self.assertIn("DISAGREE", said.getvalue())
        self.assertEqual(list(found.results["count_25m"]), ["cuthresh", "pytorch", "ratio_pytorch"])
        self.assertEqual(found.results["count_25m"]["ratio_pytorch"]["paired"], 2.0)


    def test_bad_arguments(self):
        for options in (["--cases", "nothing"], ["--rounds", "3"], ["--peers", "nobody"], ["--threads", "100000"],
                        ["--jax-python", "/no/python"], ["--bench", "/no/bench"], ["--device", "abacus"]):
            done = subprocess.run([sys.executable, "-B", compare.__file__, *options], capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stdout), (2, ""), options)
            self.assertIn("error:", done.stderr)


class ServerTest(unittest.TestCase):
    """The peers' side of the protocol, with a case that waits for nothing."""

    class Nothing(server.Case):
        how = "nothing at all"

        def step(self):
            pass

        def reset(self):
            pass

        def check(self):
            return {"nnz": 5}

    def make(self, base, variant):
        if variant == "absent":
            raise server.Missing("not here")
        if variant == "broken":
            raise KeyError("a name inside a compiler\nand its trace")
        if base != "nothing":
            raise server.Unknown
        return self.Nothing()

    def test_answers(self):
        peer = server.Server(self.make)
        self.assertEqual(peer.answer("check nothing\n"), {"case": "nothing", "nnz": 5, "how": "nothing at all"})
        timed = peer.answer("nothing")
        self.assertGreaterEqual(timed["samples"], server.MIN_SAMPLES)
        self.assertTrue(0 <= timed["min_ms"] <= timed["median_ms"])
        self.assertLess(peer.answer("memory nothing")["before_kib"], 2**30)
        self.assertEqual(peer.answer("check nothing@absent"), {"case": "nothing@absent", "missing": "not here"})
        broken = peer.answer("nothing@broken")
        self.assertIn("failed: KeyError", broken["missing"])
        for request in ("something", "count nothing", "check twice nothing"):
            self.assertIn(request, peer.answer(request)["error"])

    def test_a_program_that_cannot_serve_says_why(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "program")
            with open(path, "w") as f:
                f.write("#!/bin/sh\necho '" + json.dumps({"missing": "no library"}) + "'\nexit 77\n")
            os.chmod(path, stat.S_IRWXU)
            side = Side("program", [path], dict(os.environ))
            side.end()
        self.assertEqual(side.missing, "no library")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
