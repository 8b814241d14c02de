"""Help, version, usage errors, and the subcommands that do not train."""

import math
import os
import subprocess
import unittest

from support import COMMAND, SOURCE, CommandTest, main, safetensors


class Usage(CommandTest):
    def test_help_of_every_command(self):
        for arguments in (["--help"], ["fit", "--help"], ["inspect", "--help"], ["data", "mackey-glass", "--help"]):
            result = self.run_command(*arguments)
            self.assertEqual(result.returncode, 0)
            self.assertEqual(result.stderr, "")
            self.assertIn("Example", result.stdout)
            self.assertIn("  cuthresh ", result.stdout)
        text = self.run_command("fit", "--help").stdout
        for option in ("--set", "--out", "--device", "--threads", "--init", "--engine", "--force", "--quiet", "--json"):
            self.assertIn(option, text)

    def test_version_is_that_of_the_project(self):
        with open(os.path.join(SOURCE, "CMakeLists.txt")) as file:
            version = file.read().split("project(cuthresh VERSION ")[1].split()[0]
        self.assertEqual(self.run_command("--version").stdout, "cuthresh %s\n" % version)

    def test_usage_errors(self):
        self.assert_refused([], "subcommand is required", "--help")
        self.assert_refused(["fit"], "CONFIG is required")
        self.assert_refused(["trian", "x.toml"], "--help")
        self.assert_refused(["fit", "x.toml", "--bogus"], "--bogus")
        self.assert_refused(["fit", "x.toml", "--threads", "two"], "--threads")
        self.assert_refused(["data"], "subcommand is required")
        self.assert_refused(["data", "mackey-glass"], "--out")


class Inspect(CommandTest):
    def test_counts_shares_and_bars(self):
        nan, inf = math.nan, math.inf
        self.write("m.safetensors", safetensors({
            "fc1.weight": ([2, 4], [0.0, -0.0, 1.0, 0.0, 0.0, 1e-45, 0.0, 0.0]),
            "fc1.bias": ([2], [nan, inf]),
            "empty": ([0, 3], []),
        }))
        result = self.run_command("inspect", "m.safetensors")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        rows = {line.split()[0]: line for line in result.stdout.splitlines() if line}
        # -0 is zero, a denormal is not: 2 of 8.
        self.assertRegex(rows["fc1.weight"], r"\[2, 4\] +8 +2 +25\.0 %  █{5}░{15}$")
        self.assertRegex(rows["fc1.bias"], r"\[2\] +2 +2 +100\.0 %  █{20}$")
        self.assertRegex(rows["empty"], r"\[0, 3\] +0 +0 +-  ░{20}$")
        self.assertRegex(rows["total"], r"10 +4 +40\.0 %  █{8}░{12}$")
        self.assertIn("fc1.bias: 2 of 2 values not finite", result.stdout)

    def test_plain_characters_without_utf8(self):
        self.write("m.safetensors", safetensors({"w": ([2], [1.0, 0.0])}))
        text = self.run_command("inspect", "m.safetensors", LC_ALL="C").stdout
        self.assertTrue(text.isascii(), text)
        self.assertIn("##########..........", text)

    def test_names_cannot_control_the_terminal(self):
        self.write("m.safetensors", safetensors({"\x1b[2Jw": ([1], [1.0])}))
        self.assertNotIn("\x1b", self.run_command("inspect", "m.safetensors").stdout)

    def test_bad_files(self):
        good = safetensors({"w": ([2], [1.0, 0.0])})
        self.assert_refused(["inspect", "none.safetensors"], "none.safetensors")
        self.write("cut.safetensors", good[:-1])
        self.assert_refused(["inspect", "cut.safetensors"], "cut.safetensors")
        self.write("text.safetensors", "this is not a model")
        self.assert_refused(["inspect", "text.safetensors"], "text.safetensors")

    def test_full_disk(self):
        self.write("m.safetensors", safetensors({"w": ([2], [1.0, 0.0])}))
        with open("/dev/full", "w") as full:
            result = subprocess.run([COMMAND, "inspect", self.path("m.safetensors")], stdout=full,
                                    stderr=subprocess.PIPE, encoding="utf-8")
        self.assertEqual(result.returncode, 1)
        self.assertIn("cuthresh: error: ", result.stderr)


class Data(CommandTest):
    def test_writes_the_series(self):
        result = self.run_command("data", "mackey-glass", "--out", "mg.libsvm")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn("1,385 rows", result.stdout)
        with open(self.path("mg.libsvm")) as file:
            lines = file.read().splitlines()
        self.assertEqual(len(lines), 1385)
        label, *inputs = lines[0].split()
        self.assertEqual([pair.split(":")[0] for pair in inputs], ["1", "2", "3", "4", "5", "6"])
        # The last input of the first row is x(-17), which the recipe sets to 0.9, scaled.
        self.assertTrue(0.2 < float(label) < 1.4)
        self.assertAlmostEqual(float(inputs[5].split(":")[1]), (0.9 - 0.867189) / 0.449553, delta=3e-6)
        self.assertEqual(os.listdir(self.folder), ["mg.libsvm"])

    def test_rows(self):
        self.assertEqual(self.run_command("data", "mackey-glass", "--out", "a", "--rows", "10").returncode, 0)
        with open(self.path("a")) as file:
            self.assertEqual(len(file.read().splitlines()), 10)
        for rows in ("0", "-1", "1386"):
            self.assert_refused(["data", "mackey-glass", "--out", "b", "--rows", rows], rows)

    def test_never_overwrites_unasked(self):
        self.write("mg", "precious")
        self.assert_refused(["data", "mackey-glass", "--out", "mg"], "mg", "exists already", "--force")
        with open(self.path("mg")) as file:
            self.assertEqual(file.read(), "precious")
        self.assertEqual(self.run_command("data", "mackey-glass", "--out", "mg", "--rows", "5", "--force").returncode, 0)
        self.assert_refused(["data", "mackey-glass", "--out", "no/such/folder/mg"], "no/such/folder")


if __name__ == "__main__":
    main()
