"""W2: Linear and LIF, forward and backward for weight and bias: fast twins, truth, SpikingJelly.

    spikes with 10 % density, [500, 16, n]; one Linear n -> n; the neuron of W1; the output spikes
    get one fixed random gradient; float32.

Results are compared first: weights lie on a dyadic grid, so that the sums of the forward round
nowhere and spikes must be equal; gradients may differ by the order of their sums. Each row says
what share of the outputs are spikes.

    python benchmarks/w2_linear.py --neurons 512 1024 --seconds 10 --ref spikingjelly
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from interleave import Column, in_turns, peak_bytes, record, saved_bytes, show
from torch import Tensor, nn

from spikeloom.functional import Arctan, factor
from spikeloom.kernels import release, use
from spikeloom.layers import LIF, Linear

T, N, DENSITY = 500, 16, 0.1
GRID = 2**10  # of the weights: sums of thousands of them are exact


@dataclass(frozen=True)
class Way:
    name: str
    model: nn.Module
    forward: Callable[[Tensor], Tensor]


def dyadic(linear: nn.Linear) -> nn.Linear:
    """Weights of spread 0.3 at the neuron for these inputs, whatever n."""
    n = linear.in_features
    with torch.no_grad():
        linear.weight.normal_().mul_(0.6 / (DENSITY * n) ** 0.5).mul_(GRID).round_().div_(GRID)
        linear.bias.zero_()
    return linear


def ways(n: int, peers: bool) -> list[Way]:
    lif = {"decay": factor(0.5), "detach_reset": True, "surrogate": Arctan(alpha=2.0)}
    model = nn.Sequential(dyadic(Linear(n, n)), LIF(**lif))

    def by(**how: str) -> Callable[[Tensor], Tensor]:
        def forward(x_seq: Tensor) -> Tensor:
            with use(**how):
                return model(x_seq)

        return forward

    found = [Way("truth", model, by(name="truth"))]
    found += [
        Way("cpu", model, by(name="cpu")),
        Way("cpu low", model, by(name="cpu", memory="low")),
    ]
    plain = nn.Sequential(nn.Linear(n, n), model[1])
    plain[0].weight, plain[0].bias = model[0].weight, model[0].bias
    found.append(Way("cpu neuron, torch linear", plain, plain))
    return found + (spikingjelly(model) if peers else [])


def spikingjelly(ours: nn.Sequential) -> list[Way]:
    try:
        from spikingjelly.activation_based import functional, neuron, surrogate
    except ImportError:
        print("SpikingJelly is not installed: its column is left out")
        return []
    linear = nn.Linear(ours[0].in_features, ours[0].out_features)
    linear.weight, linear.bias = ours[0].weight, ours[0].bias
    node = neuron.LIFNode(
        tau=2.0, decay_input=False, v_reset=0.0, surrogate_function=surrogate.ATan(2.0),
        detach_reset=True, step_mode="m",
    )  # fmt: skip
    model = nn.Sequential(linear, node)

    def forward(x_seq: Tensor) -> Tensor:
        functional.reset_net(model)
        return model(x_seq)

    return [Way("spikingjelly", model, forward)]


def check(chosen: list[Way], x_seq: Tensor, grad: Tensor) -> tuple[list[Way], float]:
    """Those whose results equal the truth's, and the share of spikes; says which do not."""
    want, good = None, []
    for way in chosen:
        way.model.zero_grad()
        spikes = way.forward(x_seq)
        spikes.backward(grad)
        got = spikes.detach(), [p.grad.clone() for p in way.model.parameters()]
        want = want or got
        turned = (got[0] != want[0]).sum().item()
        pairs = zip(got[1], want[1], strict=True)
        error = max(((ours - theirs).norm() / theirs.norm()).item() for ours, theirs in pairs)
        if turned or not error <= 1e-5:
            print(f"left out {way.name}: {turned} spikes differ, gradient off by {error:.1e}")
            continue
        good.append(way)
    return good, want[0].mean().item()


def column(way: Way, x_seq: Tensor, grad: Tensor) -> Column:
    return Column(way.name, lambda: way.forward(x_seq).backward(grad), way.model.zero_grad)


def measure(n: int, given: argparse.Namespace) -> None:
    x_seq = (torch.rand(T, N, n) < DENSITY).float()
    grad = torch.randn(T, N, n)
    good, rate = check(ways(n, given.peers), x_seq, grad)
    if given.without_truth:
        good = [way for way in good if way.name != "truth"]
    good.sort(key=lambda way: way.name != given.ref)
    rows = in_turns([column(way, x_seq, grad) for way in good], seconds=given.seconds)
    for row, way in zip(rows, good, strict=True):
        but = (x_seq, grad, *way.model.parameters())
        row.more["saved MB"] = saved_bytes(lambda way=way: way.forward(x_seq), but) / 1e6
        release()
        peak = peak_bytes(column(way, x_seq, grad).step)
        row.more["peak MB"] = None if peak is None else peak / 1e6
    setting = {"n": n, "density": DENSITY, "rate": rate}
    show(f"W2, n = {n}, {rate:.1%} of outputs spike (ratio to {rows[0].name})", rows)
    record(given.json, "W2", setting, rows)
    release()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--neurons", type=int, nargs="+", default=[512])
    parser.add_argument("--seconds", type=float, default=3.0, help="for each size")
    parser.add_argument("--threads", type=int, default=0, help="0: as torch has them")
    parser.add_argument("--ref", default="truth", help="the column that ratios refer to")
    parser.add_argument("--no-peers", dest="peers", action="store_false")
    parser.add_argument("--without-truth", action="store_true", help="compare with it, do not time")
    parser.add_argument("--json", type=Path, help="append the rows to this file")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    for n in given.neurons:
        measure(n, given)


if __name__ == "__main__":
    main()
