"""Rate-based back-propagation against BPTT: time and memory of a training step for T = 2, 4, 8, 16.

Spiking VGG-11 at quarter width, one image batch [N, 3, 32, 32] repeated T times, batch norm over T
and N, LIF (keep 0.2, soft reset left out of the gradient), cross-entropy of the mean, SGD with
momentum, float32. Each way and T is a process of its own, which also times the forward alone; what
is left of a step is called backward. Before that, in float64 and with fixed norm statistics,
all ways must agree on the loss, and on the gradient of the last layer (T times as large as rate_bp
has it), where the method is exact.

    python benchmarks/rate_bp.py --batch 64 --seconds 20 --json rate.jsonl --plot rate.svg
"""

import argparse
import multiprocessing
from functools import partial
from pathlib import Path
from typing import Any

import torch
from interleave import Column, Row, in_turns, peak_bytes, record, show
from matplotlib.figure import Figure

import spikeloom.models  # noqa: F401 they register
from spikeloom.functional import Sigmoid, encode, factor
from spikeloom.kernels import release
from spikeloom.layers import LIF, BatchNorm
from spikeloom.learning import Batch, Learner, Progress
from spikeloom.learning.rate_passes import Simulation
from spikeloom.losses.rate import RateCrossEntropy
from spikeloom.registry import find

SHAPE, CLASSES = (3, 32, 32), 10
START = Progress(epoch=0, epochs=1, update=0, updates=1)
WAYS: dict[str, dict[str, Any]] = {
    "bptt": {"name": "bptt"},
    "multi": {"name": "rate_bp", "steps": "multi"},
    "single": {"name": "rate_bp", "steps": "single"},
}
NEURON = {
    "decay": factor(0.2), "reset": "soft", "detach_reset": True, "surrogate": Sigmoid(4.0),
}  # fmt: skip
CLOSE = 1e-9  # relative, in norm


class Training:
    """A model with a learner, and one batch for all of them."""

    def __init__(self, way: str, T: int, N: int) -> None:
        torch.manual_seed(0)
        name, options = WAYS[way]["name"], {k: v for k, v in WAYS[way].items() if k != "name"}
        self.way, self.learner = way, make(name, options)
        self.model = find("model", "spiking_vgg11").build(
            in_shape=SHAPE, num_classes=CLASSES, width=0.25, neuron=partial(LIF, **NEURON),
            norm=BatchNorm,
        ).to(memory_format=torch.channels_last).train()  # fmt: skip
        self.learner.prepare(self.model)
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.01, momentum=0.9)
        x = torch.rand(N, *SHAPE).contiguous(memory_format=torch.channels_last)
        self.batch = Batch(encode.constant(x, T), torch.randint(CLASSES, (N,)))

    def step(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.learner.step(self.model, self.batch, RateCrossEntropy(), START)
        self.optimizer.step()

    def forward(self) -> None:
        """The forward pass; of rate_bp the simulation and the pass on rates."""
        x_seq = self.batch.x_seq
        if self.way == "bptt":
            self.model(x_seq)
            return
        simulation = Simulation(self.model)
        simulation.run(x_seq, len(x_seq) if self.way == "multi" else 1)
        simulation.rates(x_seq)

    def gradients(self) -> tuple[float, torch.Tensor]:
        """The loss, and the gradient of the last layer as BPTT scales it, in float64."""
        x_seq = self.batch.x_seq[0].double().expand(self.batch.x_seq.shape)
        model, norms = self.model.double(), []
        for module in model.modules():
            if isinstance(module, BatchNorm):
                norms.append(module)
                module.momentum = 1.0
        with torch.no_grad():
            model(x_seq)  # so that the running statistics are those of the batch
        for norm in norms:
            norm.eval()
        metrics = self.learner.step(model, Batch(x_seq, self.batch.y), RateCrossEntropy(), START)
        last = list(model.parameters())[-2].grad
        assert last is not None
        return float(metrics.loss), last * (1 if self.way == "bptt" else len(x_seq))


def make(name: str, options: dict[str, Any]) -> Learner:
    learner: Learner = find("learner", name).build(**options)
    return learner


def check(T: int, N: int) -> None:
    """Stop unless all ways agree."""
    want, reference = Training("bptt", T, N).gradients()
    for way in WAYS:
        loss, grad = Training(way, T, N).gradients()
        apart = float((grad - reference).norm() / reference.norm())
        if abs(loss - want) > CLOSE * want or not apart <= CLOSE:
            raise SystemExit(
                f"{way}, T = {T}: loss {loss} against {want}, gradient off {apart:.1e}"
            )


def measured(way: str, T: int, N: int, seconds: float, threads: int) -> Row:
    torch.set_num_threads(threads)
    training = Training(way, T, N)
    training.step()
    release()
    peak = peak_bytes(training.step)
    columns = [Column(way, training.step), Column("forward", training.forward)]
    row, forward = in_turns(columns, seconds=seconds, least=3)
    row.ratio = 1.0
    row.more |= {
        "forward ms": forward.wall,
        "backward ms": row.wall - forward.wall,
        "peak MB": None if peak is None else peak / 1e6,
    }
    return row


def plot(found: dict[int, list[Row]], path: Path) -> None:
    """Memory, backward and whole step against T."""
    figure = Figure(figsize=(9.0, 2.8), layout="constrained")
    what = {
        "peak memory, MB": lambda row: row.more["peak MB"],
        "backward, ms": lambda row: row.more["backward ms"],
        "training step, ms": lambda row: row.wall,
    }
    for axes, (title, value) in zip(figure.subplots(1, 3), what.items(), strict=True):
        for place, way in enumerate(WAYS):
            axes.plot(list(found), [value(rows[place]) for rows in found.values()], "o-", label=way)
        axes.set(title=title, xlabel="T", xticks=list(found), ylim=(0, None))
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, nargs="+", default=[2, 4, 8, 16])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json", type=Path, help="append the rows to this file")
    parser.add_argument("--plot", type=Path, help="write an SVG or PNG of all T")
    given = parser.parse_args()
    fresh, found = multiprocessing.get_context("spawn"), {}
    for T in given.steps:
        check(T, given.batch)
        rows = []
        for way in WAYS:
            with fresh.Pool(1) as pool:
                size = T, given.batch, given.seconds, torch.get_num_threads()
                rows.append(pool.apply(measured, (way, *size)))
        for row in rows:
            row.ratio = rows[0].wall / row.wall
        found[T] = rows
        show(f"rate_bp, T = {T}, batch {given.batch} (ratio to {rows[0].name})", rows)
        record(given.json, "rate_bp", {"T": T, "batch": given.batch}, rows)
    if given.plot:
        plot(found, given.plot)


if __name__ == "__main__":
    main()
