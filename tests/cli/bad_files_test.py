"""What bad data files, initial weights and run folders get: exit 2, the file and place, nothing half-written."""

import os
import unittest

from support import CONFIG, CommandTest, main, network, safetensors

LIBSVM = "".join("%g 1:%g 2:%g 3:1 4:2 5:3 6:4\n" % (i, i + 0.5, i + 0.25) for i in range(300))
CSV = "a,b,c,d,e,f,y\n" + "".join("1,2,3,4,5,6,%d\n" % i for i in range(300))


class DataFiles(CommandTest):
    def refused(self, kind, content, *parts):
        if content is not None:
            self.write("d.txt", content)
        self.config([('kind = "mackey-glass"', 'kind = "%s"\npath = "d.txt"' % kind)])
        return self.assert_refused(["fit", "c.toml"], *parts)

    def test_the_bases_are_good(self):
        for kind, content in (("libsvm", LIBSVM), ("csv", CSV)):
            self.write("d.txt", content)
            self.config([('kind = "mackey-glass"', 'kind = "%s"\npath = "d.txt"' % kind),
                         ("learning_rate = 0.1", "learning_rate = 1e-6")])
            result = self.run_command("fit", "c.toml", "--force")
            self.assertIn(result.returncode, (0, 3), result.stderr)

    def test_missing(self):
        self.refused("libsvm", None, "d.txt")
        self.refused("csv", None, "d.txt")

    def test_empty(self):
        self.refused("libsvm", "", "d.txt")
        self.refused("csv", "", "d.txt")

    def test_truncated(self):
        self.refused("libsvm", LIBSVM[: LIBSVM.rindex(":") + 1], "d.txt", "300")
        self.refused("csv", CSV[: CSV.rindex(",")], "d.txt", "301")

    def test_wrong_column_count(self):
        self.refused("csv", CSV + "1,2,3\n", "d.txt", "302")
        self.refused("csv", CSV + "1,2,3,4,5,6,7,8\n", "d.txt", "302")

    def test_inputs_that_do_not_fit_the_widths(self):
        self.refused("libsvm", LIBSVM + "1 7:1\n", "model.widths", "7", "(got 6)")

    def test_not_a_number(self):
        for word in ("nan", "inf", "-inf", "1e999", "x"):
            self.refused("libsvm", LIBSVM + "1 1:%s\n" % word, "d.txt", "301", word)
            self.refused("libsvm", LIBSVM + "%s 1:1\n" % word, "d.txt", "301", word)
            self.refused("csv", CSV + "1,2,%s,4,5,6,7\n" % word, "d.txt", "302", word)

    def test_target_column_that_does_not_exist(self):
        self.write("d.txt", CSV)
        self.config([('kind = "mackey-glass"', 'kind = "csv"\npath = "d.txt"\ntarget_columns = ["z"]')])
        self.assert_refused(["fit", "c.toml"], "d.txt", "z")


class InitialWeights(CommandTest):
    def refused(self, tensors, *parts):
        content = tensors if isinstance(tensors, bytes) else safetensors(tensors)
        self.config()
        self.write("w.safetensors", content)
        return self.assert_refused(["fit", "c.toml", "--init", "w.safetensors"], "w.safetensors", *parts)

    def test_missing_file(self):
        self.config()
        self.assert_refused(["fit", "c.toml", "--init", "none.safetensors"], "none.safetensors")

    def test_missing_tensor(self):
        tensors = network()
        del tensors["fc2.bias"]
        self.refused(tensors, "fc2.bias")

    def test_extra_tensor(self):
        self.refused(dict(network(), **{"fc3.weight": ([1], [0.0])}), "fc3.weight")

    def test_misshaped_tensor(self):
        tensors = network()
        shape, values = tensors["fc1.weight"]
        self.refused(dict(tensors, **{"fc1.weight": (shape[::-1], values)}), "fc1.weight", "[6, 8]", "[8, 6]")

    def test_non_finite_weight(self):
        tensors = network()
        tensors["fc1.bias"][1][3] = float("nan")
        self.refused(tensors, "fc1.bias")

    def test_truncated(self):
        self.refused(safetensors(network())[:-4])


class RunFolders(CommandTest):
    def test_existing_folder_is_kept(self):
        self.config()
        os.mkdir(self.path("run"))
        self.write("run/result.json", "precious")
        self.assert_refused(["fit", "c.toml"], "run", "--force")
        with open(self.path("run/result.json")) as file:
            self.assertEqual(file.read(), "precious")

    def test_force_does_not_take_a_folder_of_something_else(self):
        self.config()
        os.mkdir(self.path("run"))
        self.write("run/thesis.tex", "precious")
        self.assert_refused(["fit", "c.toml", "--force"], "run")
        self.assertEqual(os.listdir(self.path("run")), ["thesis.tex"])

    def test_a_file_in_the_way(self):
        self.config()
        self.write("run", "precious")
        self.assert_refused(["fit", "c.toml"], "run")
        self.assert_refused(["fit", "c.toml", "--out", "run/below"], "run")

    @unittest.skipIf(os.geteuid() == 0, "root may write everywhere")
    def test_unwritable_folder(self):
        self.config()
        os.mkdir(self.path("locked"), 0o555)
        self.assert_refused(["fit", "c.toml", "--out", "locked/run"], "locked")

    def test_a_place_that_takes_no_folders(self):
        self.config()
        self.assert_refused(["fit", "c.toml", "--out", "/proc/cuthresh/run"], "/proc")


if __name__ == "__main__":
    main()
