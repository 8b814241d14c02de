"""What a controller has reached."""

from typing import NamedTuple


class TargetLine(NamedTuple):
    """Layers that share a λ. `target` and `nonzeros` count weights that are not zero."""

    name: str
    weights: int
    target: int
    nonzeros: int
    lambda_: float
    met: bool

    @property
    def sparsity(self):
        return 1.0 - self.nonzeros / self.weights


class LayerLine(NamedTuple):
    name: str
    weights: int
    nonzeros: int

    @property
    def sparsity(self):
        return 1.0 - self.nonzeros / self.weights if self.weights else 0.0


class Report(NamedTuple):
    """Counts of the weights as they are; λ of the next step. str() is a table."""

    phase: str
    step: int
    steps: int
    nonfinite: int
    stopped: bool
    targets: list[TargetLine]
    layers: list[LayerLine]

    @property
    def exact(self):
        """Every target has its number of nonzeros, to the weight."""
        return all(line.nonzeros == line.target for line in self.targets)

    @property
    def met(self):
        """Every target is within its tolerance."""
        return all(line.met for line in self.targets)

    @property
    def weights(self):
        return sum(line.weights for line in self.targets)

    @property
    def nonzeros(self):
        return sum(line.nonzeros for line in self.targets)

    @property
    def sparsity(self):
        return 1.0 - self.nonzeros / self.weights

    def as_dict(self):
        """Plain numbers, strings and lists: json.dumps takes it."""
        return {"phase": self.phase, "step": self.step, "steps": self.steps, "nonfinite": self.nonfinite,
                "stopped": self.stopped, "exact": self.exact, "met": self.met, "weights": self.weights,
                "nonzeros": self.nonzeros, "sparsity": self.sparsity,
                "targets": [dict(line._asdict(), sparsity=line.sparsity) for line in self.targets],
                "layers": [dict(line._asdict(), sparsity=line.sparsity) for line in self.layers]}

    def scalars(self, prefix="cuthresh"):
        """{tag: number}, one writer.add_scalar(tag, number, step) each."""
        values = {f"{prefix}/sparsity": self.sparsity, f"{prefix}/nonzeros": float(self.nonzeros)}
        for line in self.targets:
            values[f"{prefix}/lambda/{line.name}"] = line.lambda_
        for line in self.layers:
            values[f"{prefix}/sparsity/{line.name}"] = line.sparsity
        return values

    def __str__(self):
        rows = [("target", "weights", "wanted", "nonzeros", "sparsity", "lambda", "")]
        rows += [(line.name, str(line.weights), str(line.target), str(line.nonzeros), f"{line.sparsity:.4%}",
                  f"{line.lambda_:.4g}", "met" if line.met else "not met") for line in self.targets]
        if len(self.layers) > 1:
            rows += [("", "", "", "", "", "", "")]
            rows += [("  " + line.name, str(line.weights), "", str(line.nonzeros), f"{line.sparsity:.4%}", "", "")
                     for line in self.layers]
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = ["  ".join([row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])])
                 .rstrip() for row in rows]
        head = f"step {self.step} of {self.steps}, {self.phase}"
        if self.stopped:
            head += f"; stopped: {self.nonfinite} entries were not finite, and no step is taken any more"
        return "\n".join([head, *lines])
