"""The live line on a pseudo-terminal, and interrupts."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
import unittest

from support import COMMAND, CommandTest, environment, main

# Long enough to be looked at and interrupted: ended by a signal or by the step budget after some seconds.
LONG = ["--set", "train.steps=8000", "--set", "search.max_rounds=2", "--set", "sparsity.tolerance=0",
        "--set", "model.widths=[6, 32, 1]", "--set", "sparsity.target_nnz=3"]
ENDLESS = ["--set", "train.steps=1000000000"]


class Terminal(CommandTest):
    def start(self, arguments, width):
        """The process, with standard error on a terminal of this width, and the terminal's other end."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
        process = subprocess.Popen([COMMAND, *arguments], cwd=self.folder, env=environment(),
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs)
        os.close(theirs)
        self.addCleanup(os.close, ours)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.kill)
        return process, ours

    def read_until(self, ours, done, seconds=180):
        text = b""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not done(text):
            if not select.select([ours], [], [], 0.2)[0]:
                continue
            try:
                piece = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            text += piece
        return text

    def test_live_line_fits_and_is_cleaned_up(self):
        self.config()
        for width in (100, 60, 20):
            process, ours = self.start(["fit", "c.toml", "--force", *LONG], width)
            text = self.read_until(ours, lambda _: False).decode()
            self.assertIn(process.wait(60), (0, 3), text)
            frames = re.findall("\r([^\r\n\x1b]*round[^\r\n\x1b]*)\x1b\\[K", text)
            self.assertGreaterEqual(len(frames), 2, text)
            for frame in frames:
                self.assertLess(len(frame), width, frame)
            if width == 100:
                self.assertRegex(frames[-1], r"round \d+/2  [█░]+  [\d,]+/8,000  λ \d\.\d+e-\d+  nnz \d+ → 3")
            # Replayed on a line, the last thing on it is nothing.
            self.assertTrue(text.rstrip("\n").endswith("\r\x1b[K") or text.endswith("\n"), repr(text[-80:]))

    def interrupted(self, number):
        self.config()
        process, ours = self.start(["fit", "c.toml", *ENDLESS], 100)
        seen = self.read_until(ours, lambda text: b"round 1/" in text)
        self.assertIn(b"round 1/", seen)
        process.send_signal(number)
        return process, ours

    def test_first_interrupt_keeps_the_best_network(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            process, ours = self.interrupted(number)
            text = self.read_until(ours, lambda _: False)
            self.assertEqual(process.wait(60), 3, text)
            self.assertIn(b"stopping", text)
            with open(self.path("run/result.json")) as file:
                self.assertFalse(json.load(file)["achieved"])
            self.assertEqual(sorted(os.listdir(self.folder)), ["c.toml", "run"])
            subprocess.run(["rm", "-r", self.path("run")], check=True)

    def test_an_interrupted_training_is_gone_on_with(self):
        self.config([('"gradient-median"', '"one-run"'), ("lambda = [1e-4, 1e-1]\n", ""), ("tolerance = 0.1", "tolerance = 0"),
                     ("steps = 40", "steps = 40000\neval_every = 1000")])
        whole = self.run_command("fit", "c.toml", "--out", "whole")
        self.assertEqual(whole.returncode, 0, whole.stderr)
        arguments = ["fit", "c.toml", "--set", "run.checkpoint_minutes=0.001"]
        for number, left in ((signal.SIGKILL, []), (signal.SIGINT, ["run"])):
            process = subprocess.Popen([COMMAND, *arguments], cwd=self.folder, env=environment(),
                                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            self.addCleanup(process.stderr.close)
            self.addCleanup(process.kill)
            end = time.monotonic() + 60
            while not os.path.exists(self.path("run.checkpoint")) and time.monotonic() < end:
                time.sleep(0.01)
            said = ""
            while left and "going on after" not in said:  # the handlers are in place
                said = process.stderr.readline().decode()
                self.assertNotEqual(said, "")
            process.send_signal(number)
            said = process.stderr.read().decode()
            self.assertEqual(process.wait(60), 3 if left else -number, said)
            if left:
                self.assertIn("the same command goes on there", said)
            self.assertEqual(os.path.exists(self.path("run")), bool(left))
        again = self.run_command(*arguments)
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertRegex(again.stderr, r"going on after step \d+ of 40000")
        with open(self.path("run/model.safetensors"), "rb") as ours, open(self.path("whole/model.safetensors"), "rb") as theirs:
            self.assertEqual(ours.read(), theirs.read())
        self.assertFalse(os.path.exists(self.path("run.checkpoint")))

    def test_second_interrupt_ends_at_once(self):
        # A step of this network takes tens of milliseconds, and what follows a first interrupt (losses,
        # gradient, 36 MB of weights) several times that, so the second comes in time. It is repeated, as
        # two that are both pending count as one.
        self.config()
        process = subprocess.Popen([COMMAND, "fit", "c.toml", *ENDLESS, "--set", "model.widths=[6, 3000, 3000, 1]",
                                    "--set", "data.train_rows=1385"],
                                   cwd=self.folder, env=environment(), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.kill)
        process.stderr.readline()  # "device: ...": the handlers are in place
        end = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < end:
            process.send_signal(signal.SIGINT)
            time.sleep(0.02)
        self.assertEqual(process.poll(), 130)
        self.assertFalse(os.path.exists(self.path("run")))


if __name__ == "__main__":
    main()
