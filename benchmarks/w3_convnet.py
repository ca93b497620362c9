"""W3: a training step of a spiking convolutional net, against SpikingJelly if it is installed.

    An image [N, 3, 32, 32] repeated T times; 3x3 convolution, batch norm and LIF at 64, 64, pool,
    128, 128, pool, 256, 256, pool; linear read-out of 10; cross entropy of the mean over time; SGD
    with momentum. h[t] = v[t-1] / 2 + x[t], threshold 1, hard reset left out of the gradient,
    arctan slope with ds/dh = 1 / (1 + (pi (h - 1))^2). bf16: autocast, parameters in float32.

Every column is compared first with the plain layers, from the same weights, on single images: its
loss and gradient must agree on one of them. On all they cannot, since now and then a spike lies so
near its threshold that the order of a sum turns it, and the layers above make much of little. In
bf16 many spikes turn: there the loss is only shown. Memory is measured for each column in a process
of its own: the resident high-water mark of two steps above the level before them (a tiny step comes
first, so that code and threads are there).

    python benchmarks/w3_convnet.py --ref spikingjelly --precision fp32 --json w3.jsonl
"""

import argparse
import contextlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from interleave import Column, in_turns, peak_bytes, record, saved_bytes, show
from torch import Tensor, nn
from torch.nn import functional as F

from spikeloom.functional import Arctan, factor
from spikeloom.functional.encode import constant
from spikeloom.kernels import release, use
from spikeloom.layers import LIF, BatchNorm, Conv2d, MaxPool2d, OverTime, Stack

WIDTHS = ((64, 64), (128, 128), (256, 256))
CLOSE = 1e-4  # of loss and gradient, relative, in norm
TRIES = 8  # images
PLAIN = contextlib.nullcontext


@dataclass(frozen=True)
class Way:
    """A net, how an image becomes its input, and what holds during a step."""

    name: str
    build: Callable[[], nn.Module]
    repeat: Callable[[Tensor, int], Tensor]
    before: Callable[[nn.Module], None] = lambda model: None
    setting: Callable[[], contextlib.AbstractContextManager[None]] = PLAIN
    channels_last: bool = True
    compiled: bool = False


def ours() -> nn.Module:
    layers: list[nn.Module] = []
    channels = 3
    for widths in WIDTHS:
        for width in widths:
            layers += [OverTime(Conv2d(channels, width, 3, padding=1, bias=False))]
            lif = LIF(decay=factor(0.5), detach_reset=True, surrogate=Arctan(2.0))
            layers += [BatchNorm(width), lif]
            channels = width
        layers.append(OverTime(MaxPool2d(2)))
    return Stack(*layers, OverTime(nn.Flatten()), OverTime(nn.Linear(16 * channels, 10)))


def spikingjelly() -> nn.Module:
    from spikingjelly.activation_based import functional, layer, neuron, surrogate

    layers: list[nn.Module] = []
    channels = 3
    for widths in WIDTHS:
        for width in widths:
            layers += [layer.Conv2d(channels, width, 3, padding=1, bias=False)]
            node = neuron.LIFNode(
                tau=2.0, decay_input=False, v_reset=0.0, surrogate_function=surrogate.ATan(2.0),
                detach_reset=True,
            )  # fmt: skip
            layers += [layer.BatchNorm2d(width), node]
            channels = width
        layers.append(layer.MaxPool2d(2))
    net = nn.Sequential(*layers, layer.Flatten(), layer.Linear(16 * channels, 10))
    functional.set_step_mode(net, "m")
    return net


def reset(model: nn.Module) -> None:
    from spikingjelly.activation_based import functional

    functional.reset_net(model)


def copied(x: Tensor, steps: int) -> Tensor:
    return x.unsqueeze(0).repeat(steps, 1, 1, 1, 1)


def ways(peers: bool, compile_: bool = False) -> list[Way]:
    found = [
        Way("cpu", ours, constant),
        Way("cpu memory off", ours, constant, setting=lambda: use(memory="off")),
        Way("cpu contiguous", ours, constant, channels_last=False),
        Way("cpu plain", lambda: nn.Sequential(*plain(ours())), constant),
    ]
    if peers and importlib.util.find_spec("spikingjelly"):
        found += [
            Way("spikingjelly", spikingjelly, copied, reset, channels_last=False),
            Way("spikingjelly channels last", spikingjelly, copied, reset),
        ]
        compiled = "spikingjelly compiled, channels last"
        found += [Way(compiled, spikingjelly, copied, reset, compiled=True)] if compile_ else []
    return found


def plain(net: nn.Module) -> list[nn.Module]:
    """The same layers, of torch where there are such: only the neurons are kernels."""
    found: list[nn.Module] = []
    for layer in net:
        inner = layer.module if isinstance(layer, OverTime) else None
        if isinstance(inner, MaxPool2d):
            layer = OverTime(nn.MaxPool2d(2))
        elif isinstance(inner, Conv2d):
            shape = inner.in_channels, inner.out_channels, 3
            layer = OverTime(nn.Conv2d(*shape, padding=1, bias=False))
        found.append(layer)
    return found


