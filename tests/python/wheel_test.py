"""The package as users get it: a wheel that carries the library, in an environment of its own, far from the tree."""

import os
import subprocess
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
LIBRARY = os.environ.get("CUTHRESH_LIBRARY")

PROGRAM = """
import os, sys
assert not any(os.path.exists(os.path.join(p, "cuthresh.h")) for p in sys.path)
import cuthresh, torch
assert os.path.dirname(cuthresh.library_path) == os.path.dirname(cuthresh.__file__), cuthresh.library_path
assert cuthresh.__file__.startswith(sys.prefix), cuthresh.__file__
from cuthresh.torch import ProxSGD, SparsityController
torch.manual_seed(1)
model = torch.nn.Linear(30, 20)
optimizer = ProxSGD(model, lr=0.1)
controller = SparsityController(optimizer, target=0.9, steps=50)
for _ in range(50):
    optimizer.zero_grad()
    model(torch.randn(8, 30)).square().mean().backward()
    optimizer.step(); controller.step()
assert int(model.weight.count_nonzero()) == 60, controller.report()
from importlib.metadata import version
assert version("cuthresh") == cuthresh.__version__
print("used", cuthresh.__version__)
"""


def run(*command, **options):
    result = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if result.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}\n{result.stdout}\n{result.stderr}")
    return result.stdout


@unittest.skipUnless(LIBRARY, "CUTHRESH_LIBRARY names no built library")
class Wheel(unittest.TestCase):
    def test_it_is_built_installed_and_used_elsewhere(self):
        with tempfile.TemporaryDirectory() as folder:
            package = Path(folder) / "tree/python"
            header = Path(folder) / "tree/include/cuthresh"
            run("mkdir", "-p", str(package), str(header), str(Path(folder) / "elsewhere"))
            run("cp", "-r", f"{SOURCE}/python/.", str(package))
            run("cp", f"{SOURCE}/include/cuthresh/cuthresh.h", str(header))
            try:
                run(sys.executable, "-c", "import ensurepip, pip, setuptools, venv, wheel")
            except AssertionError as error:
                self.skipTest(f"no pip, setuptools, venv and wheel; tools/deps.sh --test installs them: {error}")
            environment = {**os.environ, "CUTHRESH_LIBRARY": LIBRARY}
            run(sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--no-index", "-w", folder,
                str(package), env=environment)
            [wheel] = Path(folder).glob("*.whl")
            self.assertRegex(wheel.name, r"^cuthresh-[\d.]+-py3-none-linux_\w+\.whl$")
            names = zipfile.ZipFile(wheel).namelist()
            for part in ("cuthresh/libcuthresh.so", "cuthresh/torch/prox_sgd.py"):
                self.assertIn(part, names)
            venv = Path(folder) / "venv"
            run(sys.executable, "-m", "venv", "--system-site-packages", str(venv))
            python = str(venv / "bin/python")
            run(python, "-m", "pip", "install", "--no-index", "--no-deps", str(wheel))
            clean = {key: value for key, value in os.environ.items() if key not in ("CUTHRESH_LIBRARY", "PYTHONPATH")}
            said = run(python, "-c", PROGRAM, cwd=Path(folder) / "elsewhere", env=clean)
            self.assertRegex(said, r"used \d+\.\d+\.\d+")

    def test_what_the_build_is_given_is_checked(self):
        result = subprocess.run([sys.executable, "setup.py", "--version"], cwd=SOURCE / "python", capture_output=True,
                                text=True, check=False)
        self.assertRegex(result.stdout, r"\d+\.\d+\.\d+")


if __name__ == "__main__":
    unittest.main()
