#!/usr/bin/env python3
"""tools/check_layering.py against a tree with planted violations: each must be found, at its line, and nothing else."""

import os
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools", "check_layering.py")

# A tree that keeps every rule.
CLEAN = {
    "kernels/platform.hpp": "#include <cstdint>\n",
    "kernels/math/step.hpp": '#include "kernels/platform.hpp"\n#include <cmath>\n',
    "kernels/block/prox_step.cuh": '#include "kernels/math/step.hpp"\n',
    "include/cuthresh/fit.hpp": '#include <vector>\n#include "cuthresh/config.hpp"\n',
    "include/cuthresh/config.hpp": "#include <string>\n",
    "include/cuthresh/cuda.hpp": "#include <cuda_runtime_api.h>\n",
    "src/backend/backend.hpp": '#include "kernels/math/step.hpp"\n',
    "src/core/registry.hpp": '#include "backend/backend.hpp"\n',
    "src/core/registry.cpp": '#include "core/registry.hpp"\n#include "cpu/cpu_backend.hpp"\n#include "cuda/cuda_backend.hpp"\n',
    "src/cpu/cpu_backend.hpp": '#include "backend/backend.hpp"\n#include <immintrin.h>\n#include <omp.h>\n',
    "src/cpu/gemm_onednn.cpp": "#include <oneapi/dnnl/dnnl.hpp>\n",
    "src/cuda/cuda_backend.hpp": '#include <cuda_runtime.h>\n#include "kernels/block/prox_step.cuh"\n#include "core/registry.hpp"\n',
    "src/io/file.hpp": "#include <fcntl.h>\n",
    "src/data/csv.cpp": '#include "io/file.hpp"\n#include "cuthresh/fit.hpp"\n',
    "src/config/parse.cpp": "#include <toml++/toml.h>\n#include <fmt/format.h>\n",
    "src/nn/mlp.hpp": '#include "backend/backend.hpp"\n#include "core/registry.hpp"\n',
    "src/search/search.hpp": '#include "kernels/math/step.hpp"\n',
    "src/capi/plan.cpp": '#include "search/search.hpp"\n#include "core/registry.hpp"\n',
    "src/train/fit.cpp": '#include "nn/mlp.hpp"\n#include "search/search.hpp"\n// #include "cpu/cpu_backend.hpp"\n'
                         '/* #include "cpu/cpu_backend.hpp"\n#include "cpu/gemm.hpp" */\n',
    "tools/cuthresh/main.cpp": '#include "cuthresh/fit.hpp"\n#include "progress.hpp"\n#include <CLI/CLI.hpp>\n',
    "tools/cuthresh/progress.hpp": "#include <cstdio>\n",
    "bench/peer.cpp": '#include "core/registry.hpp"\n#include "train/fit.cpp"\n',
    "tests/unit/any.cpp": '#include "cpu/cpu_backend.hpp"\n#include <oneapi/dnnl/dnnl.hpp>\n',
}

