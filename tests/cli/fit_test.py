"""A small fit from end to end through the command."""

import csv
import json
import os
import unittest

from support import SOURCE, CommandTest, main, network, read_safetensors, safetensors

RESULT_KEYS = {"achieved", "nnz", "target_nnz", "rounds", "steps_total", "train_loss", "test_loss", "seconds", "layers"}
LAYER_KEYS = {"name", "numel", "nnz", "target_nnz", "lambda", "kkt_nonzero", "kkt_zero", "reached"}


class Fit(CommandTest):
    def result(self, folder="run"):
        with open(os.path.join(self.folder, folder, "result.json")) as file:
            return json.load(file)

    def test_path(self):
        self.config()
        arguments = ["path", "c.toml", "--set", "search.method=one-run",
                     "--set", "search.lambda=0.001", "--targets", "20,40", "--out", "p"]
        run = self.run_command(*arguments)
        self.assertEqual(run.returncode, 0, run.stderr)
        with open(self.path("p/path.csv"), newline="") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual([row["nnz"] for row in rows], ["40", "20"])
        for row in rows:
            model = read_safetensors(self.path("p/" + row["folder"] + "/model.safetensors"))
            count = sum(v != 0.0 for name in ("fc1.weight", "fc2.weight") for v in model[name][1])
            self.assertEqual(str(count), row["nnz"])
        self.assertIn("40 nonzero", run.stdout)
        again = self.run_command(*arguments)
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertIn("2 of them found in the folder", again.stdout)
        self.assertEqual(again.stdout.splitlines()[:3], run.stdout.splitlines()[:3])

    def test_run_folder_and_table(self):
        self.config()
        run = self.run_command("fit", "c.toml")
        result = self.result()
        self.assertEqual(run.returncode, 0 if result["achieved"] else 3, run.stderr)
        self.assertEqual(sorted(os.listdir(self.folder)), ["c.toml", "run"])
        self.assertEqual(sorted(os.listdir(self.path("run"))),
                         ["config.toml", "history.csv", "model.safetensors", "result.json"])
        self.assertLessEqual(RESULT_KEYS, set(result))
        self.assertEqual([layer["name"] for layer in result["layers"]], ["fc1", "fc2"])
        for layer in result["layers"]:
            self.assertLessEqual(LAYER_KEYS, set(layer))

        # Every count is that of the weights in the file.
        model = read_safetensors(self.path("run/model.safetensors"))
        self.assertEqual({name: shape for name, (shape, _) in model.items()},
                         {"fc1.weight": [8, 6], "fc1.bias": [8], "fc2.weight": [1, 8], "fc2.bias": [1]})
        counts = [sum(v != 0.0 for v in model[name][1]) for name in ("fc1.weight", "fc2.weight")]
        self.assertEqual([layer["nnz"] for layer in result["layers"]], counts)
        self.assertEqual(result["nnz"], sum(counts))
        self.assertEqual(result["achieved"], abs(sum(counts) - 30) <= 3)
        self.assertEqual(result["target_nnz"], 30)

        with open(self.path("run/history.csv")) as file:
            rows = [row for row in csv.DictReader(file) if row["kind"] == "round"]
        self.assertEqual(len(rows), result["rounds"])
        self.assertEqual(sum(int(row["step"]) for row in rows), result["steps_total"])

        # The table says the same.
        for text in ("30 of 56 weights nonzero", "%d nonzero" % sum(counts), "fc1", "fc2", "run/"):
            self.assertIn(text, run.stdout)
        # Piped: a log line a round, without control characters.
        self.assertNotIn("\x1b", run.stderr)
        self.assertNotIn("\r", run.stderr)
        for number in range(1, result["rounds"] + 1):
            self.assertIn("round %d/3" % number, run.stderr)

    def test_same_seed_same_network_and_config_reproduces_it(self):
        self.config()
        self.run_command("fit", "c.toml", "--out", "a")
        self.run_command("fit", "a/config.toml", "--out", "b")
        self.run_command("fit", "c.toml", "--out", "c", "--set", "run.seed=8")
        models = [read_safetensors(self.path(name + "/model.safetensors")) for name in "abc"]
        self.assertEqual(models[0], models[1])
        self.assertNotEqual(models[0], models[2])

    def test_json_is_the_file(self):
        self.config()
        run = self.run_command("fit", "c.toml", "--json")
        with open(self.path("run/result.json")) as file:
            self.assertEqual(run.stdout, file.read())
        self.assertEqual(json.loads(run.stdout)["target_nnz"], 30)

    def test_quiet(self):
        self.config()
        run = self.run_command("fit", "c.toml", "--quiet")
        self.assertEqual(run.stderr, "")
        self.assertIn("fc2", run.stdout)

    def test_force_replaces_a_run_folder(self):
        self.config()
        self.run_command("fit", "c.toml")
        self.assertEqual(self.run_command("fit", "c.toml").returncode, 2)
        before = self.result()["steps_total"]
        run = self.run_command("fit", "c.toml", "--force", "--set", "train.steps=10", "--set", "search.max_rounds=1")
        self.assertIn(run.returncode, (0, 3))
        self.assertNotEqual(self.result()["steps_total"], before)
        self.assertEqual(sorted(os.listdir(self.folder)), ["c.toml", "run"])

    def test_missed_target_is_status_3(self):
        self.config()
        run = self.run_command("fit", "c.toml", "--set", "sparsity.tolerance=0", "--set", "sparsity.target_nnz=1",
                               "--set", "search.lambda=[1e-9, 1e-8]", "--set", "search.max_rounds=1")
        self.assertEqual(run.returncode, 3, run.stderr)
        self.assertFalse(self.result()["achieved"])
        self.assertIn("target missed", run.stdout)

    def test_reached_target_is_status_0(self):
        # Every count is within 99 % of 56 but the one of an empty network.
        self.config()
        run = self.run_command("fit", "c.toml", "--set", "sparsity.target_nnz=56", "--set", "sparsity.tolerance=0.99")
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertTrue(self.result()["achieved"])

    def test_several_trainings_at_once(self):
        self.config([("threads = 1", "threads = 2"), ("tolerance = 0.1", "tolerance = 0")])
        run = self.run_command("fit", "c.toml", "--set", "search.parallel=2", "--set", "search.max_rounds=2")
        self.assertIn(run.returncode, (0, 3), run.stderr)
        self.assertIn("candidate-steps a second with up to 2 at the same time", run.stdout)
        self.assertIn("round 2/2 (2)", run.stderr)
        self.assertIn("round 2: 2 λ at the same time left", run.stderr)
        result = self.result()
        self.assertEqual((result["rounds"], result["trainings"], result["steps_total"]), (2, 4, 160))
        self.assertEqual([(r["round"], r["candidate"]) for r in result["rounds_detail"]],
                         [(1, 1), (1, 2), (2, 1), (2, 2)])
        self.assertGreater(result["candidate_steps_per_second"], 0)
        run = self.run_command("fit", "c.toml", "--force", "--set", "search.parallel=3")
        self.assertEqual(run.returncode, 2)
        self.assertIn("run.threads", run.stderr)

    def test_fixed_dense_baseline(self):
        self.config([("target_nnz = 30\n", ""), ("[1e-4, 1e-1]", "0"), ('"gradient-median"', '"fixed"')])
        run = self.run_command("fit", "c.toml")
        self.assertEqual(run.returncode, 0, run.stderr)
        result = self.result()
        self.assertEqual((result["rounds"], result["steps_total"], result["nnz"]), (1, 40, 56))
        self.assertIsNone(result["target_nnz"])
        self.assertIn("no target", run.stdout)

    def test_interpolation_and_warm_start(self):
        self.config()
        options = ["--set", "search.method=interpolate", "--set", "search.max_rounds=20"]
        run = self.run_command("fit", "c.toml", *options)
        self.assertEqual(run.returncode, 0, run.stderr)
        cold = self.result()
        run = self.run_command("fit", "c.toml", *options, "--set", "search.warm_start=true", "--out", "warm")
        self.assertEqual(run.returncode, 0, run.stderr)
        warm = self.result("warm")
        self.assertTrue(warm["achieved"])
        # The ends are trained alike; what follows begins elsewhere.
        self.assertEqual(warm["nnz"] == cold["nnz"] and warm["train_loss"] == cold["train_loss"], warm["rounds"] < 3)

    def test_targets_by_layer(self):
        self.config()
        run = self.run_command("fit", "c.toml", "--set", "sparsity.layers.fc1=24", "--set", "sparsity.layers.fc2=4",
                               "--set", "sparsity.tolerance=0.9", "--set", "sparsity.layers_required=1")
        self.assertIn(run.returncode, (0, 3), run.stderr)
        layers = self.result()["layers"]
        self.assertEqual([layer["target_nnz"] for layer in layers], [24, 4])
        self.assertIn("1 of 2 layers", run.stdout)

    def test_initial_weights(self):
        self.config([("target_nnz = 30\n", ""), ("[1e-4, 1e-1]", "0"), ('"gradient-median"', '"fixed"'),
                     ("steps = 40", "steps = 1"), ("learning_rate = 0.1", "learning_rate = 1e-30")])
        tensors = network(seed=3)
        self.write("w.safetensors", safetensors(tensors))
        run = self.run_command("fit", "c.toml", "--init", "w.safetensors")
        self.assertEqual(run.returncode, 0, run.stderr)
        # A step of 1e-30 changes no float of this size: the network is the file's.
        model = read_safetensors(self.path("run/model.safetensors"))
        self.write("rounded.safetensors", safetensors(tensors))
        self.assertEqual(model, read_safetensors(self.path("rounded.safetensors")))

    def test_divergence_is_said_and_is_not_sparsity(self):
        self.config([("learning_rate = 0.1", "learning_rate = 900"), ("steps = 40", "steps = 400")])
        run = self.run_command("fit", "c.toml")
        self.assertEqual(run.returncode, 3, run.stdout + run.stderr)
        self.assertIn("diverged", run.stderr)
        self.assertFalse(self.result()["achieved"])

    def test_paths_start_at_the_configuration(self):
        os.mkdir(self.path("sub"))
        self.run_command("data", "mackey-glass", "--out", "sub/mg.libsvm")
        self.config([('kind = "mackey-glass"', 'kind = "libsvm"\npath = "mg.libsvm"')], name="sub/c.toml")
        run = self.run_command("fit", "sub/c.toml")
        self.assertIn(run.returncode, (0, 3), run.stderr)
        self.assertTrue(os.path.exists(self.path("run/result.json")))

    def test_the_examples_are_accepted(self):
        for name in ("mackey_glass_single", "mackey_glass_multi", "mackey_glass_one_run"):
            run = self.run_command("fit", os.path.join(SOURCE, "examples", name + ".toml"), "--out", name,
                                   "--set", "train.steps=20", "--set", "search.max_rounds=1", "--quiet")
            self.assertIn(run.returncode, (0, 3), run.stderr)


if __name__ == "__main__":
    main()
