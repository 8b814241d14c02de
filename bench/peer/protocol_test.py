"""Speaks the protocol of tools/peers/README.md with the benchmark: protocol_test.py PROGRAM SOURCE_DIR.

The state is made so that every answer of `check` is known beforehand.
"""

import array
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import unittest

PROGRAM, SOURCE = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
sys.path.insert(0, os.path.join(SOURCE, "tools", "peers"))
import safetensors  # noqa: E402
from cases import CASES  # noqa: E402
from state import CONV_SHAPES, WIDTHS  # noqa: E402

ROWS, STEPS, RATE, LAMBDA = 1000, 200, 0.1, 1e-4
SEED = 7


def flat(count, value=0.0):
    return array.array("f", [value]) * count


def make_state():
    """Inputs and targets by chance, all weights and biases 0."""
    rng = random.Random(SEED)
    tensors = {"x": ((ROWS, 6), array.array("f", (rng.uniform(-1, 1) for _ in range(6 * ROWS)))),
               "y": ((ROWS, 1), array.array("f", (rng.uniform(0.5, 1.5) for _ in range(ROWS))))}
    for j, (fan_in, fan_out) in enumerate(zip(WIDTHS[:-1], WIDTHS[1:]), 1):
        tensors[f"fc{j}.weight"] = ((fan_out, fan_in), flat(fan_in * fan_out))
        tensors[f"fc{j}.bias"] = ((fan_out,), flat(fan_out))
        tensors[f"g.fc{j}.weight"] = ((fan_out, fan_in), flat(fan_in * fan_out))
    return tensors


def make_conv_state():
    """Images by chance, labels 0 to 9 of which 0 to 7 are one more, all weights and biases 0."""
    rng = random.Random(SEED)
    tensors = {"cnn.x": ((128, 1, 28, 28), array.array("f", (rng.uniform(-1, 1) for _ in range(128 * 784)))),
               "cnn.labels": ((128,), array.array("f", (i % 10 for i in range(128))))}
    for layer, shape in CONV_SHAPES.items():
        tensors[f"cnn.{layer}.weight"] = (shape, flat(math.prod(shape)))
        tensors[f"cnn.{layer}.bias"] = (shape[:1], flat(shape[0]))
    return tensors


def mixed(i, stream):
    """The hash of tools/peers/formula.py, in Python's integers."""
    h = (i * 0x9e3779b1 + stream * 0x85ebca77) % 2**32
    h = (h ^ h >> 16) * 0x7feb352d % 2**32
    h = (h ^ h >> 15) * 0x846ca68b % 2**32
    return h ^ h >> 16


def by_formula(count, first=0):
    """(w, g) of so many elements. Products of two 24-bit numbers are exact here, then rounded once to float32; the
    factor 2^-12 rounds nothing."""
    w, g = [], []
    for i in range(first, first + count):
        u = {stream: ((mixed(i, stream) >> 8) - 2**23) / 2**23 for stream in (1, 2, 4)}
        g.append(u[1] * u[2] / 2**12)
        w.append(u[4] if mixed(i, 3) % 8 == 0 else 0.0)
    return array.array("f", w), array.array("f", g)


def float32(value):
    return array.array("f", [value])[0]


