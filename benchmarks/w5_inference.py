"""W5: latency of a spiking VGG at batch 1: packed, plain, and SpikingJelly's if it is installed.

One image [1, 3, 32, 32] repeated T = 4 times; conv3x3 (no bias) + BatchNorm + LIF at 64, 64,
max-pool 2, 128, 128, pool, 256, 256, pool; Linear 4096 -> 10; float32, in evaluation. The neuron:
h[t] = v[t-1] / 2 + x[t], threshold 1, hard reset. Weights are random; the bias of every norm is set
so that its neurons fire at the wanted rate, and the rates measured are printed.

Results are compared first: every column must give the logits of the plain model.

    python benchmarks/w5_inference.py --rates 0.2 0.08 0.04 --ref spikingjelly --json w5.jsonl
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from interleave import Column, in_turns, record, show
from torch import Tensor, nn

from spikeloom.deploy import infer
from spikeloom.functional import encode, factor
from spikeloom.kernels import use
from spikeloom.layers import LIF, BatchNorm, OverTime

PLAN = (64, 64, "P", 128, 128, "P", 256, 256, "P")
TOLERANCE = 1e-4
STEPS = 4


def network(rate: float, x_seq: Tensor) -> tuple[nn.Sequential, list[float]]:
    """The network, and the rates of its neurons on the input."""
    layers: list[nn.Module] = []
    rates, c = [], 3
    for item in PLAN:
        if item == "P":
            layers.append(OverTime(nn.MaxPool2d(2)))
        else:
            conv = nn.Conv2d(c, int(item), 3, padding=1, bias=False)
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
            norm, neurons = BatchNorm(int(item), momentum=1.0), LIF(decay=factor(0.5))
            rates.append(set_rate(rate, conv, norm, neurons, x_seq))
            layers += [OverTime(conv), norm, neurons]
            c = int(item)
        x_seq = nn.Sequential(*layers[-3 if item != "P" else -1 :])(x_seq)
    layers += [OverTime(nn.Flatten()), OverTime(nn.Linear(4096, 10))]
    return nn.Sequential(*layers).eval(), rates


def set_rate(rate: float, conv: nn.Conv2d, norm: BatchNorm, neurons: LIF, x_seq: Tensor) -> float:
    """Shifts the norm's output until the neurons fire at the rate; returns the one reached."""
    current = OverTime(conv)(x_seq)
    norm(current)
    norm.eval()
    low, high = -4.0, 4.0
    for _ in range(20):
        nn.init.constant_(norm.bias, (low + high) / 2)
        reached = float(neurons(norm(current)).mean())
        low, high = ((low + high) / 2, high) if reached < rate else (low, (low + high) / 2)
    return reached


def spikingjelly(model: nn.Sequential) -> Callable[[Tensor], Tensor] | None:
    """The same network of SpikingJelly's layers, with the same weights."""
    try:
        from spikingjelly.activation_based import functional, layer, neuron
    except ImportError:
        print("SpikingJelly is not installed: its columns are left out")
        return None
    theirs: list[nn.Module] = []
    for ours in model:
        inner = ours.module if isinstance(ours, OverTime) else ours
        if isinstance(inner, nn.Conv2d):
            made = layer.Conv2d(inner.in_channels, inner.out_channels, 3, padding=1, bias=False)
        elif isinstance(inner, BatchNorm):
            made = layer.BatchNorm2d(inner.channels)
        elif isinstance(inner, LIF):
            made = neuron.LIFNode(tau=2.0, decay_input=False, v_reset=0.0)
        elif isinstance(inner, nn.MaxPool2d):
            made = layer.MaxPool2d(2)
        elif isinstance(inner, nn.Flatten):
            made = layer.Flatten()
        else:
            made = layer.Linear(inner.in_features, inner.out_features)
        if not isinstance(inner, LIF):
            made.load_state_dict(inner.state_dict(), strict=False)
        theirs.append(made)
    net = nn.Sequential(*theirs).eval()
    functional.set_step_mode(net, "m")

    def forward(x_seq: Tensor) -> Tensor:
        functional.reset_net(net)
        return net(x_seq)

    return forward


def columns(
    model: nn.Sequential, x_seq: Tensor, given: argparse.Namespace
) -> dict[str, Callable[[], Tensor]]:
    packed, dense = infer(model, x_seq), infer(model, x_seq, break_even=0.0)
    if given.plan:
        print(packed)
    found = {
        "model": lambda: model(x_seq),
        "packed": lambda: packed(x_seq),
        "packed, all dense": lambda: dense(x_seq),
    }
    with use("truth"):
        truth = packed(x_seq)
    assert (truth - model(x_seq)).abs().max() <= TOLERANCE
    peer = spikingjelly(model) if given.peers else None
    if peer is not None:
        theirs = x_seq.contiguous()
        found["spikingjelly"] = lambda: peer(theirs)
        if given.compile:
            fast = torch.compile(peer, dynamic=False)
            found["spikingjelly + compile"] = lambda: fast(theirs)
    want = model(x_seq)
    for name, run in list(found.items()):
        error = float((run() - want).abs().max())
        if not error <= TOLERANCE:
            print(f"left out {name}: its logits are off by {error:.1e}")
            del found[name]
    return found


def measure(rate: float, given: argparse.Namespace) -> None:
    torch.manual_seed(0)
    image = torch.randn(given.batch, 3, 32, 32)
    x_seq = encode.constant(image, STEPS)
    model, rates = network(rate, x_seq)
    found = columns(model, x_seq, given)
    order = sorted(found, key=lambda name: name != given.ref)
    rows = in_turns([Column(name, found[name]) for name in order], seconds=given.seconds)
    reached = ", ".join(f"{100 * r:.1f}" for r in rates)
    show(f"W5, batch {given.batch}, rates {reached} % (ratio to {rows[0].name})", rows)
    record(given.json, "W5", {"rate": rate, "batch": given.batch, "T": STEPS}, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rates", type=float, nargs="+", default=[0.2, 0.08, 0.04])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each rate")
    parser.add_argument("--threads", type=int, default=0, help="0: as torch has them")
    parser.add_argument("--ref", default="model", help="the column that ratios refer to")
    parser.add_argument("--no-peers", dest="peers", action="store_false")
    parser.add_argument("--compile", action="store_true", help="time compiled peers too")
    parser.add_argument("--plan", action="store_true", help="print the plans")
    parser.add_argument("--json", type=Path, help="append the rows to this file")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    with torch.inference_mode():
        for rate in given.rates:
            measure(rate, given)


if __name__ == "__main__":
    main()
