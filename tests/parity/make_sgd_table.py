#!/usr/bin/python3
"""Writes sgd_table.csv: weights and momenta after 100 steps of torch.optim.SGD on random gradients.

    make_sgd_table.py [--check]        (Debian's python3-torch belongs to /usr/bin/python3)

Columns kind,alpha,mu,decay,size,entry,w,v: float32 bits as 0x%08x after the last step, of the first and the last
three entries of a tensor. Weights and gradients are not in the table: both sides draw them from one generator, seeded
by the row's case (its number among the table's cases), weights first, then the gradients step by step. The sizes have
a tail behind the widest vectors, so that both parts of PyTorch's loops count.

What PyTorch 1.13 (x86-64, AVX2 or AVX-512) was found to do: weight decay g + decay w, the update w - alpha d and
Nesterov's g + mu v are each one fused multiply-add; mu v + g is a product and a sum that are rounded each.
`--check` recomputes the table and compares every bit; exit status 0 equal, 1 not, 77 skipped.
"""
import os
import sys

sys.dont_write_bytecode = True  # the source tree stays clean
import make_softshrink_table as bits  # noqa: E402

COLUMNS = "kind,alpha,mu,decay,size,entry,w,v"
STEPS = 100
SIZES = (1, 5, 16, 71, 1003)
RATES = ((0.1, 0.0, 0.0), (0.1, 0.0, 5e-4), (0.05, 0.9, 0.0), (0.05, 0.9, 1e-2), (0.3, 0.35, 1e-4))


class Generator:
    """Numerical Recipes' linear congruential generator; uniform on [-1, 1) with 24 bits, exact in float32."""

    def __init__(self, case):
        self.state = case * 2654435761 % 2**32

    def vector(self, size):
        values = []
        for _ in range(size):
            self.state = (self.state * 1664525 + 1013904223) % 2**32
            values.append((self.state >> 8) * 2.0**-23 - 1.0)
        return values


def rows(torch):
    case = 0
    for alpha, mu, decay in (tuple(bits.f32(x) for x in rate) for rate in RATES):
        for kind in ("plain",) if mu == 0.0 else ("momentum", "nesterov"):
            for size in SIZES:
                case += 1
                draw = Generator(case)
                w = torch.tensor(draw.vector(size), dtype=torch.float32, requires_grad=True)
                optimizer = torch.optim.SGD([w], lr=alpha, momentum=mu, weight_decay=decay, nesterov=kind == "nesterov")
                for _ in range(STEPS):
                    w.grad = torch.tensor(draw.vector(size), dtype=torch.float32)
                    optimizer.step()
                v = optimizer.state[w].get("momentum_buffer") if mu else None
                for entry in sorted({e for e in (0, 1, 2, size - 3, size - 2, size - 1) if 0 <= e < size}):
                    numbers = [bits.bits(x) for x in (alpha, mu, decay)]
                    after = [bits.bits(w[entry].item()), 0 if v is None else bits.bits(v[entry].item())]
                    yield ",".join([kind, *(f"0x{n:08x}" for n in numbers), str(size), str(entry), *(f"0x{n:08x}" for n in after)])


def main():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sgd_table.csv")
    checking = "--check" in sys.argv[1:]
    try:
        import torch
    except Exception as error:  # a broken installation raises other things than ImportError
        print(f"skipped: {sys.executable} cannot import torch ({error}); tools/deps.sh --peers installs it")
        return 77
    if not bits.fused(torch):
        print("skipped: PyTorch uses its baseline kernels on this CPU, which have no fused multiply-add")
        return 77
    lines = [COLUMNS, *rows(torch)]
    if not checking:
        with open(path + ".tmp", "w") as f:
            f.write("\n".join(lines) + "\n")
        os.replace(path + ".tmp", path)
        print(f"wrote {path}: {len(lines) - 1} rows")
        return 0
    with open(path) as f:
        kept = f.read().split("\n")[:-1]
    wrong = sum(a != b for a, b in zip(kept, lines)) + abs(len(kept) - len(lines))
    print(f"{len(lines) - 1} rows compared with PyTorch {torch.__version__}, {wrong} differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