def lower_median(g, lo=1e-5, hi=1e-4):
    """(how many are strictly inside, their lower median)."""
    inside = sorted(m for m in map(abs, g) if float32(lo) < m < float32(hi))
    return len(inside), inside[(len(inside) - 1) // 2]


def talk(state, requests):
    """The greeting and an answer for each request."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "state.safetensors")
        safetensors.write(path, state)
        done = subprocess.run([PROGRAM, "--serve", "--threads", "1", "--state", path], text=True, timeout=100,
                              input="".join(request + "\n" for request in requests), capture_output=True)
    if done.returncode != 0:
        raise AssertionError(f"status {done.returncode}: {done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


class ProtocolTest(unittest.TestCase):
    def test_greeting_errors_and_times(self):
        state = make_state()
        state["fc2.weight"][1][:] = flat(128 * 128, 0.5)
        cases = ["prox_step_25k", "mackey_glass_step"]
        hello, unknown, trailing, *timed = talk(state, ["check nothing", "prox_step_25k now", ""] + cases)
        self.assertEqual((hello["ready"], hello["threads"]), (True, 1))
        self.assertRegex(hello["what"], r"^cuthresh \d+\.\d+\.\d+, ")
        self.assertIn("check nothing", unknown["error"])
        self.assertIn("prox_step_25k now", trailing["error"])
        for case, answer in zip(cases, timed, strict=True):
            self.assertNotIn("error", answer)
            self.assertEqual(answer["case"], case)
            self.assertGreaterEqual(answer["samples"], 7)
            self.assertTrue(0 < answer["min_ms"] <= answer["median_ms"])

    def test_fused_step_by_hand(self):
        # fc2 shrinks by 200·α·λ = 0.002; of fc3 the first 100 entries are 0.001 and so end at zero, the rest grows by
        # 200·(α·0.001 − α·λ) = 0.018 from 0.25; fc1 and fc4 are pulled by less than λ and stay at zero.
        state = make_state()
        state["fc2.weight"][1][:] = flat(128 * 128, 0.5)
        state["fc3.weight"][1][:] = flat(100, 0.001) + flat(64 * 128 - 100, 0.25)
        state["g.fc3.weight"][1][:] = flat(100) + flat(64 * 128 - 100, -0.001)
        state["g.fc1.weight"][1][:] = flat(6 * 128, 0.9e-4)
        _, answer = talk(state, ["check prox_step_25k"])
        grown = 64 * 128 - 100
        self.assertEqual((answer["case"], answer["nnz"]), ("prox_step_25k", 128 * 128 + grown))
        self.assertAlmostEqual(answer["loss"], (128 * 128 * 0.498 + grown * 0.268) / 25408,
                               delta=400 * 2**-26)  # two roundings a step, below 0.5

    def test_training_by_hand(self):
        # With all weights at zero only the last bias moves: b ← b − 2α(b − mean(y)), so b = mean(y)·(1 − 0.8^200).
        state = make_state()
        y = state["y"][1]
        mean = sum(y) / ROWS
        bias = mean * (1 - (1 - 2 * RATE)**STEPS)
        loss = sum((v - bias)**2 for v in y) / ROWS
        _, answer = talk(state, ["check mackey_glass_step"])
        self.assertEqual((answer["case"], answer["nnz"]), ("mackey_glass_step", 0))
        self.assertAlmostEqual(answer["loss"], loss, delta=1e-6 * loss)

    def test_convolutions_by_hand(self):
        # The images do not reach the output, so only its bias learns: b <- b - a (softmax(b) - share of each label).
        # conv1 has no gradient: in 10 steps it shrinks by 10 a l = 1e-4, which brings half of it to zero.
        state = make_conv_state()
        state["cnn.conv1.weight"][1][:] = flat(144, 0.5) + flat(144, 5e-5)
        share = [(13 if label < 8 else 12) / 128 for label in range(10)]
        bias = [0.0] * 10
        for label in range(10):
            state["cnn.fc2.bias"][1][label] = bias[label] = label / 4
        for _ in range(10):
            total = sum(math.exp(b) for b in bias)
            bias = [b - RATE * (math.exp(b) / total - s) for b, s in zip(bias, share)]
        loss = math.log(sum(math.exp(b) for b in bias)) - sum(s * b for s, b in zip(share, bias))
        _, answer, timed, memory = talk(state, ["check conv_step", "conv_step", "memory conv_step"])
        self.assertEqual((answer["case"], answer["nnz"]), ("conv_step", 144))
        self.assertAlmostEqual(answer["loss"], loss, delta=1e-6 * loss)
        self.assertGreaterEqual(timed["samples"], 7)
        self.assertTrue(0 < timed["min_ms"] <= timed["median_ms"])
        # At least the output of conv1 and its gradient; weights, their gradients and their initial values.
        least = (2 * 128 * 32 * 784 + 3 * sum(math.prod(shape) for shape in CONV_SHAPES.values())) * 4 // 1024
        self.assertGreater(memory["before_kib"], 0)
        self.assertGreater(memory["peak_kib"], memory["before_kib"] + least)

    def test_medians_by_sorting(self):
        _, whole, parts = talk(make_state(), ["check bracket_median_1m", "check search_pivot_687k"])
        _, g = by_formula(1_000_000)
        self.assertEqual((whole["inside"], whole["median"]), lower_median(g))
        first = 0
        for number, shape in enumerate(CONV_SHAPES.values(), 1):
            size = math.prod(shape)
            self.assertEqual((parts[f"inside_{number}"], parts[f"median_{number}"]), lower_median(g[first:first + size]))
            first += size

    def test_large_lists_and_every_case_with_its_figures(self):
        # 25 million numbers are too many for this language, but their distribution is known. Two large cases are left
        # out that have a small one of the same kind.
        asked = [name for name in CASES if name not in ("prox_step_25m", "bracket_median_25m")]
        _, *answers = talk({**make_state(), **make_conv_state()}, ["check " + case for case in asked])
        for name, answer in zip(asked, answers, strict=True):
            self.assertEqual(["case", *CASES[name].figures], list(answer), name)
        count, certificate, kth = (answers[asked.index(name)] for name in ("count_25m", "certificate_25m", "kth_25m"))
        self.assertAlmostEqual(count["nnz"] / 25e6, 1 / 8, delta=6 * (1 / 8 * 7 / 8 / 25e6)**0.5)
        self.assertEqual(certificate["nnz"], count["nnz"])
        # Of 25 million products of two uniform numbers the largest comes within 1 % of 2^-12.
        self.assertAlmostEqual(certificate["on_zero"] / (2**-12 - LAMBDA), 1, delta=0.02)
        self.assertAlmostEqual(certificate["on_nonzero"] / (2**-12 + LAMBDA), 1, delta=0.02)
        # P(|u v| > t) = 1 - t (1 - ln t).
        t = kth["kth"] * 2**12
        self.assertAlmostEqual(1 - t * (1 - math.log(t)), 0.1, delta=6 * (0.1 * 0.9 / 25e6)**0.5)

    def test_bad_state_is_named(self):
        state = make_state()
        del state["g.fc2.weight"]
        state["fc3.bias"] = ((63,), flat(63))
        answers = talk(state, ["prox_step_25k", "mackey_glass_step"])[1:]
        self.assertIn("no tensor 'g.fc2.weight'", answers[0]["error"])
        self.assertIn("no tensor 'fc3.bias' of shape [64]", answers[1]["error"])

    def test_non_finite_values_are_no_time(self):
        state = make_state()
        state["x"][1][0] = float("nan")
        for j in range(1, 5):  # the products may leave out what is multiplied by zero
            state[f"fc{j}.weight"][1][:] = flat(len(state[f"fc{j}.weight"][1]), 0.01)
        state["g.fc1.weight"][1][5] = float("inf")
        for answer in talk(state, ["mackey_glass_step", "check mackey_glass_step", "prox_step_25k"])[1:]:
            self.assertIn("non-finite", answer["error"])

    def test_bad_arguments(self):
        for options in ([], ["--serve", "--threads", "0", "--state", "x"], ["--serve", "--threads", "1", "--state", "/no/file"],
                        ["--serve", "--threads", "1", "--state", "x", "--device", "abacus"]):
            done = subprocess.run([PROGRAM] + options, capture_output=True, text=True, timeout=100)
            self.assertEqual((done.returncode, done.stdout), (2, ""), options)
            self.assertNotEqual(done.stderr, "")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
