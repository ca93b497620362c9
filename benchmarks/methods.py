"""What each method costs beside plain BPTT: time and memory of a training step, in one run.

Spiking VGG-9 at quarter width, [T, N, 3, 32, 32] made up on the spot, batch norm, LIF (threshold
1/2, keep 1/4), cross-entropy of the mean, SGD with momentum, float32. A step is what the loop
does for a batch: callbacks, learner, optimizer. Dspike's search is a row of its own: it comes
once an epoch.

python benchmarks/methods.py --steps 4 --batch 64 --seconds 30 --json methods.jsonl
"""

import argparse
import multiprocessing
from functools import partial
from pathlib import Path
from typing import Any

import torch
from interleave import Column, in_turns, peak_bytes, record, show

import spikeloom.callbacks
import spikeloom.losses
import spikeloom.models  # noqa: F401 they register
from spikeloom.kernels import release
from spikeloom.learning import Batch, Progress
from spikeloom.registry import find

SHAPE, CLASSES = (3, 32, 32), 10
LIF = {"v_threshold": 0.5, "strict": True}
START = Progress(epoch=0, epochs=10, update=0, updates=1000)
METHODS: dict[str, dict[str, Any]] = {
    "bptt": {},
    "dspike": {"callback": ("dspike", {"weights": 128})},
    "esg": {"callback": ("esg", {})},
    "im_loss": {"callback": ("im_loss", {})},
    "tebn": {"norm": "tebn"},
    "tdbn": {"norm": "tdbn"},
    "ltmd threshold": {"neuron": ("ltmd", {})},
    "ltmd": {"neuron": ("ltmd", {}), "head": ("ltmd", {}), "loss": "ltmd"},
    "shortcut_bp": {"learner": ("shortcut_bp", {})},
    "eicil J": {"learner": ("eicil", {"cycle": "J"})},
    "eicil I": {"learner": ("eicil", {"cycle": "I"})},
}


class Training:
    """A model with a method, and one batch for all of them."""

    def __init__(self, name: str, T: int, N: int) -> None:
        method = METHODS[name]
        torch.manual_seed(0)
        neuron, options = method.get("neuron", ("lif", LIF))
        norm = {"tebn": {"T": T}, "tdbn": {"v_threshold": 0.5}}.get(method.get("norm", ""), {})
        parts: dict[str, Any] = {
            "neuron": partial(find("neuron", neuron).build, **options),
            "norm": partial(find("norm", method.get("norm", "bn")).build, **norm),
        }
        if "head" in method:
            head, options = method["head"]
            parts["head"] = partial(find("head", head).build, **options)
        model = find("model", "spiking_vgg9").build(
            in_shape=SHAPE, num_classes=CLASSES, width=0.25, **parts
        )
        learner, options = method.get("learner", ("bptt", {}))
        self.learner = find("learner", learner).build(**options)
        self.model = self.learner.prepare(model).to(memory_format=torch.channels_last).train()
        self.loss = find("loss", method.get("loss", "rate_ce")).build()
        self.callback = None
        if "callback" in method:
            callback, options = method["callback"]
            self.callback = find("callback", callback).build(**options)
            self.callback.apply(self.model)
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.01, momentum=0.9)
        x = torch.rand(N, *SHAPE).contiguous(memory_format=torch.channels_last)
        self.batch = Batch(x.expand(T, *x.shape), torch.randint(CLASSES, (N,)))

    def step(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        if self.callback is None:
            metrics = self.learner.step(self.model, self.batch, self.loss, START)
        else:
            with self.callback.term(self.model) as term:
                metrics = self.learner.step(self.model, self.batch, self._with(term), START)
        self.optimizer.step()
        with torch.no_grad():
            for name, change in metrics.increments.items():
                self.model.get_parameter(name).add_(change)

    def _with(self, term: Any) -> Any:
        def loss(logits_seq: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            extra = term(self.batch, logits_seq)
            value = self.loss(logits_seq, y)
            return value if extra is None else value + extra

        return loss

    def search(self) -> None:
        assert self.callback is not None
        self.callback.epoch(self.model, lambda n: self.batch, self.loss, START)


def peak(name: str, T: int, N: int, threads: int) -> int | None:
    torch.set_num_threads(threads)
    training = Training(name, T, N)
    training.step()
    release()
    return peak_bytes(training.step)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json", type=Path, help="append the rows to this file")
    given = parser.parse_args()
    size = given.steps, given.batch
    made = {name: Training(name, *size) for name in METHODS}
    columns = [Column(name, training.step) for name, training in made.items()]
    rows = in_turns(columns, seconds=given.seconds)
    (search,) = in_turns([Column("dspike's search", made["dspike"].search)], seconds=0, least=3)
    search.ratio = rows[0].wall / search.wall
    rows.append(search)
    fresh = multiprocessing.get_context("spawn")
    for row in rows:
        if row.name in METHODS:
            with fresh.Pool(1) as pool:
                found = pool.apply(peak, (row.name, *size, torch.get_num_threads()))
            row.more["peak MB"] = None if found is None else found / 1e6
    show(f"methods, T = {size[0]}, batch {size[1]} (ratio to {rows[0].name})", rows)
    record(given.json, "methods", {"T": size[0], "batch": size[1]}, rows)


if __name__ == "__main__":
    main()
