"""tools/studies/study.py with trainings of a tenth of a second."""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import unittest

COMMAND, SOURCE = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
STUDY = os.path.join(SOURCE, "tools", "studies", "study.py")
QUICK = ["--set", "train.steps=40", "--set", "search.max_rounds=2", "--threads", "1"]


class Studies(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="cuthresh-study-")
        self.addCleanup(shutil.rmtree, self.folder)

    def study(self, *arguments, command=COMMAND):
        return subprocess.run([sys.executable, "-B", STUDY, *arguments, "--command", command, "--folder",
                               os.path.join(self.folder, "runs"), "--out", self.folder, *QUICK],
                              capture_output=True, text=True)

    def rows(self, name):
        with open(os.path.join(self.folder, name + ".md")) as file:
            lines = [line for line in file if line.startswith("| ")]
        return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]

    def test_every_variant_is_accepted(self):
        for name in ("brackets", "tolerance", "activations", "searches", "sizes"):
            run = self.study(name, "--seeds", "1")
            self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
            header, *rows = self.rows(name)
            self.assertEqual(header[0], "variant")
            self.assertTrue(rows)

    def test_rows_are_medians_of_their_runs_and_runs_are_kept(self):
        run = self.study("tolerance", "--seeds", "3")
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        with open(os.path.join(self.folder, "tolerance.json")) as file:
            kept = json.load(file)
        header, *rows = self.rows("tolerance")
        one_run = dict(zip(header, rows[-1]))
        mine = [r for r in kept if r["variant"] == "one run"]
        self.assertEqual(sorted(r["seed"] for r in mine), [1, 2, 3])
        self.assertEqual(one_run["variant"], "one run")
        self.assertEqual((one_run["runs"], one_run["exact"], one_run["target"]), ("3", "3", "2,000"))
        losses = [r["test_loss"] for r in mine]
        self.assertEqual([float(text) for text in re.findall(r"[\d.]+", one_run["test loss"])],
                         [round(value, 5) for value in (statistics.median(losses), min(losses), max(losses))])
        self.assertEqual(len(set(losses)), 3, "seeds that change nothing")
        # Nothing is trained again: a command that fails is never called.
        again = self.study("tolerance", "--seeds", "2", command="/bin/false")
        self.assertEqual(again.returncode, 0, again.stdout + again.stderr)
        more = self.study("tolerance", "--seeds", "4", command="/bin/false")
        self.assertEqual(more.returncode, 1)
        self.assertIn("exit status 1", more.stderr)

    def test_what_was_said_stands_beside_what_was_lost(self):
        run = self.study("failures", "--seeds", "2")
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        with open(os.path.join(self.folder, "failures.json")) as file:
            kept = {(r["variant"], r["seed"]): r for r in json.load(file)}
        header, *rows = self.rows("failures")
        table = {row[0]: dict(zip(header, row)) for row in rows}
        sparse, dense = "200 steps: 92 % zeros", "200 steps: dense"
        ratios = [kept[sparse, seed]["test_loss"] / kept[dense, seed]["test_loss"] for seed in (1, 2)]
        self.assertEqual([float(text) for text in re.findall(r"[\d.]+", table[sparse]["of the dense one's"])],
                         [round(value, 2) for value in (statistics.median(ratios), min(ratios), max(ratios))])
        refused = table["2,000 steps: none in fc2"]
        self.assertIn("a target of 0 weights", refused["the command says"])
        self.assertEqual((refused["runs"], refused["reached"], refused["nnz"]), ("2", "0", "-"))

    def test_time_that_runs_out_and_names_that_are_none(self):
        self.assertEqual(self.study("seeds", "--minutes", "1e-9").returncode, 3)
        unknown = self.study("sedes")
        self.assertEqual(unknown.returncode, 2)
        self.assertIn("seeds, layers", unknown.stderr)
        self.assertEqual(self.study("seeds", "--seeds", "0").returncode, 2)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
