"""Networks of 8-bit weights and activations, to measure what they score."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.deploy.energy.fan_out import MAPS
from spikeloom.deploy.energy.synapses import CURRENTS
from spikeloom.deploy.energy.values import Values
from spikeloom.layers import Temporal, TokenMixing, plain_weights

LEVELS = 127  # of a sign and 7 bits; numbers that are never negative have 255


def quantised(model: nn.Module, sequences: Iterable[Tensor]) -> nn.Module:
    """A copy whose maps compute with 8-bit weights and inputs, rounded and kept as floats.

    Weights have a scale for each output, max |w| / 127, so that folding a norm into them first
    would round the same. Inputs have a scale for each map: their greatest size in ``sequences``
    over 127, or over 255 where none is negative; later ones beyond it are clipped. Inputs that are
    spikes stay as they are. Biases, norms, sums and membranes are not rounded.

    Args:
        model: stays as it is.
        sequences: to find the ranges of inputs on; training samples.
    Shape:
        each x_seq [T, N, *]
    """
    twin = plain_weights(model).eval()
    maps: dict[str, nn.Module] = {
        name: module
        for name, module in twin.named_modules()
        if isinstance(module, (*MAPS, *CURRENTS))
    }
    seen = _ranges(twin, maps, sequences)
    with torch.no_grad():
        for layer in twin.modules():
            weight = getattr(layer, "weight", None)
            if isinstance(layer, (*MAPS, Temporal)) and isinstance(weight, Tensor):
                rows = 2 if isinstance(layer, TokenMixing) else 1
                weight.copy_(rounded_weight(weight, rows))
    for name, module in maps.items():
        if seen[name].kind == "graded":
            module.register_forward_pre_hook(RoundedInput(seen[name]))
    return twin


def rounded_weight(weight: Tensor, rows: int = 1) -> Tensor:
    """The weight in whole multiples of max |w| / 127 of each output.

    Args:
        weight: outputs first.
        rows: how many axes number the outputs.
    Shape:
        weight [O, *] -> [O, *]
    Example:
        >>> rounded_weight(torch.tensor([[127.0, 1.4], [1.27, 0.0]])).tolist()
        [[127.0, 1.0], [1.2699999809265137, 0.0]]
    """
    flat = weight.flatten(rows).flatten(0, rows - 1)
    step = flat.abs().amax(1, keepdim=True).clamp(min=1e-30) / LEVELS
    return ((flat / step).round() * step).view_as(weight)


class RoundedInput:
    """Rounds what goes into a layer, as a hook before it."""

    def __init__(self, seen: Values) -> None:
        self.low, self.high = (-LEVELS, LEVELS) if seen.negative else (0, 2 * LEVELS + 1)
        self.step = max(seen.most, 1e-30) / self.high

    def __call__(self, _layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        x, *rest = inputs
        return ((x / self.step).round().clamp(self.low, self.high) * self.step, *rest)


@torch.no_grad()
def _ranges(
    model: nn.Module, maps: dict[str, nn.Module], sequences: Iterable[Tensor]
) -> dict[str, Values]:
    """The values that go into each map."""
    seen = {name: Values() for name in maps}

    def note(name: str) -> Any:
        return lambda _layer, inputs: seen[name].see(inputs[0])

    hooks = [module.register_forward_pre_hook(note(name)) for name, module in maps.items()]
    try:
        for x_seq in sequences:
            model(x_seq)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


__all__ = ["RoundedInput", "quantised", "rounded_weight"]