class Step:
    """One training step of a way."""

    def __init__(self, way: Way, precision: str, T: int) -> None:
        self.way, self.T, self.half = way, T, precision == "bf16"
        self.model = way.build()
        torch.manual_seed(0)
        with torch.no_grad():
            for parameter in self.model.parameters():
                if parameter.dim() > 1:
                    parameter.normal_(0, (2 / parameter[0].numel()) ** 0.5)
        if way.channels_last:
            self.model.to(memory_format=torch.channels_last)
        if way.compiled:
            self.model.compile(dynamic=False)
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.01, momentum=0.9)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        self.way.before(self.model)
        layout = torch.channels_last if self.way.channels_last else torch.contiguous_format
        x_seq = self.way.repeat(x.contiguous(memory_format=layout), self.T)
        with self.way.setting(), torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            return F.cross_entropy(self.model(x_seq).float().mean(0), y)

    def gradient(self, x: Tensor, y: Tensor) -> tuple[float, Tensor]:
        loss = self.forward(x, y)
        loss.backward()
        found = torch.cat([p.grad.flatten() for p in self.model.parameters()])
        self.optimizer.zero_grad()
        return loss.item(), found

    def __call__(self, x: Tensor, y: Tensor) -> None:
        self.optimizer.zero_grad()
        self.forward(x, y).backward()
        self.optimizer.step()


def check(chosen: list[Way], given: argparse.Namespace) -> list[Way]:
    """Those whose first step equals that of the plain layers; says which do not."""
    reference = next(way for way in ways(False) if way.name == "cpu plain")
    pairs = [images(1, seed) for seed in range(TRIES)]
    want = [Step(reference, given.precision, given.steps).gradient(*pair) for pair in pairs]
    good = []
    for way in chosen:
        if way.compiled:  # the same layers again; compiling them for single images takes minutes
            good.append(way)
            continue
        error = min(
            distance(Step(way, given.precision, given.steps).gradient(*pair), wanted)
            for pair, wanted in zip(pairs, want, strict=True)
        )
        print(f"{way.name:28} loss and gradient within {error:.0e} of the plain layers'")
        if error <= CLOSE or given.precision == "bf16":
            good.append(way)
        else:
            print(f"left out {way.name}")
    return good


def distance(got: tuple[float, Tensor], want: tuple[float, Tensor]) -> float:
    (loss, found), (wanted_loss, wanted) = got, want
    gradient = ((found - wanted).norm() / wanted.norm()).item()
    return max(abs(loss - wanted_loss) / wanted_loss, gradient)


def images(batch: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, 3, 32, 32, generator=generator)
    return x, torch.randint(0, 10, (batch,), generator=generator)


def memory(way: Way, given: argparse.Namespace) -> dict[str, float | None]:
    """Megabytes kept for the backward, and at most; for a process of its own."""
    step = Step(way, given.precision, given.steps)
    step(*images(1))
    x, y = images(given.batch)
    peak = peak_bytes(lambda: [step(x, y) for _ in range(2)])
    saved = saved_bytes(lambda: step.forward(x, y), tuple(step.model.parameters()))
    return {"saved MB": saved / 1e6, "peak MB": None if peak is None else peak / 1e6}


def memory_apart(way: Way, given: argparse.Namespace) -> dict[str, float | None]:
    command = [
        sys.executable, __file__, "--memory-of", way.name, "--precision", given.precision,
        "--steps", str(given.steps), "--batch", str(given.batch),
    ]  # fmt: skip
    if given.threads:
        command += ["--threads", str(given.threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(given: argparse.Namespace) -> None:
    x, y = images(given.batch)
    chosen = [
        way for way in ways(given.peers, given.compile) if not given.only or way.name in given.only
    ]
    good = check(chosen, given)
    good = sorted(good, key=lambda way: way.name != given.ref)
    columns = []
    for way in good:
        step = Step(way, given.precision, given.steps)
        columns.append(Column(way.name, lambda step=step: step(x, y)))
    rows = in_turns(columns, seconds=given.seconds)
    release()
    for row, way in zip(rows, good, strict=True):
        if not way.compiled:
            row.more |= memory_apart(way, given)
    setting = {"T": given.steps, "batch": given.batch, "precision": given.precision}
    show(f"W3, {setting} (ratio to {rows[0].name})", rows)
    record(given.json, "W3", setting, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--threads", type=int, default=0, help="0: as torch has them")
    parser.add_argument("--ref", default="cpu plain", help="the column that ratios refer to")
    parser.add_argument("--only", nargs="+", help="columns to time")
    parser.add_argument("--no-peers", dest="peers", action="store_false")
    parser.add_argument("--compile", action="store_true", help="time the compiled peer too")
    parser.add_argument("--json", type=Path, help="append the rows to this file")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    if given.memory_of:
        way = next(way for way in ways(True) if way.name == given.memory_of)
        print(json.dumps(memory(way, given)))
    else:
        measure(given)


if __name__ == "__main__":
    main()
