"""Long sequences: the memory and the time of a training step for each memory setting.

    700 inputs (5 % spikes), two hidden layers of 128 LIF neurons, 20 classes; T = 256, batch 256;
    cross-entropy of the mean output; Adam; float32.

Losses and gradients of every setting are compared with those of ``off`` first. Memory is the most
that is resident during a step beyond the level before it (weights, inputs, optimizer), after one
step that makes the optimizer's state, in a process of its own.

    python benchmarks/long_sequences.py --seconds 20 --json long.jsonl
"""

import argparse
import multiprocessing
from pathlib import Path

import torch
from interleave import Column, in_turns, peak_bytes, record, show
from torch import Tensor, nn
from torch.nn import functional as F

from spikeloom.functional import Arctan
from spikeloom.kernels import release, use
from spikeloom.layers import LIF, OverTime, unrolled

SETTINGS = ("off", "auto", "rounded", "low")
TOLERANCE = {"rounded": 1e-2}  # relative, in norm; 1e-5 for the exact ones


def network() -> nn.Module:
    torch.manual_seed(0)
    neuron = {"tau": 2.0, "decay_input": False, "detach_reset": True, "surrogate": Arctan(2.0)}
    return nn.Sequential(
        OverTime(nn.Linear(700, 128)), LIF(**neuron),
        OverTime(nn.Linear(128, 128)), LIF(**neuron),
        OverTime(nn.Linear(128, 20)),
    )  # fmt: skip


class Training:
    """A network and its optimizer, with inputs that are the same for every setting."""

    def __init__(self, memory: str, T: int, N: int) -> None:
        self.memory, self.net = memory, network()
        self.optimizer = torch.optim.Adam(self.net.parameters())
        generator = torch.Generator().manual_seed(1)
        self.x_seq = (torch.rand(T, N, 700, generator=generator) < 0.05).float()
        self.y = torch.randint(20, (N,), generator=generator)

    def gradients(self) -> tuple[float, Tensor]:
        self.optimizer.zero_grad(set_to_none=True)
        with use(memory=self.memory):
            loss = F.cross_entropy(unrolled(self.net, self.x_seq).mean(0), self.y)
            loss.backward()
        return float(loss.detach()), torch.cat([p.grad.flatten() for p in self.net.parameters()])

    def step(self) -> None:
        self.gradients()
        self.optimizer.step()


def same(settings: tuple[str, ...], T: int, N: int) -> list[str]:
    """The settings whose loss and gradients are those of the first."""
    want, good = None, []
    for memory in settings:
        loss, grad = Training(memory, T, N).gradients()
        want = want or (loss, grad)
        error = float((grad - want[1]).norm() / want[1].norm())
        if abs(loss - want[0]) > 1e-5 or not error <= TOLERANCE.get(memory, 1e-5):
            print(f"left out {memory}: loss {loss} against {want[0]}, gradient off by {error:.1e}")
            continue
        good.append(memory)
    return good


def peak(memory: str, T: int, N: int, threads: int) -> int | None:
    torch.set_num_threads(threads)
    training = Training(memory, T, N)
    training.step()
    release()
    return peak_bytes(training.step)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=256)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--json", type=Path, help="append the rows to this file")
    given = parser.parse_args()
    size = given.steps, given.batch
    good = same(SETTINGS, *size)
    rows = in_turns([Column(m, Training(m, *size).step) for m in good], seconds=given.seconds)
    fresh = multiprocessing.get_context("spawn")
    for row in rows:
        with fresh.Pool(1) as pool:
            found = pool.apply(peak, (row.name, *size, torch.get_num_threads()))
        row.more["peak MB"] = None if found is None else found / 1e6
    show(f"long sequences, T = {size[0]}, batch {size[1]} (ratio to {rows[0].name})", rows)
    record(given.json, "long", {"T": size[0], "batch": size[1]}, rows)


if __name__ == "__main__":
    main()
