"""Every neuron behind one call, so that what holds for all is written once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from spikeloom.functional import (
    alif,
    alif_step,
    alif_trace,
    cuba_lif,
    cuba_lif_step,
    cuba_lif_trace,
    factor,
    if_,
    li,
    lif,
    lif_step,
    lif_trace,
    ternary_lif,
    ternary_lif_step,
    ternary_lif_trace,
    ternary_spike,
    ternary_spike_step,
    ternary_spike_trace,
)


@dataclass(frozen=True)
class Neuron:
    """A neuron function, what it keeps, and which of its arguments may be tensors."""

    run: Callable[..., Any]
    states: int = 1
    decays: tuple[str, ...] = ("decay",)
    values: tuple[str, ...] = ("v_threshold",)
    trace: Callable[..., Any] | None = None
    step: Callable[..., Any] | None = None
    levels: tuple[float, ...] = (0, 1)
    rest: bool = True  # whether a potential to reset to can be chosen

    @property
    def spiking(self) -> bool:
        return bool(self.values)

    def __call__(self, x_seq: Tensor, states: tuple[Tensor, ...] | None = None, **options: Any):
        """Output sequence, and the states as a tuple whatever their number."""
        carried = states[0] if states and self.states == 1 else states or None
        out, after = self.run(x_seq, carried, **options)
        return out, ((after,) if self.states == 1 else tuple(after))

    def options(self, reset: str, surrogate: Any = None) -> dict[str, Any]:
        """Reset and surrogate as arguments, where the neuron has them."""
        if not self.spiking:
            return {}
        chosen: dict[str, Any] = {"reset": reset}
        if self.rest:
            chosen["v_reset"] = -0.25 if reset == "hard" else 0.0
        return chosen | ({"surrogate": surrogate} if surrogate else {})


NEURONS = {
    "lif": Neuron(lif, trace=lif_trace, step=lif_step),
    "if_": Neuron(if_, decays=()),
    "alif": Neuron(
        alif,
        states=2,
        decays=("decay", "adaptation_decay"),
        values=("v_threshold", "beta"),
        trace=alif_trace,
        step=alif_step,
    ),
    "cuba_lif": Neuron(
        cuba_lif,
        states=2,
        decays=("synapse", "decay"),
        trace=cuba_lif_trace,
        step=cuba_lif_step,
    ),
    "li": Neuron(li, values=()),
    "ternary_lif": Neuron(
        ternary_lif,
        values=("v_threshold", "gap"),
        trace=ternary_lif_trace,
        step=ternary_lif_step,
        levels=(0, 1, 2),
    ),
    "ternary_spike": Neuron(
        ternary_spike,
        values=("v_threshold", "amplitude"),
        trace=ternary_spike_trace,
        step=ternary_spike_step,
        levels=(-1, 0, 1),
        rest=False,
    ),
}
CASES = [(n, r) for n in NEURONS for r in ("hard", "soft", "none") if n != "li" or r == "none"]


@pytest.fixture(params=CASES, ids="-".join)
def case(request):
    """A neuron and a reset; the readout comes once, it has no reset."""
    name, reset = request.param
    return NEURONS[name], reset


@pytest.fixture(params=[c for c in CASES if NEURONS[c[0]].spiking], ids="-".join)
def spiking_case(request):
    name, reset = request.param
    return NEURONS[name], reset


@pytest.fixture(params=[c for c in CASES if NEURONS[c[0]].trace], ids="-".join)
def traced_case(request):
    name, reset = request.param
    return NEURONS[name], reset


@pytest.fixture(params=list(NEURONS))
def neuron(request):
    return NEURONS[request.param]


@pytest.fixture(params=[n for n in NEURONS if n != "li"])
def spiking(request):
    return NEURONS[request.param]


@pytest.fixture
def tensor_options():
    """Decays and values of a neuron drawn as tensors of a shape, to be learned."""

    def draw(neuron: Neuron, shape: tuple[int, ...], *, decay_input: bool, seed: int = 0):
        generator = torch.Generator().manual_seed(seed)

        def uniform(low: float, high: float) -> Tensor:
            x = torch.rand(shape, generator=generator, dtype=torch.float64)
            return (low + (high - low) * x).requires_grad_()

        keeps = {name: uniform(0.3, 0.9) for name in neuron.decays}
        values = {name: uniform(0.5, 1.0) for name in neuron.values}
        options = {name: factor(k, decay_input=decay_input) for name, k in keeps.items()} | values
        return options, (*keeps.values(), *values.values())

    return draw
