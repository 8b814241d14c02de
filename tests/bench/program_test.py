"""cuthresh-bench from outside: program_test.py PROGRAM SOURCE_DIR. Python's standard library only."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import unittest
import xml.etree.ElementTree

sys.path.insert(0, os.path.join(os.path.abspath(sys.argv[2]), "tests", "cli"))
import support  # noqa: E402

SMOKE = ("--smoke", "--device", "cpu", "--threads", "1")


class ProgramTest(support.CommandTest):
    def list(self, *options):
        """The names that --list prints."""
        result = self.run_command("--list", *SMOKE, *options)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return [line.split()[0] for line in result.stdout.splitlines()]

    def one_case(self):
        """A filter that only the first case passes."""
        return "^" + self.list()[0].replace(".", r"\.") + "$"

    def assert_refused(self, arguments, *parts):
        """Exit 2, one line on stderr with all parts, nothing on stdout, no file more than before."""
        before = sorted(os.listdir(self.folder))
        result = self.run_command(*arguments)
        self.assertEqual((result.returncode, result.stdout), (2, ""), arguments)
        self.assertRegex(result.stderr, r"\Acuthresh-bench: error: .*; .*\n\Z", arguments)
        for part in parts:
            self.assertIn(part, result.stderr, arguments)
        self.assertEqual(sorted(os.listdir(self.folder)), before)

    def report(self, *options):
        result = self.run_command(*SMOKE, "--format", "json", *options)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return json.loads(result.stdout)

    def saved_report(self, change=lambda report: None):
        """A file with the report of one case, changed."""
        report = self.report("--filter", self.one_case())
        change(report)
        return self.write("old.json", json.dumps(report))

    def test_list_names_every_case_once_and_filters(self):
        names = self.list()
        self.assertEqual(len(set(names)), len(names))
        self.assertEqual(self.list("--filter", self.one_case()), names[:1])
        self.assertEqual(self.list("--filter", "."), names)

    def test_help_and_version(self):
        for option, text in (("--help", "--min-time"), ("--version", "cuthresh-bench ")):
            result = self.run_command(option)
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            self.assertIn(text, result.stdout)

    def test_wrong_use_is_named(self):
        self.assert_refused(["--filter", "("], "--filter", "got (")
        self.assert_refused(["--filter", "no such case"], "--filter", "no such case", "--list")
        self.assert_refused(["--format", "yaml"], "--format", "yaml", "markdown")
        self.assert_refused(["--device", "tpu"], "tpu", "cuda")
        self.assert_refused(["--device", "cpu", "--engine", "fast"], "fast")
        self.assert_refused(["--precision", "int8"], "int8")
        for option, value in (("--threads", "-1"), ("--threads", "many"), ("--min-time", "0"), ("--min-time", "x")):
            self.assert_refused([option, value], option)
        self.assert_refused(["--nonsense"], "--nonsense")
        self.assert_refused(["--slower", "2"], "--slower", "--compare")
        self.assert_refused(["--compare", self.write("empty.json", "{}"), "--slower", "0.5"], "--slower")

    def test_files_that_cannot_be_are_refused_before_anything_is_measured(self):
        self.assert_refused(["--out", "missing/report.json"], "--out", "missing/report.json")
        self.assert_refused(["--plot", self.folder], "--plot", self.folder)
        self.assert_refused(["--compare", "none.json"], "none.json")
        self.assert_refused(["--compare", self.write("text.json", "no JSON")], "text.json")

        def newer(report):
            report["schema_version"] += 1

        self.assert_refused(["--compare", self.saved_report(newer)], "old.json", "schema")

    def test_rows_ceilings_and_machine(self):
        name = self.list()[0]
        report = self.report("--filter", self.one_case())
        self.assertTrue(report["smoke"])
        self.assertEqual({row["name"] for row in report["rows"]}, {name})
        for row in report["rows"]:
            timing = row["timing"]
            self.assertTrue(0 < timing["min_us"] <= timing["median_us"] <= timing["p90_us"])
            self.assertEqual(timing["samples"], 3)
            self.assertNotEqual(row["checked"], "")
        machine = report["machine"]
        self.assertEqual(machine["threads"], 1)
        self.assertRegex(machine["room"], r"^cpu \(.*1 thread,")
        self.assertRegex(machine["date"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        self.assertRegex(machine["commit"], r"^([0-9a-f]{9,}(-dirty)?)?$")
        self.assertGreater(machine["memory_bytes"], machine["cache_bytes"])
        self.assertGreater(machine["cache_bytes"], 0)

    def test_out_and_plot_hold_what_standard_output_would(self):
        result = self.run_command(*SMOKE, "--filter", self.one_case(), "--format", "json", "--out", "r.json", "--plot",
                                  "r.svg")
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))
        self.assertEqual(sorted(os.listdir(self.folder)), ["r.json", "r.svg"])
        with open(self.path("r.json"), encoding="utf-8") as file:
            self.assertEqual({row["name"] for row in json.load(file)["rows"]}, {self.list()[0]})
        self.assertTrue(xml.etree.ElementTree.parse(self.path("r.svg")).getroot().tag.endswith("svg"))

    def test_every_format_is_written(self):
        name = self.list()[0]
        for form in ("table", "csv", "markdown"):
            result = self.run_command(*SMOKE, "--filter", self.one_case(), "--format", form)
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            self.assertIn(name.split("/")[-1], result.stdout)

    def test_slower_than_allowed_exits_with_4(self):
        def much_faster(report):
            for row in report["rows"]:
                for key in ("timing", "again"):
                    for figure in ("min_us", "median_us", "p90_us"):
                        row[key][figure] /= 1e6

        old = self.saved_report(much_faster)
        arguments = [*SMOKE, "--filter", self.one_case(), "--compare", old]
        result = self.run_command(*arguments, "--slower", "1.5")
        self.assertEqual(result.returncode, 4)
        self.assertIn("slower", result.stderr)
        result = self.run_command(*arguments)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn("slower", result.stdout)

        def much_slower(report):
            for row in report["rows"]:
                for key in ("timing", "again"):
                    for figure in ("min_us", "median_us", "p90_us"):
                        row[key][figure] *= 1e6

        old = self.saved_report(much_slower)
        result = self.run_command(*arguments, "--slower", "1.5")
        self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_an_interrupt_ends_after_the_present_case_and_says_what_is_missing(self):
        leader, follower = pty.openpty()
        said, begun = [], threading.Event()

        def listen():
            """All that comes, or the program would wait for a reader; an error where the other end is closed."""
            with contextlib.suppress(OSError):
                while text := os.read(leader, 1000):
                    said.append(text)
                    begun.set()

        listener = threading.Thread(target=listen)
        with subprocess.Popen([support.COMMAND, *SMOKE, "--format", "json"], stdout=subprocess.PIPE, stderr=follower,
                              env=support.environment()) as process:
            os.close(follower)
            listener.start()
            self.assertTrue(begun.wait(60))  # the progress line of the first measurement
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=300)
        listener.join()
        os.close(leader)
        said = b"".join(said)
        self.assertIn(b"[1/", said)
        self.assertEqual(process.returncode, 130)
        self.assertIn(b"interrupted", said)
        report = json.loads(out)
        missing = [left["name"] for left in report["left_out"] if "interrupted" in left["reason"]]
        self.assertGreater(len(missing), 0)
        self.assertIn(missing[-1].encode(), said)


if __name__ == "__main__":
    support.main()
