"""Training steps: forward, loss, backward, SGD step, softshrink of the weights, count of their nonzeros."""

from typing import List

import pytorch_prox
import server
import torch
from torch.nn import functional

CONVOLUTIONS = 3
# Rows of the forward on test data that the reference loop makes at each step: as many as its authors have.
TEST_ROWS = 384

HOW = {"": "zero_grad, forward, backward, optimizer.step(), softshrink and count_nonzero a tensor",
       "tuned": "no gradients kept, foreach update, softshrink in place; images channels-last, ReLU in place",
       "compiled": "torch.compile of forward and loss (and so of their backward) and of the update",
       "script": "TorchScript: forward and autograd.grad in one function, the update in another",
       "graph": "the tuned step as a CUDA graph"}
REFERENCE = {"mackey_glass_step": f"the eager step, then a forward on {TEST_ROWS} rows and its loss, at each step",
             "conv_step": "the eager step, its loss read; the test forward comes once an epoch and is left out"}


class MackeyGlass:
    """6-128-128-64-1, ReLU, mean squared error, the full batch."""

    def __init__(self, state, variant):
        del variant  # no layout to choose
        layers = range(1, pytorch_prox.LAYERS + 1)
        self.initial = {f"fc{j}.{part}": state[f"fc{j}.{part}"] for j in layers for part in ("weight", "bias")}
        self.x, self.y = state["x"], state["y"]
        self.net = torch.nn.Sequential()
        for j in layers:
            fan_out, fan_in = self.initial[f"fc{j}.weight"].shape
            self.net.add_module(f"fc{j}", torch.nn.Linear(fan_in, fan_out))
            if j < pytorch_prox.LAYERS:
                self.net.add_module(f"relu{j}", torch.nn.ReLU())
        self.loss = torch.nn.MSELoss()
        self.scripted = mackey_glass_gradients


class Convolutions:
    """3x3 convolutions 1-32-64-128 with ReLU and 2x2 max pools, 1152-512-10, cross-entropy, one batch of 128."""

    def __init__(self, state, variant):
        tuned = variant in ("tuned", "graph", "compiled")
        layers = [f"conv{j}" for j in range(1, CONVOLUTIONS + 1)] + ["fc1", "fc2"]
        self.initial = {f"{layer}.{part}": state[f"cnn.{layer}.{part}"]
                        for layer in layers for part in ("weight", "bias")}
        self.x, self.y = state["cnn.x"], state["cnn.labels"].long()
        self.net = torch.nn.Sequential()
        for layer in layers:
            fan_out, fan_in, *window = self.initial[layer + ".weight"].shape
            if window:
                self.net.add_module(layer, torch.nn.Conv2d(fan_in, fan_out, window, padding=1))
                self.net.add_module("relu_" + layer, torch.nn.ReLU(inplace=tuned))
                self.net.add_module("pool_" + layer, torch.nn.MaxPool2d(2))
            else:
                if layer == "fc1":
                    self.net.add_module("flatten", torch.nn.Flatten())
                self.net.add_module(layer, torch.nn.Linear(fan_in, fan_out))
                if layer != layers[-1]:
                    self.net.add_module("relu_" + layer, torch.nn.ReLU(inplace=tuned))
        if tuned:
            self.net = self.net.to(memory_format=torch.channels_last)
            self.x = self.x.contiguous(memory_format=torch.channels_last)
        self.loss = torch.nn.CrossEntropyLoss()
        self.scripted = convolution_gradients


CASES = {"mackey_glass_step": MackeyGlass, "conv_step": Convolutions}


def mackey_glass_gradients(x: torch.Tensor, y: torch.Tensor, weights: List[torch.Tensor],
                           biases: List[torch.Tensor]) -> List[torch.Tensor]:
    a = x
    for j in range(len(weights)):
        a = functional.linear(a, weights[j], biases[j])
        if j + 1 < len(weights):
            a = torch.relu(a)
    gradients: List[torch.Tensor] = []
    for g in torch.autograd.grad([functional.mse_loss(a, y)], weights + biases):
        assert g is not None
        gradients.append(g)
    return gradients


def convolution_gradients(x: torch.Tensor, y: torch.Tensor, weights: List[torch.Tensor],
                          biases: List[torch.Tensor]) -> List[torch.Tensor]:
    a = x
    for j in range(3):
        a = functional.max_pool2d(torch.relu(functional.conv2d(a, weights[j], biases[j], padding=1)), 2)
    a = torch.relu(functional.linear(torch.flatten(a, 1), weights[3], biases[3]))
    loss = functional.cross_entropy(functional.linear(a, weights[4], biases[4]), y)
    gradients: List[torch.Tensor] = []
    for g in torch.autograd.grad([loss], weights + biases):
        assert g is not None
        gradients.append(g)
    return gradients


class Training(server.Case):
    """Goes on from sample to sample. `model` is one of CASES, made for the variant."""

    def __init__(self, model, base, variant):
        self.model, self.base = model, base
        self.how = REFERENCE[base] if variant == "reference" else HOW[variant]
        self.net = model.net.to(model.x.device)
        self.parameters = list(self.net.parameters())
        self.weights, self.biases = self.parameters[0::2], self.parameters[1::2]
        self.update = pytorch_prox.Update(self.parameters, self.weights, variant)
        self.keep_gradients = variant in ("", "reference")
        self.forward = torch.compile(self.forward_loss) if variant == "compiled" else self.forward_loss
        self.run = {"script": self.scripted_step, "reference": self.reference_step}.get(variant, self.plain_step)
        if variant == "script":
            self.gradients = torch.jit.script(model.scripted)
        self.reset()
        if variant == "graph":
            self.graph, self.count = pytorch_prox.capture(self.plain_step)
            self.run = self.replay

    def forward_loss(self):
        return self.model.loss(self.net(self.model.x), self.model.y)

    def plain_step(self):
        self.net.zero_grad(set_to_none=not self.keep_gradients)
        self.forward().backward()
        return self.update()

    def reference_step(self):
        self.net.zero_grad()
        loss = self.forward_loss()
        loss.backward()
        self.last_loss = loss.item()
        nnz = self.update()
        if self.base == "mackey_glass_step":
            with torch.no_grad():
                test = self.model.loss(self.net(self.model.x[:TEST_ROWS]), self.model.y[:TEST_ROWS])
                self.last_test_loss = test.item()
        return nnz

    def scripted_step(self):
        gradients = self.gradients(self.model.x, self.model.y, self.weights, self.biases)
        for p, g in zip(self.weights + self.biases, gradients):
            p.grad = g
        return self.update()

    def replay(self):
        self.graph.replay()
        return self.count

    def step(self):
        return int(self.run())

    def reset(self):
        self.net.load_state_dict(self.model.initial)

    def synchronize(self):
        pytorch_prox.synchronize(self.model.x)

    def check(self):
        self.reset()
        for _ in range(server.CHECK_STEPS[self.base]):
            nnz = self.step()
        with torch.no_grad():
            return {"nnz": nnz, "loss": float(self.forward_loss())}
