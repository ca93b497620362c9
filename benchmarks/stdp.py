"""Images a second in training the network of Diehl and Cook, here and in BindsNET.

    784 inputs, 250 steps of 1 ms, Bernoulli spikes of at most 128 Hz (made in the timed loop), pair
    STDP with nearest spikes, rising thresholds, one spike a step, normalised weights, batch 1.

Similar, not identical: BindsNET's inhibition goes through a layer of inhibitory neurons, and of
several neurons above threshold it draws the one that fires. First the compiled presentations are
compared with the readable ones, to the bit. BindsNET is timed if it can be imported: it needs an
environment of its own, with ``bindsnet==0.3.4``. What it imports for pictures and games alone
(torchvision, OpenCV, gym, ...) is stood in for where it is missing.

    PYTHONPATH=src python benchmarks/stdp.py --json stdp.jsonl
"""

import argparse
import importlib
import importlib.abc
import importlib.machinery
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import torch
from torch import Tensor

from spikeloom.functional.diehl_cook import Competing, Learning, shown
from spikeloom.kernels import door, use

STEPS, INPUTS, RATE = 250, 784, 128.0
ABSENT = ("torchvision", "cv2", "gym", "gymnasium", "foolbox", "tensorboardX", "skimage", "ale_py")


class StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Modules that can be imported and do nothing."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        root = name.partition(".")[0]
        return importlib.machinery.ModuleSpec(name, self) if root in ABSENT else None

    def create_module(self, spec: Any) -> Any:
        module = MagicMock()
        module.__path__, module.__spec__ = [], spec
        return module

    def exec_module(self, module: Any) -> None:
        """There is nothing to execute."""


def images(count: int) -> Tensor:
    """As bright as MNIST: a fifth of the pixels are not black."""
    draw = torch.Generator().manual_seed(0)
    bright = torch.rand(count, INPUTS, generator=draw) < 0.19
    return bright * torch.rand(count, INPUTS, generator=draw)


def ours(neurons: int) -> Callable[[Tensor], None]:
    torch.manual_seed(0)
    state = [0.3 * torch.rand(neurons, INPUTS), torch.zeros(neurons)]

    def train(x: Tensor) -> None:
        state[:] = door("shown")(x, *state, STEPS, 0, Competing(rate=RATE), Learning())[:2]

    return train


def bindsnet(neurons: int) -> Callable[[Tensor], None] | None:
    try:
        models = importlib.import_module("bindsnet.models")
    except ImportError as error:
        print(f"BindsNET is not timed: {error}", file=sys.stderr)
        return None
    torch.manual_seed(0)
    net = models.DiehlAndCook2015(
        n_inpt=INPUTS, n_neurons=neurons, exc=22.5, inh=120, dt=1.0, norm=78.4, theta_plus=0.05,
        inpt_shape=(1, 28, 28),
    )  # fmt: skip

    def train(x: Tensor) -> None:
        for sample in x:
            spikes = torch.rand(STEPS, 1, 1, 28, 28) < sample.view(1, 28, 28) * (RATE / 1000)
            net.run(inputs={"X": spikes.byte()}, time=STEPS)
            net.reset_state_variables()

    return train


def equal(neurons: int) -> None:
    x, w = images(2), 0.3 * torch.rand(neurons, INPUTS)
    found = []
    for way in (door("shown"), shown):
        with use(None):
            found.append(way(x, w, torch.zeros(neurons), STEPS, 0, Competing(), Learning()))
    if not all(torch.equal(one, other) for one, other in zip(*found, strict=True)):
        raise SystemExit("the compiled presentations are not those of the truth; nothing is timed")


def rate(train: Callable[[Tensor], None], x: Tensor, repeats: int) -> list[float]:
    found = []
    train(x[: max(1, len(x) // 5)])
    for _ in range(repeats):
        start = time.perf_counter()
        train(x)
        found.append(len(x) / (time.perf_counter() - start))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Images a second in training.")
    parser.add_argument("--neurons", type=int, nargs="+", default=[100, 400, 1600])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    sys.meta_path.append(StandIns())
    torch.set_num_threads(1)
    rows = []
    for neurons in chosen.neurons:
        equal(neurons)
        speeds = {"spikeloom": rate(ours(neurons), images(40_000 // neurons), chosen.repeats)}
        if peer := bindsnet(neurons):
            speeds["bindsnet"] = rate(peer, images(max(2, 1000 // neurons)), chosen.repeats)
        row = {"workload": "stdp", "neurons": neurons, "torch": torch.__version__}
        row |= {"machine": platform.processor() or platform.machine(), "threads": 1}
        row |= {name: [round(value, 2) for value in found] for name, found in speeds.items()}
        middle = {name: statistics.median(found) for name, found in speeds.items()}
        if "bindsnet" in middle:
            row["ratio"] = round(middle["spikeloom"] / middle["bindsnet"], 1)
        rows.append(row)
        print(json.dumps(row))
    if chosen.json:
        chosen.json.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
