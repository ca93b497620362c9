"""Event-driven execution against a clocked step, batch 1, at several activities.

Layers alone, with random spikes as their input and one LIF population behind: a 3x3 convolution
128 -> 128 of 16 x 16, a dense map 4096 -> 1024, token mixing of 384 channels in 32 heads over 64
tokens. And a network: 3x3 convolutions of 64, 128 (stride 2), 128, 256 (stride 2) and 256 channels
on 32 x 32 with LIF neurons, then a read-out of 10; its input and its neurons are as active as is
wanted, by the scale of the weights. T steps of one sample in a call; a row's time is that of
the call. Neurons: h[t] = v[t-1] / 2 + x[t], threshold 1, hard reset; no constant currents.

``clocked`` is the model as it is, ``packed`` the same on bits, both in float32. Results are first
compared: events in float64 must give the spikes of the clocked network in float64, all of them.
Operations per second count synapses that a spike or number reached; for the clocked columns, those
that the events would have made in its time.

    python benchmarks/events.py --seconds 10 --json events.jsonl
"""

import argparse
from pathlib import Path

import torch
from interleave import Column, in_turns, record, show
from torch import Tensor, nn

from spikeloom.deploy import compile_events, differing_spikes, infer
from spikeloom.functional import events_of, factor
from spikeloom.layers import LIF, Conv2d, Linear, OverTime, TokenMixing

PLAN = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1))


def neurons() -> LIF:
    return LIF(decay=factor(0.5))


def spikes(rate: float, steps: int, *shape: int) -> Tensor:
    return (torch.rand(steps, 1, *shape) < rate).float()


def scaled_to(rate: float, layer: nn.Module, x_seq: Tensor) -> Tensor:
    """Scale a layer's weights until neurons behind it fire at the rate; returns their spikes."""
    low, high = 0.0, 64.0
    weight = layer.module.weight
    start = weight.detach().clone()
    for _ in range(20):
        weight.copy_(start * (low + high) / 2)
        fired = neurons()(layer(x_seq))
        low, high = (
            ((low + high) / 2, high) if float(fired.mean()) < rate else (low, (low + high) / 2)
        )
    return fired


def layer(kind: str, rate: float, steps: int) -> tuple[nn.Module, Tensor]:
    made, shape = {
        "convolution": (Conv2d(128, 128, 3, padding=1, bias=False), (128, 16, 16)),
        "dense": (Linear(4096, 1024, bias=False), (4096,)),
        "token mixing": (TokenMixing(384, 64, 32), (384, 8, 8)),
    }[kind]
    x_seq = spikes(rate, steps, *shape)
    over_time = OverTime(made)
    scaled_to(rate, over_time, x_seq)
    return nn.Sequential(over_time, neurons()).eval(), x_seq


def network(rate: float, steps: int) -> tuple[nn.Module, Tensor]:
    x_seq = x = spikes(rate, steps, 3, 32, 32)
    layers: list[nn.Module] = []
    channels = 3
    for width, stride in PLAN:
        conv = OverTime(Conv2d(channels, width, 3, stride, 1, bias=False))
        x = scaled_to(rate, conv, x)
        layers += [conv, neurons()]
        channels = width
    layers += [OverTime(nn.Flatten()), OverTime(Linear(channels * 64, 10, bias=False))]
    return nn.Sequential(*layers).eval(), x_seq


def measure(what: str, rate: float, given: argparse.Namespace) -> None:
    torch.manual_seed(0)
    make = network if what == "network" else lambda *a: layer(what, *a)
    model, x_seq = make(rate, given.steps)
    shape = tuple(x_seq.shape[2:])
    exact = compile_events(model, shape)
    differing = differing_spikes(model, exact, x_seq)
    assert not any(differing.values()), differing
    fast, packed = compile_events(model, shape, dtype=torch.float32), infer_or_none(model, x_seq)
    fed = events_of(x_seq[:, 0])
    counts = exact.run(x_seq.double()).counts
    found = {"clocked": lambda: model(x_seq)}
    if packed is not None:
        found["packed"] = lambda: packed(x_seq)

    def by_events(net):
        def run():
            stream = net.stream(steps=given.steps)
            stream.feed(fed)
            stream.advance(given.steps)
            return stream

        return run

    found |= {"events, float32": by_events(fast), "events, float64": by_events(exact)}
    rows = in_turns([Column(name, run) for name, run in found.items()], seconds=given.seconds)
    for row in rows:
        row.more["million operations/s"] = counts.synaptic_operations / row.wall * 1e-3
    sent = sum(counts.spikes)
    show(
        f"{what}, {100 * rate:g} % active, T = {given.steps}: {counts.inputs:,} events in, "
        f"{sent:,} spikes, {counts.synaptic_operations:,} operations (ratio to clocked)", rows,
    )  # fmt: skip
    setting = {"what": what, "activity": rate, "T": given.steps}
    record(given.json, "events", setting, rows)


def infer_or_none(model: nn.Module, x_seq: Tensor):
    """The packed network; a map of the input alone has no bits to pack."""
    return infer(model, x_seq) if len(model) > 2 else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rates", type=float, nargs="+", default=[0.01, 0.05, 0.1, 0.2])
    parser.add_argument(
        "--what", nargs="+", default=["convolution", "dense", "token mixing", "network"]
    )
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each table")
    parser.add_argument("--threads", type=int, default=0, help="0: as torch has them")
    parser.add_argument("--json", type=Path, help="append the rows to this file")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    with torch.no_grad():
        for what in given.what:
            for rate in given.rates:
                measure(what, rate, given)


if __name__ == "__main__":
    main()
