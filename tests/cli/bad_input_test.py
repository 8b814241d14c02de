"""What a bad configuration gets: exit 2 and one line with the place, the value and a remedy; no file made."""

import unittest

from support import CONFIG, CommandTest, main


class BadConfiguration(CommandTest):
    def refused(self, changes, *parts):
        self.config(changes)
        return self.assert_refused(["fit", "c.toml"], *parts)

    def test_the_base_is_good(self):
        self.config()
        self.assertIn(self.run_command("fit", "c.toml").returncode, (0, 3))

    def test_missing_or_broken_file(self):
        self.assert_refused(["fit", "none.toml"], "none.toml", "cannot be opened")
        self.write("c.toml", CONFIG + "\n[run\n")
        self.assert_refused(["fit", "c.toml"], "c.toml:", "not valid TOML")
        self.assert_refused(["fit", "."], "is a folder")

    def test_unknown_key_and_section(self):
        self.refused([("steps = 40", "stpes = 40")], "c.toml:9:1", "train.stpes", 'did you mean "steps"?')
        self.refused([("[search]", "[saerch]")], "c.toml:", "[saerch]", 'did you mean "search"?')

    def test_activation(self):
        self.refused([("widths = [6, 8, 1]", 'widths = [6, 8, 1]\nactivation = "rellu"')], "c.toml:7:14",
                     "model.activation", "rellu", 'did you mean "relu"?')

    def test_zero_sized_layer(self):
        self.refused([("[6, 8, 1]", "[6, 0, 1]")], "c.toml:6:14", "model.widths[1]", "fc1", "(got 0)")

    def test_widths_that_do_not_fit_the_data(self):
        self.refused([("[6, 8, 1]", "[5, 8, 1]")], "model.widths", "(got 5)", "6")
        self.refused([("[6, 8, 1]", "[6, 8, 2]")], "model.widths", "(got 2)", "1")

    def test_targets(self):
        self.refused([("target_nnz = 30", "target_nnz = -1")], "c.toml:11:14", "sparsity.target_nnz", "(got -1)")
        self.refused([("target_nnz = 30", "target_nnz = 57")], "sparsity.target_nnz", "56", "(got 57)")
        self.refused([("target_nnz = 30", "target_sparsity = 1.01")], "sparsity.target_sparsity", "(got 1.01)")
        self.refused([("target_nnz = 30", "target_nnz = 30\ntarget_sparsity = 0.5")], "target_nnz", "keep one")
        self.refused([("target_nnz = 30\n", "")], "c.toml", "needs a target")

    def test_layer_that_does_not_exist(self):
        message = self.refused([("target_nnz = 30\n", ""), ("[search]", "[sparsity.layers]\nfc9 = 3\n[search]")],
                               "sparsity.layers.fc9", "fc1")
        self.assertIn("fc2", message)

    def test_layer_target_above_its_weights(self):
        self.refused([("target_nnz = 30\n", ""), ("[search]", "[sparsity.layers]\nfc2 = 9\n[search]")],
                     "sparsity.layers.fc2", "(got 9)", "8")

    def test_shared_targets_bounds_and_allocations(self):
        def layers(text):
            return [("target_nnz = 30\n", ""), ("[search]", f"[sparsity.layers]\n{text}\n[search]")]

        self.refused(layers('"fc1, fc9" = 3'), "sparsity.layers.fc1, fc9", "(got fc9)", "use one of fc1, fc2")
        self.refused(layers('"fc1, fc2" = 57'), "above the 56 penalised weights of layers fc1, fc2", "(got 57)")
        self.refused(layers('"fc1, fc2" = 5\nfc1 = 3'), "c.toml:", "layer fc1 has a target already")
        self.refused([("[search]", "[sparsity.bounds]\nfc1 = [1, 5]\n[search]")], "sparsity.bounds.fc1",
                     "only search.method", "set search.method to one-run")
        one_run = ('"gradient-median"\nstop = "converged"\nlambda = [1e-4, 1e-1]', '"one-run"')
        self.refused([("[search]", "[sparsity.bounds]\nfc1 = [0, 10]\n[search]"), one_run], "sparsity.bounds",
                     "allow from 0 to 18", "(got a target of 30)", "widen")
        self.refused([("[search]", "[sparsity.bounds]\nfc2 = [1, 9]\n[search]"), one_run], "sparsity.bounds.fc2",
                     "only 8 weights", "(got 9)")
        self.refused([("target_nnz = 30", 'target_nnz = 1\nallocation = "uniform"')], "sparsity.allocation",
                     "each of the 2 penalised layers", "(got 1 in all)")

    def test_ranges(self):
        self.refused([("tolerance = 0.1", "tolerance = 1.0")], "c.toml:12:13", "sparsity.tolerance", "(got 1.0)")
        self.refused([("tolerance = 0.1", "tolerance = -0.1")], "sparsity.tolerance", "(got -0.1)")
        self.refused([("learning_rate = 0.1", "learning_rate = 0")], "train.learning_rate", "(got 0)")
        self.refused([("learning_rate = 0.1", "learning_rate = inf")], "train.learning_rate", "(got inf)")
        self.refused([("learning_rate = 0.1", "learning_rate = 1e4")], "train.learning_rate", "(got 1e4)")
        self.refused([("steps = 40", "steps = 0")], "train.steps", "(got 0)")
        self.refused([("steps = 40", "steps = 4.5")], "train.steps", "(got 4.5)")
        self.refused([("max_rounds = 3", "max_rounds = 0")], "search.max_rounds", "(got 0)")
        self.refused([("steps = 40", "steps = 40\nbatch = 201")], "train.batch", "200", "(got 201)")

    def test_bracket(self):
        self.refused([("[1e-4, 1e-1]", "[1e-1, 1e-4]")], "c.toml:16:10", "search.lambda", "[1e-1, 1e-4]", "smaller")
        self.refused([("[1e-4, 1e-1]", "[1e-4, 1e-4]")], "search.lambda")
        self.refused([("[1e-4, 1e-1]", "[-1e-4, 1e-1]")], "search.lambda[0]", "(got -1e-4)")

    def test_more_rows_than_there_are(self):
        self.refused([("train_rows = 200", "train_rows = 2000")], "2000", "1385")

    def test_overrides(self):
        self.config()
        self.assert_refused(["fit", "c.toml", "--set", "train.steps"], "--set train.steps", "section.key=value")
        self.assert_refused(["fit", "c.toml", "--set", "train.steps=many"], "--set train.steps=many", "many")
        self.assert_refused(["fit", "c.toml", "--set", "model.activation=rellu"], "rellu", 'did you mean "relu"?')

    def test_options_are_named_as_written(self):
        self.config()
        self.assert_refused(["fit", "c.toml", "--device", "gpu"], "--device", "gpu", "cpu")
        self.assert_refused(["fit", "c.toml", "--engine", "mkl"], "--engine", "mkl", "onednn")
        self.assert_refused(["fit", "c.toml", "--threads", "-1"], "--threads", "(got -1)")
        self.assert_refused(["fit", "c.toml", "--out", ""], "--out")


if __name__ == "__main__":
    main()
