"""How far two networks agree: spikes of every neuron layer on the same inputs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.deploy.exchange.graph import ALONE, INPUT, OUTPUT, Graph
from spikeloom.deploy.exchange.pieces import SPIKING
from spikeloom.layers import Neuron
from spikeloom.registry import Unsupported

CLOSE = 1e-4  # of the largest output: what rounding of equal spikes costs, with room
LEAST = 0.999  # what rounding of folded norms may cost, with room; a mistake costs far more


@dataclass(frozen=True)
class Agreement:
    """Of one layer: how many neuron-steps were compared, and how many differ."""

    layer: str
    count: int
    differing: int

    @property
    def share(self) -> float:
        """1 where all are the same."""
        return 1.0 - self.differing / max(self.count, 1)

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {**asdict(self), "share": self.share}


def compare(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> tuple[Agreement, ...]:
    """The agreement of every layer of spikes that both have, in the order of the first."""
    found = []
    for name, spikes in one.items():
        if name in other and name not in ("input", OUTPUT):
            own = other[name].reshape(spikes.shape)
            differing = int((spikes.float() != own.float()).sum())
            found.append(Agreement(name, spikes.numel(), differing))
    return tuple(found)


def check(agreement: Sequence[Agreement], expected: Tensor, found: Tensor, what: str) -> float:
    """How far outputs are apart at most.

    Raises:
        Unsupported: spikes are not the same but for rounding, or all of them are and outputs are
            not.
    """
    wrong = ""
    for each in agreement:
        if each.share < LEAST:
            wrong = wrong or f"{each.differing:,} of {each.count:,} spikes of {each.layer} differ"
    error = float((expected - found).abs().max())
    same = not any(each.differing for each in agreement)
    if same and error > CLOSE * max(1.0, float(expected.abs().max())):
        wrong = f"what comes out is {error:g} apart"
    if wrong:
        raise Unsupported(
            f"{what} does not do what the network does: {wrong}; it was not kept, report this"
        )
    return error


def watched(model: nn.Module, x_seq: Tensor) -> dict[str, Tensor]:
    """The spikes of every neuron layer of a model in evaluation mode, and its output."""
    if isinstance(model, Graph):
        with torch.no_grad():
            values = model.activations(x_seq)
        spiking = {name for name, layer in model.named().items() if isinstance(layer, SPIKING)}
        return {name: value for name, value in values.items() if name in spiking | {OUTPUT}}
    seen: dict[str, Tensor] = {}
    modes = {module: module.training for module in model.modules()}
    hooks = [
        module.register_forward_hook(_keep(seen, name))
        for name, module in model.named_modules()
        if isinstance(module, Neuron)
    ]
    try:
        with torch.no_grad():
            seen[OUTPUT] = model.eval()(x_seq)
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes.items():
            module.training = training
    return seen


def _keep(seen: dict[str, Tensor], name: str) -> Any:
    def hook(_module: nn.Module, _inputs: Any, spikes: Tensor) -> None:
        own, count = name or ALONE, 2
        while own in (
            *seen,
            INPUT,
            OUTPUT,
        ):  # a layer that runs twice: numbered as its copies in a graph are
            own, count = f"{name or ALONE}_{count}", count + 1
        seen[own] = spikes

    return hook
