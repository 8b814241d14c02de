"""What the tests of the Python package share. CUTHRESH_SEED prints and replaces the seed of random inputs."""

import os
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
SEED = int(os.environ.get("CUTHRESH_SEED", "20240805"))

if os.environ.get("CUTHRESH_TEST_INSTALLED") != "1":
    sys.path.insert(0, str(SOURCE / "python"))

import torch  # noqa: E402
from torch import nn  # noqa: E402

torch.set_num_threads(1)


def generator(offset=0):
    return torch.Generator().manual_seed(SEED + offset)


def mlp(*widths, seed=0):
    torch.manual_seed(SEED + seed)
    layers = []
    for i in range(len(widths) - 1):
        layers += [nn.Linear(widths[i], widths[i + 1]), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class PaperNet(nn.Module):
    """conv 32-64-128, dense 1152-512-10, for 28×28 images."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(SEED)
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(64, 128, 3), nn.ReLU())
        self.classifier = nn.Sequential(nn.Linear(1152, 512), nn.ReLU(), nn.Linear(512, 10))

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


def made_images(count, classes=10, seed=0):
    """Images of a blob each, whose place is its class, with noise."""
    random = generator(seed)
    labels = torch.randint(0, classes, (count,), generator=random)
    rows = torch.arange(28.0).reshape(1, 28, 1)
    columns = torch.arange(28.0).reshape(1, 1, 28)
    angle = labels.float() * (6.283185 / classes)
    centre_row = (14 + 8 * torch.sin(angle)).reshape(-1, 1, 1)
    centre_column = (14 + 8 * torch.cos(angle)).reshape(-1, 1, 1)
    images = torch.exp(-((rows - centre_row) ** 2 + (columns - centre_column) ** 2) / 18)
    return (images + 0.1 * torch.randn(images.shape, generator=random)).unsqueeze(1), labels


def set_random_gradients(parameters, random):
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=random).contiguous(
            memory_format=torch.channels_last if parameter.dim() == 4 and not parameter.is_contiguous()
            else torch.contiguous_format)


def same_bits(a, b):
    """Equal as bits, ±0 and NaN included."""
    return torch.equal(a.detach().contiguous().view(torch.int32), b.detach().contiguous().view(torch.int32))


def nonzeros(parameters):
    return sum(int(parameter.count_nonzero()) for parameter in parameters)