# (file, text, line of the violation, part of the rule)
PLANTED = [
    ("kernels/math/bad.hpp", '#include "backend/backend.hpp"\n', 1, "kernels/"),
    ("kernels/math/bad.hpp", "#include <cstdint>\n#include <fmt/format.h>\n", 2, "kernels/"),
    ("kernels/math/bad.hpp", "#include <immintrin.h>\n", 1, "kernels/"),
    ("kernels/math/bad.hpp", '#include "cuthresh/fit.hpp"\n', 1, "kernels/"),
    ("kernels/math/bad.hpp", "#include <cuda_fp16.h>\n", 1, "CUDA headers"),
    ("kernels/block/bad.cuh", "#include <cub/cub.cuh>\n", 1, "no cub"),
    ("kernels/block/bad.cuh", "\n\n#include <cooperative_groups.h>\n", 3, "no cub"),
    ("include/cuthresh/bad.hpp", '#include "backend/backend.hpp"\n', 1, "include/"),
    ("include/cuthresh/bad.hpp", '#include "kernels/platform.hpp"\n', 1, "include/"),
    ("include/cuthresh/bad.hpp", "#include <fmt/format.h>\n", 1, "include/"),
    ("include/cuthresh/bad.hpp", "#include <cuda_runtime.h>\n", 1, "CUDA headers"),
    ("include/cuthresh/bad.hpp", "#include <cudnn.h>\n", 1, "CUDA headers"),
    ("include/cuthresh/bad.hpp", "#include <oneapi/dnnl/dnnl.hpp>\n", 1, "oneDNN"),
    ("src/backend/bad.hpp", '#include "core/registry.hpp"\n', 1, "src/backend"),
    ("src/core/bad.cpp", '#include "cpu/cpu_backend.hpp"\n', 1, "src/core"),
    ("src/core/bad.cpp", '#include "io/file.hpp"\n', 1, "src/core"),
    ("src/cpu/bad.cpp", '#include "cuda/cuda_backend.hpp"\n', 1, "a room"),
    ("src/cpu/bad.cpp", '#include "nn/mlp.hpp"\n', 1, "a room"),
    ("src/cpu/bad.cpp", '#include "oneapi/dnnl/dnnl.h"\n', 1, "oneDNN"),
    ("src/cpu/bad.cpp", '#include "kernels/block/prox_step.cuh"\n', 1, "kernels/block"),
    ("src/cuda/bad.cu", '#include "cpu/cpu_backend.hpp"\n', 1, "a room"),
    ("src/cuda/bad.cu", '#include "../cpu/cpu_backend.hpp"\n', 1, "a room"),
    ("src/nn/bad.cpp", '#include "cpu/cpu_backend.hpp"\n', 1, "src/nn"),
    ("src/nn/bad.cpp", '#include "src/cuda/cuda_backend.hpp"\n', 1, "src/nn"),
    ("src/nn/bad.cpp", '#include "search/search.hpp"\n', 1, "src/nn"),
    ("src/optim/bad.cpp", '#include "cpu/missing.hpp"\n', 1, "src/optim"),
    ("src/search/bad.cpp", '#include "backend/backend.hpp"\n', 1, "src/search"),
    ("src/search/bad.cpp", '#include "train/fit.hpp"\n', 1, "src/search"),
    ("src/capi/bad.cpp", '#include "train/fit.hpp"\n', 1, "src/capi"),
    ("src/capi/bad.cpp", '#include "nn/mlp.hpp"\n', 1, "src/capi"),
    ("src/capi/bad.cpp", '#include "cuda/cuda_backend.hpp"\n', 1, "src/capi"),
    ("src/train/bad.cpp", '  #  include   "cpu/cpu_backend.hpp"\n', 1, "src/train"),
    ("src/train/bad.cpp", "#include <cublas_v2.h>\n", 1, "CUDA headers"),
    ("src/train/bad.cpp", '/* a comment\n   of two lines */ #include "cpu/cpu_backend.hpp"\n', 2, "src/train"),
    ("src/train/bad.cpp", '#include \\\n  "cpu/cpu_backend.hpp"\n', 1, "src/train"),
    ("src/train/bad.cpp", "#define ROOM <omp.h>\n#include ROOM\n", 2, "written out"),
    ("src/data/bad.cpp", '#include "config/parse.hpp"\n', 1, "src/data"),
    ("src/io/bad.cpp", '#include "data/csv.hpp"\n', 1, "src/io"),
    ("src/config/bad.cpp", '#include "train/fit.hpp"\n', 1, "src/config"),
    ("src/config/bad.cpp", '#include "tests/unit/any.hpp"\n', 1, "src/config"),
    ("src/data/bad.cpp", "#include <toml++/toml.hpp>\n", 1, "toml++"),
    ("src/newcomer/bad.cpp", "#include <vector>\n", 1, "no layer"),
    ("tools/cuthresh/bad.cpp", '#include "core/registry.hpp"\n', 1, "public API"),
    ("tools/cuthresh/bad.cpp", '#include "kernels/platform.hpp"\n', 1, "public API"),
    ("tools/cuthresh/bad.cpp", '#include "../other/thing.hpp"\n', 1, "public API"),
    ("bench/bad.cpp", '#include "cpu/cpu_backend.hpp"\n', 1, "bench/"),
]


def run(files):
    """Exit status and printed lines of the check over a tree with these files."""
    with tempfile.TemporaryDirectory() as root:
        for path, text in files.items():
            os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
            with open(os.path.join(root, path), "w") as f:
                f.write(text)
        done = subprocess.run([sys.executable, "-B", SCRIPT, root], capture_output=True, text=True)
        return done.returncode, (done.stdout + done.stderr).strip().split("\n")


class CheckLayering(unittest.TestCase):
    def test_a_clean_tree_passes(self):
        status, lines = run(CLEAN)
        self.assertEqual((status, lines), (0, [f"{len(CLEAN) - 1} files checked, 0 violations"]))

    def test_each_planted_violation_is_found_alone_and_at_its_line(self):
        for path, text, line, rule in PLANTED:
            with self.subTest(path=path, text=text):
                extra = {"tools/other/thing.hpp": ""} if "other/thing" in text else {}
                status, lines = run({**CLEAN, **extra, path: text})
                self.assertEqual(status, 1, lines)
                where = [entry for entry in lines[:-1] if entry.startswith(f"{path}:{line}: ")]
                self.assertEqual(len(where), 1, lines)
                self.assertIn(rule, where[0])
                # The toml++ rule names both files; every other violation is reported once.
                self.assertEqual(len(lines) - 1, 2 if rule == "toml++" else 1, lines)

    def test_all_together(self):
        files = dict(CLEAN)
        for number, (path, text, _, _) in enumerate(PLANTED):
            stem, suffix = os.path.splitext(path)
            files[f"{stem}{number}{suffix}"] = text
        files["tools/other/thing.hpp"] = ""
        status, lines = run(files)
        self.assertEqual(status, 1)
        self.assertEqual(len(lines) - 1, len(PLANTED) + 1, "\n".join(lines))

    def test_an_empty_tree_is_an_error(self):
        status, lines = run({"README.md": ""})
        self.assertEqual(status, 2, lines)


if __name__ == "__main__":
    unittest.main()
