"""W4: a training step of a recurrent net: fast twins, the truth, SpikingJelly if it is installed.

    spikes with 5 % density, [100, 64, 700]; Linear 700 -> 256; LIF that hears its own last spikes
    through 256 x 256 weights; Linear 256 -> 20; sum over time; cross entropy; Adam; float32. The
    neuron is that of W1.

SpikingJelly takes the input's product for all steps at once and then goes through a loop of single
steps: ``spikingjelly`` reads step t as ``x_seq[t]``, as its own multi-step forward does, whose
backward costs O(T^2); ``spikingjelly unbind`` is the fastest form of this net that we know.

Results are compared first: weights lie on a dyadic grid, so that sums of the forward round nowhere
and the logits must be equal; gradients may differ by the order of their sums. The title says how
often the hidden neurons fire.

    python benchmarks/w4_recurrent.py --seconds 20 --ref spikingjelly --json w4.jsonl
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from interleave import Column, in_turns, peak_bytes, record, saved_bytes, show
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from spikeloom.functional import Arctan, factor
from spikeloom.kernels import release, use
from spikeloom.layers import Linear, RecurrentLIF

T, N, INPUTS, HIDDEN, CLASSES, DENSITY = 100, 64, 700, 256, 20, 0.05
GRID = 2**10  # of the weights: sums of hundreds of them are exact


class Ours(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.input, self.output = Linear(INPUTS, HIDDEN), Linear(HIDDEN, CLASSES)
        self.neuron = RecurrentLIF(
            (HIDDEN,), decay=factor(0.5), detach_reset=True, surrogate=Arctan(alpha=2.0)
        )

    def weights(self) -> list[Tensor]:
        first, last = self.input, self.output
        return [first.weight, first.bias, self.neuron.weight, last.weight, last.bias]

    def hidden(self, x_seq: Tensor) -> Tensor:
        return self.neuron(self.input(x_seq))

    def forward(self, x_seq: Tensor) -> Tensor:
        return self.output(self.hidden(x_seq)).sum(0)


@dataclass(frozen=True)
class Way:
    name: str
    model: nn.Module
    forward: Callable[[Tensor], Tensor]


def by(model: nn.Module, **how: str) -> Callable[[Tensor], Tensor]:
    def forward(x_seq: Tensor) -> Tensor:
        with use(**how):
            return model(x_seq)

    return forward


def ways(start: Ours, peers: bool) -> list[Way]:
    found = []
    for name, how in {
        "truth": {"name": "truth"},
        "cpu": {"name": "cpu"},
        "cpu low": {"name": "cpu", "memory": "low"},
    }.items():
        model = Ours()
        model.load_state_dict(start.state_dict())
        found.append(Way(name, model, by(model, **how)))
    return found + (spikingjelly(start) if peers else [])


def spikingjelly(start: Ours) -> list[Way]:
    try:
        from spikingjelly.activation_based import functional, neuron, surrogate
    except ImportError:
        print("SpikingJelly is not installed: its columns are left out")
        return []

    class Theirs(nn.Module):
        def __init__(self, unbind: bool) -> None:
            super().__init__()
            self.input, self.output = nn.Linear(INPUTS, HIDDEN), nn.Linear(HIDDEN, CLASSES)
            self.recurrent = nn.Linear(HIDDEN, HIDDEN, bias=False)
            self.node = neuron.LIFNode(
                tau=2.0, decay_input=False, v_reset=0.0, surrogate_function=surrogate.ATan(2.0),
                detach_reset=True, step_mode="s",
            )  # fmt: skip
            self.unbind = unbind

        def weights(self) -> list[Tensor]:
            first, last = self.input, self.output
            return [first.weight, first.bias, self.recurrent.weight, last.weight, last.bias]

        def forward(self, x_seq: Tensor) -> Tensor:
            functional.reset_net(self)
            drive_seq = self.input(x_seq)
            steps = drive_seq.unbind(0) if self.unbind else drive_seq
            spike, spikes = torch.zeros_like(drive_seq[0]), []
            for t in range(len(steps)):
                spike = self.node(steps[t] + self.recurrent(spike))
                spikes.append(spike)
            return self.output(torch.stack(spikes)).sum(0)

    found = []
    for name, unbind in (("spikingjelly", False), ("spikingjelly unbind", True)):
        model = Theirs(unbind)
        with torch.no_grad():
            for ours, theirs in zip(model.weights(), start.weights(), strict=True):
                ours.copy_(theirs)
        found.append(Way(name, model, model))
    return found


def dyadic() -> Ours:
    """A net whose weights lie on a grid, with hidden neurons that fire now and then."""
    model = Ours()
    with torch.no_grad():
        for weight, scale in zip(model.weights(), (4.0, 0.0, 1.0, 1.0, 0.0), strict=True):
            weight.mul_(scale * GRID).round_().div_(GRID)
    return model


def check(chosen: list[Way], x_seq: Tensor, y: Tensor) -> list[Way]:
    """Those whose logits and gradients equal the truth's; says which do not."""
    want, good = None, []
    for way in chosen:
        logits = way.forward(x_seq)
        cross_entropy(logits, y).backward()
        got = logits.detach(), [p.grad.clone() for p in way.model.weights()]
        want = want or got
        pairs = zip((got[0], *got[1]), (want[0], *want[1]), strict=True)
        error = max(((ours - theirs).norm() / theirs.norm()).item() for ours, theirs in pairs)
        if not error <= 1e-5:
            print(f"left out {way.name}: results differ by {error:.1e}")
            continue
        good.append(way)
    return good


def column(way: Way, x_seq: Tensor, y: Tensor) -> Column:
    optimizer = torch.optim.Adam(way.model.parameters(), lr=0.0)  # all stay at the compared weights

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        cross_entropy(way.forward(x_seq), y).backward()
        optimizer.step()

    return Column(way.name, step)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--threads", type=int, default=0, help="0: as torch has them")
    parser.add_argument("--ref", default="truth", help="the column that ratios refer to")
    parser.add_argument("--no-peers", dest="peers", action="store_false")
    parser.add_argument("--json", type=Path, help="append the rows to this file")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    start = dyadic()
    x_seq = (torch.rand(T, N, INPUTS) < DENSITY).float()
    y = torch.randint(CLASSES, (N,))
    with torch.no_grad():
        rate = start.hidden(x_seq).mean().item()
    good = check(ways(start, given.peers), x_seq, y)
    good.sort(key=lambda way: way.name != given.ref)
    rows = in_turns([column(way, x_seq, y) for way in good], seconds=given.seconds)
    for row, way in zip(rows, good, strict=True):
        but = (x_seq, y, *way.model.parameters())
        row.more["saved MB"] = saved_bytes(lambda way=way: way.forward(x_seq), but) / 1e6
        release()
        peak = peak_bytes(column(way, x_seq, y).step)
        row.more["peak MB"] = None if peak is None else peak / 1e6
    show(f"W4, hidden neurons fire {rate:.1%} of the time (ratio to {rows[0].name})", rows)
    record(given.json, "W4", {"density": DENSITY, "rate": rate}, rows)


if __name__ == "__main__":
    main()
