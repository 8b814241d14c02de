#!/usr/bin/python3
"""PyTorch doing the work of our cases, for timing beside us (Debian's python3-torch, or any newer one).

    pytorch_steps.py [--threads N] [--device cuda] [--state FILE] --serve
    pytorch_steps.py 'check kth_25m' conv_step conv_step@tuned ...

The cases and the protocol are in tools/peers/README.md. CASE alone is PyTorch as one writes it; its variants:

@tuned      PyTorch's fastest eager way known to us to the same result: foreach update of all parameters at once,
            softshrink in place, kept buffers, images and convolutions channels-last, ReLU in place
@compiled   torch.compile, where torch has it
@script     TorchScript: forward and backward in one function, the update in another
@graph      @tuned captured by hand in a CUDA graph, on a CUDA device
@reference  the training loop of the reference algorithm (arXiv 2408.02801)

Exit status 77 when torch cannot be imported.
"""

import functools
import os
import sys

sys.dont_write_bytecode = True
import server  # noqa: E402  (the small one beside this file)

try:
    import torch
except Exception as error:  # a broken installation raises other things than ImportError
    server.unavailable(f"{sys.executable} cannot import torch ({error}); tools/deps.sh --peers installs it")
import pytorch_lists  # noqa: E402
import pytorch_prox  # noqa: E402
import pytorch_training  # noqa: E402

VARIANTS = ("", "tuned", "compiled", "script", "graph", "reference")


def blas():
    """The BLAS library that this process has loaded."""
    if torch.backends.mkl.is_available():
        return "MKL, built in"
    torch.mm(torch.ones(64, 64), torch.ones(64, 64))
    with open("/proc/self/maps") as f:
        found = {os.path.basename(os.path.realpath(line.split()[-1])) for line in f if "blas" in line.lower()}
    return ", ".join(sorted(found)) or "none"


def require(variant, device):
    """Raises Missing when this torch or device lacks what the variant is made of."""
    if variant not in VARIANTS:
        raise server.Unknown
    if variant == "compiled" and not hasattr(torch, "compile"):
        raise server.Missing(f"not available: torch {torch.__version__} has no torch.compile")
    if variant == "graph" and device.type != "cuda":
        raise server.Missing("not available: a CUDA graph needs --device cuda")


def main():
    args = server.arguments(__doc__.split("\n")[0])
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            server.unavailable(f"torch {torch.__version__} finds no CUDA device")
        # Float32 throughout, as ours; cuDNN would round the convolutions' factors to TF32.
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = True

    state = {name: torch.frombuffer(values, dtype=torch.float32).reshape(shape).to(device, copy=True)
             for name, (shape, values) in server.read_state(args.state).items()}

    @functools.lru_cache(maxsize=1)  # shared by a case's variants
    def inputs(base):
        return pytorch_prox.tensors(base, state) if base in pytorch_prox.CASES else pytorch_lists.tensors(base, device)

    def make(base, variant):
        require(variant, device)
        if base in pytorch_training.CASES:
            return pytorch_training.Training(pytorch_training.CASES[base](state, variant), base, variant)
        if base in pytorch_prox.CASES:
            return pytorch_prox.Prox(inputs(base), base, variant)
        return pytorch_lists.make(base, variant, inputs(base))

    what = f"PyTorch {torch.__version__}"
    if device.type == "cuda":
        what += f" on {torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}"
    server.run(args, {"what": what, "blas": blas()}, make)


if __name__ == "__main__":
    main()
