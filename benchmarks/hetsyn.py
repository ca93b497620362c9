"""HetSyn: a training step of the network for SHD, by kernels, sweeps and naive autograd.

    spikes with 3 % density, [250, 32, 700]; HetSynLIF 700-128-64, both recurrent; read-out of 20;
    multi-Gaussian slope; shares of the classes summed from step 11 on; cross entropy; float32.

Results are compared first, in float64 on a shorter sequence: spikes equal, gradients within 1e-9.
Memory is what a step holds beyond what is there before it (weights, input), in a process
of its own. Naive autograd keeps T N O I currents, about 3.7 GB: it is run if ``--naive`` asks so.

    python benchmarks/hetsyn.py --naive --steps 5 --json hetsyn.jsonl
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from interleave import peak_bytes
from torch import Tensor
from torch.nn.functional import cross_entropy

from spikeloom.functional import MultiGaussian
from spikeloom.kernels import use
from spikeloom.models import HetSynMLP

T, N, INPUTS, CLASSES, DENSITY = 250, 32, 700, 20, 0.03
WAYS = {"cpu": None, "two_pass": "two_pass", "naive": "truth"}
MB = 1e6


def network() -> HetSynMLP:
    torch.manual_seed(0)
    slope = MultiGaussian(alpha=2.0, scale=0.5, side=0.15, stretch=6.0)
    return HetSynMLP(
        (128, 64), in_shape=(INPUTS,), num_classes=CLASSES, recurrent=True, tau=(5.0, 20.0),
        draw="uniform", decision="softmax", skip=11, surrogate=slope,
    )  # fmt: skip


def batch(steps: int, samples: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    x_seq = (torch.rand(steps, samples, INPUTS, generator=draw) < DENSITY).float()
    return x_seq, torch.arange(samples) % CLASSES


def step(net: HetSynMLP, x_seq: Tensor, y: Tensor, way: str) -> Tensor:
    net.zero_grad(set_to_none=True)
    forced = WAYS[way]
    hidden: list[Tensor] = []
    hook = net.stages.register_forward_hook(lambda *call: hidden.append(call[2].detach()))
    if forced is None:
        loss = cross_entropy(net(x_seq).sum(0), y)
    else:
        with use(forced):
            loss = cross_entropy(net(x_seq).sum(0), y)
    loss.backward()
    hook.remove()
    return hidden[0]


def compare() -> str:
    """Spikes and gradients of all ways in float64."""
    net = network().double()
    x_seq, y = batch(40, 4)
    x_seq = (x_seq + torch.roll(x_seq, 1, 2) + torch.roll(x_seq, 5, 2)).clamp(max=1)
    x_seq = torch.maximum(x_seq, torch.roll(x_seq, 50, 2))  # so that both layers fire
    found = {}
    for way in WAYS:
        spikes = step(net, x_seq.double(), y, way)
        found[way] = spikes, [p.grad.clone() for p in net.parameters() if p.grad is not None]
    spikes, grads = found["naive"]
    assert spikes.any(), "nothing fires, so there is nothing to compare"
    worst = 0.0
    for way in WAYS:
        assert torch.equal(found[way][0], spikes), f"{way}: other spikes"
        for one, other in zip(found[way][1], grads, strict=True):
            worst = max(worst, float((one - other).abs().max() / other.abs().max()))
    assert worst < 1e-9, worst
    return (
        f"{int(spikes.sum())} spikes of the last hidden layer equal, gradients within {worst:.1e}"
    )


def measure(way: str, steps: int) -> dict[str, float | str | None]:
    """Time and memory of a training step; in a process of its own."""
    net, (x_seq, y) = network(), batch(T, N)
    small = batch(12, N)
    step(net, *small, way)  # whatever is set up once
    peak = peak_bytes(lambda: step(net, x_seq, y, way))
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        step(net, x_seq, y, way)
        times.append(time.perf_counter() - start)
    grown = None if peak is None else peak / MB
    return {
        "way": way, "seconds": statistics.median(times), "least": min(times), "memory_mb": grown,
        "threads": torch.get_num_threads(),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=5, help="training steps of each way")
    parser.add_argument("--naive", action="store_true", help="naive autograd too: 4 GB of memory")
    parser.add_argument("--only", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, help="append a line for each way")
    chosen = parser.parse_args()
    if chosen.only:
        print(json.dumps(measure(chosen.only, chosen.steps)))
        return
    print(compare())
    lines = []
    for way in WAYS:
        if way == "naive" and not chosen.naive:
            continue
        command = [sys.executable, __file__, "--only", way, "--steps", str(chosen.steps)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        lines.append(found)
        memory = found["memory_mb"]
        said = "memory not known here" if memory is None else f"{memory:8.0f} MB"
        print(f"{way:>9} {found['seconds']:8.3f} s  {said}")
    if chosen.json:
        with chosen.json.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)


if __name__ == "__main__":
    main()
