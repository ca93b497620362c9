"""Spike-time gradients of a layer, forward and backward: kernel, truth, and plain PyTorch.

The current of the first layer of fashion_mnist_time_based, [5, 50, 32, 28, 28], one threshold a
channel, channels last, float32; and the training step of that whole network. ``plain`` is what one
writes with autograd alone: a loop over steps whose spikes carry both slopes by detached terms.

Results are compared first: spikes and gradients of kernel and truth must be equal, those of
``plain`` close.

    python benchmarks/event_bp.py --seconds 20 --json event_bp.jsonl
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from interleave import Column, in_turns, record, show
from torch import Tensor

from spikeloom.functional import timed
from spikeloom.kernels import door, use
from spikeloom.learning import Batch, Progress
from spikeloom.losses import CountPlus
from spikeloom.registry import find
from spikeloom.run.config import load
from spikeloom.run.task import network

T, N, SHAPE = 5, 50, (32, 28, 28)
TAUS = {"tau_m": 5.0, "tau_s": 3.0, "tau_grad": 2.5}
CLIP, LARGEST = 4.0, 123456789.0
START = Progress(epoch=0, epochs=1, update=0, updates=1)
Run = Callable[..., Tensor]


def plain(x_seq: Tensor, link_seq: Tensor, *, v_threshold: Tensor) -> Tensor:
    """The same with autograd: s plus potential / du and filtered link / q, without their values."""
    keep_m, keep_s, keep_g = (1 - 1 / tau for tau in TAUS.values())
    gain = TAUS["tau_m"] / (TAUS["tau_m"] - TAUS["tau_s"])
    a = b = q = before = torch.zeros_like(x_seq[0])
    spikes = []
    for x, i in zip(x_seq.unbind(), link_seq.unbind(), strict=True):
        a, b, q = keep_m * (a + x), keep_s * (b + x), keep_g * (q + x.detach() + i)
        u = gain * (a - b)
        with torch.no_grad():
            s = (u >= v_threshold).float()
            per_du = s * (u - before).reciprocal().clamp(0, CLIP)
            per_q = s * q.reciprocal().clamp(0, LARGEST)
        carried = u * per_du + q * per_q
        spikes.append(s + carried - carried.detach())
        stays = 1 - s
        a, b, q, before = a * stays, b * stays, q * stays, (u * stays).detach()
    return torch.stack(spikes)


class Layer:
    """One current, one threshold a channel, and what comes back from the layers above."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)

        def drawn() -> Tensor:
            x = torch.randn((T * N, *SHAPE), generator=generator)
            return x.contiguous(memory_format=torch.channels_last).unflatten(0, (T, N))

        self.x_seq = (drawn() + 0.4).requires_grad_()
        self.link_seq = torch.zeros_like(self.x_seq).requires_grad_()
        self.g_seq = drawn()
        self.threshold = 0.5 + torch.rand((SHAPE[0], 1, 1), generator=generator)

    def step(self, run: Run) -> tuple[Tensor, Tensor, Tensor]:
        out = run(self.x_seq, self.link_seq, v_threshold=self.threshold)
        of_weights, of_inputs = torch.autograd.grad(out, (self.x_seq, self.link_seq), self.g_seq)
        return out.detach(), of_weights, of_inputs


def kernel(x_seq: Tensor, link_seq: Tensor, *, v_threshold: Tensor) -> Tensor:
    with use("cpu"):
        spike_seq: Tensor = door("timed")(x_seq, link_seq, v_threshold=v_threshold, **TAUS)
    return spike_seq


def truth(x_seq: Tensor, link_seq: Tensor, *, v_threshold: Tensor) -> Tensor:
    return timed(x_seq, link_seq, v_threshold=v_threshold, **TAUS)


def compare(layer: Layer) -> float:
    """Share of spikes, once all three agree."""
    want, ours, theirs = (layer.step(run) for run in (truth, kernel, plain))
    assert all(torch.equal(a, b) for a, b in zip(want, ours, strict=True))
    for a, b in zip(want, theirs, strict=True):
        # Where the clips join values of very different size, sums in another order round.
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
    return float(want[0].mean())


def training() -> Callable[[], None]:
    """A step of the learner on the network of the recipe, images made up."""
    torch.manual_seed(0)
    config = load("fashion_mnist_time_based")
    learner = find("learner", "event_bp").build()
    model = learner.prepare(network(config, (1, 28, 28), 10))
    model = model.to(memory_format=torch.channels_last).train()
    x = torch.rand(N, 1, 28, 28).contiguous(memory_format=torch.channels_last)
    batch = Batch(x.expand(T, *x.shape), torch.randint(10, (N,)))

    def step() -> None:
        model.zero_grad()
        learner.step(model, batch, CountPlus(), START)

    return step


def forced(name: str, step: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        with use(name if name == "truth" else None):
            step()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json", type=Path, help="append the rows to this file")
    given = parser.parse_args()
    layer = Layer()
    rate = compare(layer)
    runs: dict[str, Run] = {"plain": plain, "truth": truth, "kernel": kernel}
    columns = [Column(name, lambda run=run: layer.step(run)) for name, run in runs.items()]
    rows = in_turns(columns, seconds=given.seconds)
    for row in rows:
        row.more["sequences/s"] = N / row.wall * 1e3
    show(f"event_bp layer, [{T}, {N}, *{SHAPE}], {100 * rate:.0f} % fire (ratio to plain)", rows)
    record(given.json, "event_bp", {"what": "layer", "rate": rate}, rows)
    step = training()
    columns = [Column(f"step, {name}", forced(name, step)) for name in ("truth", "kernel")]
    rows = in_turns(columns, seconds=given.seconds, least=3)
    show("event_bp training step (ratio to the truth)", rows)
    record(given.json, "event_bp", {"what": "step"}, rows)


if __name__ == "__main__":
    main()
