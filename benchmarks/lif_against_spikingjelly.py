"""LIF here against SpikingJelly's multi-step LIFNode: same spikes, same gradients?

Not part of the tests: it needs an environment with ``spikingjelly==2.0.0`` and torch beside this
package. Two lanes:

* exact: inputs and incoming gradients on a dyadic grid and tau a power of two, so that the
  potentials round nowhere within the given T. Spikes and final potentials must agree bit for bit.
* random: normal inputs, tau 2.7. The two write the same charge as different sums, so potentials
  differ by rounding, and a spike may differ only where the potential is that close to the
  threshold. No such disagreement is allowed to pass unseen: it is counted, and its distance to the
  threshold is printed.

Gradients are compared in both lanes (largest absolute difference), in the random lane only over
neurons whose spike trains agree. The script ends with status 1 when a lane breaks its promise.

    PYTHONPATH=src python benchmarks/lif_against_spikingjelly.py
"""

import itertools
import sys
from dataclasses import dataclass

import torch
from spikingjelly.activation_based import neuron, surrogate
from torch import Tensor

from spikeloom.functional import Arctan, Sigmoid, euler, lif, lif_trace

GRADIENT_TOLERANCE = 1e-5  # float32, gradients of order 1, T steps of rounding
THRESHOLD_TOLERANCE = 1e-6  # a few units in the last place of a potential near 1
SURROGATES = {
    "arctan": (Arctan(alpha=2.0), surrogate.ATan(alpha=2.0)),
    "sigmoid": (Sigmoid(alpha=4.0), surrogate.Sigmoid(alpha=4.0)),
}


@dataclass(frozen=True)
class Lane:
    name: str
    tau: float
    x_seq: Tensor
    grad_seq: Tensor


@dataclass(frozen=True)
class Setting:
    reset: str
    v_reset: float
    decay_input: bool
    detach_reset: bool
    surrogate: str


def lanes() -> list[Lane]:
    generator = torch.Generator().manual_seed(0)

    def grid(T: int, low: int, high: int) -> Tensor:
        return torch.randint(low, high, (T, 64, 256), generator=generator) / 16

    def normal(scale: float) -> Tensor:
        return scale * torch.randn(32, 64, 256, generator=generator) + 0.4

    return [
        Lane("exact", 2.0, grid(8, -16, 48), grid(8, -16, 17)),
        Lane("random", 2.7, normal(1.5), normal(1.0)),
    ]


def settings() -> list[Setting]:
    resets = [("hard", 0.0), ("hard", -0.25), ("soft", 0.0)]
    grid = itertools.product(resets, (True, False), (False, True), SURROGATES)
    return [Setting(*reset, *rest) for reset, *rest in grid]


def ours(lane: Lane, setting: Setting) -> tuple[Tensor, Tensor, Tensor]:
    x_seq = lane.x_seq.clone().requires_grad_()
    spike_seq, v = lif(
        x_seq,
        decay=euler(lane.tau, decay_input=setting.decay_input),
        reset=setting.reset,
        v_reset=setting.v_reset,
        detach_reset=setting.detach_reset,
        surrogate=SURROGATES[setting.surrogate][0],
    )
    spike_seq.backward(lane.grad_seq)
    return spike_seq.detach(), v.detach(), x_seq.grad


def theirs(lane: Lane, setting: Setting) -> tuple[Tensor, Tensor, Tensor]:
    x_seq = lane.x_seq.clone().requires_grad_()
    node = neuron.LIFNode(
        tau=lane.tau,
        decay_input=setting.decay_input,
        v_reset=setting.v_reset if setting.reset == "hard" else None,
        surrogate_function=SURROGATES[setting.surrogate][1],
        detach_reset=setting.detach_reset,
        step_mode="m",
    )
    spike_seq = node(x_seq)
    spike_seq.backward(lane.grad_seq)
    return spike_seq.detach(), node.v.detach(), x_seq.grad


def margin(lane: Lane, setting: Setting, differ: Tensor) -> float:
    """Largest distance to the threshold where a neuron's spikes first part ways."""
    if not differ.any():
        return 0.0
    trace = lif_trace(
        lane.x_seq,
        decay=euler(lane.tau, decay_input=setting.decay_input),
        reset=setting.reset,
        v_reset=setting.v_reset,
    )
    first = differ & (differ.cumsum(0) == 1)
    return float((trace.h_seq[first] - 1.0).abs().max())


def compare(lane: Lane, setting: Setting) -> bool:
    spikes, v, grad = ours(lane, setting)
    their_spikes, their_v, their_grad = theirs(lane, setting)
    differ = spikes != their_spikes
    agree = ~differ.any(0)
    v_gap = float((v - their_v)[agree].abs().max())
    grad_gap = float((grad - their_grad)[:, agree].abs().max())
    distance = margin(lane, setting, differ)
    count = int(differ.sum())
    ok = grad_gap <= GRADIENT_TOLERANCE and distance <= THRESHOLD_TOLERANCE
    if lane.name == "exact":
        ok = ok and count == 0 and v_gap == 0.0
    print(
        f"{lane.name:7} {setting.reset:5} {setting.v_reset:7g} {setting.decay_input!s:11} "
        f"{setting.detach_reset!s:12} {setting.surrogate:9} {spikes.mean():6.3f} {count:8d} "
        f"{distance:9.1e} {v_gap:9.1e} {grad_gap:9.1e}  {'ok' if ok else 'DIFFERS'}"
    )
    return ok


def main() -> int:
    print(
        "lane    reset v_reset decay_input detach_reset surrogate   rate  differ  distance     "
        "v gap  grad gap"
    )
    results = [compare(lane, setting) for lane in lanes() for setting in settings()]
    sizes = ", ".join(f"{lane.name} {lane.x_seq.numel()} inputs" for lane in lanes())
    print(f"{sum(results)} of {len(results)} settings agree ({sizes} each)")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
