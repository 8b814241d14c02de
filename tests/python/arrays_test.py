"""The package over NumPy, DLPack and buffers, against definitions written out here."""

import array
import gc
import os
import subprocess
import sys
import unittest

import numpy as np
import support
import torch

import cuthresh


def soft(z, t):
    return np.where(np.abs(z) > t, z - np.copysign(t, z), np.float32(0)).astype(np.float32)


class Arrays(unittest.TestCase):
    def setUp(self):
        self.random = np.random.default_rng(support.SEED)
        self.context = cuthresh.Context()

    def draw(self, *shape):
        return self.random.standard_normal(shape).astype(np.float32)

    def test_a_step_is_its_definition(self):
        w, g = self.draw(37, 11), self.draw(37, 11)
        bias, bias_gradient = self.draw(11), self.draw(11)
        before, bias_before = w.copy(), bias.copy()
        plan = cuthresh.Plan(self.context, [cuthresh.PlanTensor(w, g),
                                            cuthresh.PlanTensor(bias, bias_gradient, group=-1)])
        plan.set_rates([0.5])  # a power of two: w − αg is rounded once, with or without a fused multiply-add
        plan.set_lambda([0.5])
        plan.step()
        expected = soft(before - np.float32(0.5) * g, np.float32(0.25))
        np.testing.assert_array_equal(w, expected)
        np.testing.assert_array_equal(bias, bias_before - np.float32(0.5) * bias_gradient)
        self.assertEqual(plan.read_counts(), [np.count_nonzero(expected)])
        self.assertEqual(plan.read_status(), (1, np.count_nonzero(expected), 0, False))

    def test_groups_rates_and_gradients_are_each_tensors_own(self):
        w = [self.draw(5), self.draw(6), self.draw(7)]
        g = [self.draw(5), None, self.draw(7)]
        before = [x.copy() for x in w]
        plan = cuthresh.Plan(self.context, [cuthresh.PlanTensor(w[0], None, group=1, rate=1), cuthresh.PlanTensor(w[1]),
                                            cuthresh.PlanTensor(w[2], group=2)])
        self.assertEqual((plan.groups, plan.rates), (3, 2))
        plan.set_gradients(g)
        plan.set_rates([cuthresh.Rate(0.5, weight_decay=1.0), 0.25])
        plan.set_lambda([1.0, 2.0, 0.0])
        self.assertEqual(plan.read_lambda(), [1.0, 2.0, 0.0])
        plan.step()
        np.testing.assert_array_equal(w[0], soft(before[0] - np.float32(0.25) * g[0], np.float32(0.5)))
        np.testing.assert_array_equal(w[1], before[1])
        np.testing.assert_array_equal(w[2], before[2] - np.float32(0.5) * (g[2] + before[2]))

    def test_reductions_are_their_definitions(self):
        w, g = self.draw(1001), self.draw(1001)
        w[self.random.random(1001) < 0.4] = 0
        plan = cuthresh.Plan(self.context, [cuthresh.PlanTensor(w, g)])
        plan.set_lambda([0.75])
        self.assertEqual(plan.count_nonzero(), [np.count_nonzero(w)])
        order = np.sort(np.abs(w))[::-1]
        for k in (1, 17, 1001):
            self.assertEqual(plan.kth_magnitude(k), order[k - 1])
            self.assertEqual(cuthresh.kth_magnitude([w], k), order[k - 1])
        inside = np.sort(np.abs(g)[(np.abs(g) > 0.25) & (np.abs(g) < 1.5)])
        self.assertEqual(plan.bracket_median([(0.25, 1.5)]), [(len(inside), inside[(len(inside) - 1) // 2])])
        [residual] = plan.kkt_residual()
        nonzero = w != 0
        self.assertEqual((residual.nonzeros, residual.zeros), (nonzero.sum(), (~nonzero).sum()))
        self.assertAlmostEqual(residual.on_nonzero, np.abs(g + 0.75 * np.sign(w))[nonzero].max(), places=6)
        self.assertAlmostEqual(residual.on_zero, max(np.abs(g)[~nonzero].max() - 0.75, 0), places=6)

    def test_functions_work_in_place_on_every_kind_of_array(self):
        values = self.draw(40)
        expected = soft(values, np.float32(0.5))
        for make, read in ((np.array, np.asarray), (torch.tensor, lambda x: x.numpy()),
                           (lambda x: array.array("f", x), lambda x: np.array(x, np.float32)),
                           (lambda x: memoryview(bytearray(x.tobytes())).cast("f"),
                            lambda x: np.array(x, np.float32))):
            x = make(values)
            with self.subTest(type(x).__name__):
                self.assertEqual(cuthresh.soft_threshold(x, 0.5), np.count_nonzero(expected))
                np.testing.assert_array_equal(read(x), expected)
                self.assertEqual(cuthresh.count_nonzero(x), np.count_nonzero(expected))
        pair = [self.draw(3), self.draw(9)]
        self.assertEqual(cuthresh.count_nonzero(pair), [3, 9])

    def test_what_cannot_be_changed_in_place_is_refused_with_the_remedy(self):
        frozen = self.draw(4)
        frozen.flags.writeable = False
        cases = [
            (frozen, ValueError, "read-only.*copy"),
            (self.draw(4, 4)[:, ::2], ValueError, "not contiguous.*ascontiguousarray"),
            (self.draw(4, 4).T, ValueError, "not contiguous"),
            (np.zeros(4, np.complex64), TypeError, "float32.*float64.*astype"),
            (np.zeros(4, ">f4"), TypeError, "byte order"),
            (np.zeros(4, np.int32), TypeError, "float32"),
            ([np.zeros(4), self.draw(4)], cuthresh.Unsupported, "float64.*got float32.*each dtype"),
            (torch.zeros(4, requires_grad=True), ValueError, "detach"),
            (torch.zeros(4, 4).t()[1:], cuthresh.Unsupported, "contiguous"),
            (torch.zeros(4, dtype=torch.int32), cuthresh.Unsupported, "float|dtype"),
            (b"abcd", TypeError, "float32"),
            (array.array("i", [1]), TypeError, "float32"),
            ([1.0, object()], TypeError, "array of floats"),
        ]
        for i, (given, kind, words) in enumerate(cases):
            with self.subTest(i), self.assertRaisesRegex(kind, words):
                cuthresh.soft_threshold(given, 0.5)

    def test_errors_have_the_library_s_sentence_and_status(self):
        plan = cuthresh.Plan(self.context, [self.draw(3)])
        with self.assertRaisesRegex(ValueError, "lambda|λ|-1") as raised:
            plan.set_lambda([-1.0])
        self.assertIsInstance(raised.exception, cuthresh.Error)
        self.assertEqual((raised.exception.status, raised.exception.status_name), (1, "CTH_INVALID_ARGUMENT"))
        with self.assertRaises(cuthresh.InvalidArgument):
            plan.set_gradients([None, None])
        with self.assertRaisesRegex(ValueError, "expected 3 entries"):
            plan.set_gradients([self.draw(4)])
        same = self.draw(8)
        with self.assertRaises(cuthresh.InvalidArgument):
            cuthresh.Plan(self.context, [same, same[2:]])
        with self.assertRaisesRegex(ValueError, "device must be one of"):
            cuthresh.Context("tpu")

    def test_arrays_live_as_long_as_their_plan(self):
        plan = cuthresh.Plan(self.context, [cuthresh.PlanTensor(np.full(1 << 20, 3, np.float32),
                                                                np.ones(1 << 20, np.float32))])
        gc.collect()
        noise = [np.zeros(1 << 20, np.float32) for _ in range(4)]
        plan.set_rates([1.0])
        plan.step()
        self.assertEqual(plan.count_nonzero(), [1 << 20])
        del noise

    def test_closing_in_any_order_is_safe(self):
        for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)):
            context = cuthresh.Context()
            plan = cuthresh.Plan(context, [self.draw(30)])
            plan.set_rates([0.5])
            controller = cuthresh.Controller(plan, [cuthresh.Target(sparsity=0.5)], steps=10)
            made = [context, plan, controller]
            for i in order:
                made[i].close()
                made[i].close()
            with self.assertRaisesRegex(ValueError, "closed"):
                plan.step()
        with cuthresh.Context() as context, cuthresh.Plan(context, [self.draw(3)]) as plan:
            self.assertEqual(plan.count_nonzero(), [3])

    def test_context_says_what_it_is(self):
        self.assertRegex(cuthresh.Context(threads=1).description, "cpu.*1 thread")
        self.assertIn("cpu", repr(self.context))
        before = self.context.bytes_to_host
        cuthresh.Plan(self.context, [self.draw(3)]).count_nonzero()
        self.context.synchronize()
        self.assertGreater(self.context.bytes_to_host, before)
        self.assertRegex(cuthresh.__version__, r"^\d+\.\d+\.\d+$")


class Control(unittest.TestCase):
    """min ½‖w − a‖² by proximal steps, so that which weights survive is known."""

    STEPS = 200

    def run_until(self, w, a, stop, state=None):
        g = np.zeros_like(w)
        plan = cuthresh.Plan(cuthresh.Context(), [cuthresh.PlanTensor(w, g)])
        plan.set_rates([0.1])
        controller = cuthresh.Controller(plan, [cuthresh.Target(sparsity=0.8)], steps=self.STEPS)
        begin = 0
        if state is not None:
            begin, bytes_ = state
            controller.load(bytes_)
        for _ in range(begin, stop):
            np.subtract(w, a, out=g)
            plan.step()
            controller.update()
        return controller

    def test_the_largest_survive_exactly_and_a_saved_run_goes_on_as_if_nothing_had_been(self):
        random = np.random.default_rng(support.SEED)
        a = random.standard_normal(1000).astype(np.float32)
        begin = random.standard_normal(1000).astype(np.float32)
        whole = begin.copy()
        controller = self.run_until(whole, a, self.STEPS)
        self.assertEqual(controller.phase, "done")
        [report] = controller.read()
        self.assertEqual((report.weights, report.target, report.nonzeros, report.met), (1000, 200, 200, True))
        self.assertEqual(np.count_nonzero(whole), 200)
        for stop in (5, 60, 130, 157, 180):
            w = begin.copy()
            state = self.run_until(w, a, stop).save()
            self.run_until(w, a, self.STEPS, (stop, state))
            np.testing.assert_array_equal(w, whole, err_msg=f"saved after {stop} steps")

    def test_options_are_checked(self):
        plan = cuthresh.Plan(cuthresh.Context(), [np.ones(10, np.float32)])
        plan.set_rates([0.1])
        for targets, options in (([cuthresh.Target(sparsity=1.5)], {}), ([], {}),
                                 ([cuthresh.Target(sparsity=0.5)], {"ramp": (0.6, 0.1)}),
                                 ([cuthresh.Target([0], sparsity=0.5, least=[1, 2])], {})):
            with self.assertRaises(ValueError):
                cuthresh.Controller(plan, targets, steps=100, **options)


class Allocation(unittest.TestCase):
    def test_sums_are_exact_and_bounds_hold(self):
        random = np.random.default_rng(support.SEED)
        for case in range(200):
            shapes = [tuple(random.integers(1, 20, random.integers(1, 5))) for _ in range(random.integers(1, 7))]
            shapes = [tuple(int(extent) for extent in shape) for shape in shapes]
            sizes = [int(np.prod(shape)) for shape in shapes]
            total = int(random.integers(len(sizes), sum(sizes) + 1))
            for counts in (cuthresh.allocate.uniform(sizes, total), cuthresh.allocate.erdos_renyi(shapes, total)):
                self.assertEqual(sum(counts), total, case)
                self.assertTrue(all(1 <= count <= size for count, size in zip(counts, sizes)), case)

    def test_uniform_is_proportional_to_a_weight(self):
        counts = cuthresh.allocate.uniform([1000, 3000, 6001], 1000)
        for count, size in zip(counts, [1000, 3000, 6001]):
            self.assertLess(abs(count - size * 1000 / 10001), 1)
        self.assertEqual(cuthresh.allocate.uniform([1, 1, 100], 4), [1, 1, 2])

    def test_erdos_renyi_is_its_formula(self):
        shapes, total = [(300, 784), (100, 300), (10, 100)], 20000
        counts = cuthresh.allocate.erdos_renyi(shapes, total)
        self.assertEqual(counts[2], 1000)  # its density would be above 1
        scale = (total - 1000) / (1084 + 400)
        for count, shape in zip(counts[:2], shapes):
            self.assertLessEqual(abs(count - scale * sum(shape)), 1)

    def test_impossible_totals_are_refused(self):
        for total in (1, 5, 0):
            with self.assertRaisesRegex(ValueError, "total must be"):
                cuthresh.allocate.uniform([2, 2], total)
        with self.assertRaisesRegex(ValueError, "total must be"):
            cuthresh.allocate.erdos_renyi([(2,), (2,)], 5)


class Import(unittest.TestCase):
    def fails(self, library):
        result = subprocess.run([sys.executable, "-c", "import cuthresh"], capture_output=True, text=True,
                                env={**os.environ, "CUTHRESH_LIBRARY": library,
                                     "PYTHONPATH": os.pathsep.join(sys.path)}, check=False)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("ImportError", result.stderr)
        self.assertIn("CUTHRESH_LIBRARY", result.stderr)
        self.assertIn("pip install", result.stderr)
        return result.stderr

    def test_a_missing_library_says_what_was_tried_and_what_to_do(self):
        self.assertIn("/nowhere/libcuthresh.so", self.fails("/nowhere/libcuthresh.so"))

    def test_another_library_is_recognised(self):
        self.assertIn("it has no cth_", self.fails("libc.so.6"))


if __name__ == "__main__":
    unittest.main()
