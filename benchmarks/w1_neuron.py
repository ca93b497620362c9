"""W1: LIF forward and backward: fast twins, the truth, and SpikingJelly if it is installed.

    h[t] = v[t-1] / 2 + x[t], threshold 1, hard reset left out of the gradient, arctan slope with
    ds/dh = 1 / (1 + (pi (h - 1))^2), float32; x ~ 0.8 N(0, 1) + 0.3 wants a gradient.

Results are compared first: spikes and gradients of every column must equal the truth's, within the
bound of docs/kernels.md for the rounded trace and bfloat16. Beside the columns stands a plain
``copy_`` of the sequence, to see how far from the memory's speed a column is: ``GB/s`` counts the
bytes that must move (read x, write spikes, read their gradient, write x's; and the trace twice).

    python benchmarks/w1_neuron.py --steps 4 16 --neurons 65536 --seconds 5 --json w1.jsonl
"""

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from interleave import Column, in_turns, peak_bytes, record, saved_bytes, show
from torch import Tensor

from spikeloom.functional import Arctan, factor, lif
from spikeloom.kernels import pool_size, release, use
from spikeloom.kernels.cpu.neurons import lif as fast

OPTIONS = {
    "decay": factor(0.5),
    "detach_reset": True,
    # Height 1 at the threshold, as the peers have it: SpikingJelly's ATan(2).
    "surrogate": Arctan(alpha=2.0),
}
BATCH = {65536: 64, 1048576: 256}


@dataclass(frozen=True)
class Way:
    name: str
    forward: Callable[[Tensor], Tensor]
    tolerance: float = 1e-6  # of the gradient, relative, in norm
    trace: int = 0  # bytes an element that are written and read again
    reads_x_again: bool = False
    dtype: torch.dtype = torch.float32


def kernel(memory: str) -> Callable[[Tensor], Tensor]:
    def forward(x_seq: Tensor) -> Tensor:
        with use(memory=memory):
            return fast(x_seq, **OPTIONS)[0]

    return forward


def ways(peers: bool, compiled: bool) -> list[Way]:
    found = [Way("truth", lambda x_seq: lif(x_seq, **OPTIONS)[0], trace=4)]
    found += [
        Way("cpu off", kernel("off"), trace=4),
        Way("cpu rounded", kernel("rounded"), tolerance=1e-2, trace=2),
        Way("cpu low", kernel("low"), reads_x_again=True),
        Way("cpu low bfloat16", kernel("low"), 1e-2, 0, True, torch.bfloat16),
    ]
    return found + (spikingjelly(compiled) if peers else [])


def spikingjelly(compiled: bool) -> list[Way]:
    try:
        from spikingjelly.activation_based import functional, neuron, surrogate
    except ImportError:
        print("SpikingJelly is not installed: its columns are left out")
        return []

    node = neuron.LIFNode(
        tau=2.0, decay_input=False, v_reset=0.0, surrogate_function=surrogate.ATan(2.0),
        detach_reset=True, step_mode="m",
    )  # fmt: skip

    def forward(x_seq: Tensor) -> Tensor:
        functional.reset_net(node)
        return node(x_seq)

    found = [Way("spikingjelly", forward, tolerance=1e-5, trace=4)]
    if compiled:
        run = torch.compile(forward, dynamic=False)
        found.append(Way("spikingjelly + compile", run, tolerance=1e-5, trace=4))
    return found


def check(chosen: list[Way], x_seq: Tensor, grad: Tensor) -> list[Way]:
    """Those whose results equal the truth's; says which do not, and leaves them out."""
    want, good = None, []
    for way in chosen:
        leaf = x_seq.to(way.dtype, copy=True).requires_grad_()
        reference = leaf.detach().float().requires_grad_()
        spikes = way.forward(leaf)
        spikes.backward(grad.to(way.dtype))
        if want is None or way.dtype != torch.float32:
            theirs = lif(reference, **OPTIONS)[0]
            theirs.backward(grad.to(way.dtype).float())
            same = theirs.detach(), reference.grad
            want = same if way.dtype == torch.float32 else want
        else:
            same = want
        turned = (spikes.detach().float() != same[0]).sum().item()
        error = (leaf.grad.float() - same[1]).norm() / same[1].norm()
        if turned or not error <= way.tolerance:
            print(f"left out {way.name}: {turned} spikes differ, gradient off by {error:.1e}")
            continue
        good.append(way)
    return good


def column(way: Way, x_seq: Tensor, grad: Tensor) -> Column:
    leaf = x_seq.to(way.dtype, copy=True).requires_grad_()
    incoming = grad.to(way.dtype)

    def step() -> None:
        way.forward(leaf).backward(incoming)

    def clear() -> None:
        leaf.grad = None

    return Column(way.name, step, clear)


def memory(way: Way, x_seq: Tensor, grad: Tensor) -> dict[str, float | None]:
    """Bytes for each element: kept for the backward, and at most during a first step."""
    leaf = x_seq.to(way.dtype, copy=True).requires_grad_()
    saved = saved_bytes(lambda: way.forward(leaf), (leaf,))
    release()
    peak = peak_bytes(column(way, x_seq, grad).step)
    return {
        "saved B/el": saved / leaf.numel(),
        "peak B/el": None if peak is None else peak / leaf.numel(),
    }


def measure(steps: int, neurons: int, given: argparse.Namespace) -> None:
    shape = (steps, BATCH.get(neurons, 1), neurons // BATCH.get(neurons, 1))
    x_seq = torch.randn(shape).mul_(0.8).add_(0.3)
    grad = torch.randn(shape)
    good = check(ways(given.peers, given.compile), x_seq, grad)
    if given.without_truth:
        good = [way for way in good if way.name != "truth"]
    columns = [column(way, x_seq, grad) for way in good]
    target = torch.empty_like(x_seq)
    copy = Column("copy_", lambda: target.copy_(x_seq))
    reference = [c for c in columns if c.name == given.ref]
    columns = reference + [c for c in columns if c.name != given.ref] + [copy]
    rows = in_turns(columns, seconds=given.seconds)
    for row in rows:
        way = next((w for w in good if w.name == row.name), None)
        size = 4 if way is None else way.dtype.itemsize
        moved = 2 * size if way is None else (4 + way.reads_x_again) * size + 2 * way.trace
        row.more["GB/s"] = moved * math.prod(shape) / row.wall / 1e6
        if way is not None:
            row.more |= memory(way, x_seq, grad)
    show(f"W1, T = {steps}, {neurons:,} neurons (ratio to {rows[0].name})", rows)
    record(given.json, "W1", {"T": steps, "neurons": neurons}, rows)
    release()
    assert pool_size() == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, nargs="+", default=[4, 16])
    parser.add_argument("--neurons", type=int, nargs="+", default=[65536])
    parser.add_argument("--seconds", type=float, default=3.0, help="for each size")
    parser.add_argument("--threads", type=int, default=0, help="0: as torch has them")
    parser.add_argument("--ref", default="truth", help="the column that ratios refer to")
    parser.add_argument("--no-peers", dest="peers", action="store_false")
    parser.add_argument("--without-truth", action="store_true", help="compare with it, do not time")
    parser.add_argument("--compile", action="store_true", help="time compiled peers too")
    parser.add_argument("--json", type=Path, help="append the rows to this file")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    for neurons in given.neurons:
        for steps in given.steps:
            measure(steps, neurons, given)


if __name__ == "__main__":
    main()
