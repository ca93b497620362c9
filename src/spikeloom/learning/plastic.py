"""Which layers drive spiking neurons, and what passes through them: the material of local rules."""

import fnmatch
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrize import is_parametrized

from spikeloom.layers import BatchNorm, Dropout, ModerateDropout, Neuron, OverTime
from spikeloom.learning.base import Unsupported

Map = nn.Conv2d | nn.Linear


class Plastic(NamedTuple):
    """A convolution or linear map, what entered it, and the spikes of the neurons it drives.

    ``name`` is that of its weight; both sequences are [T, N, *] and hold no graph.
    """

    name: str
    layer: Map
    pre_seq: Tensor
    post_seq: Tensor


@dataclass
class Record:
    """What :func:`recorded` saw of one forward pass, in pieces if the sequence went so."""

    first: str = ""  # the weight that was used first
    pre: dict[str, list[Tensor]] = field(default_factory=dict)
    post: dict[str, list[Tensor]] = field(default_factory=dict)
    waiting: list[tuple[str, Tensor, torch.Size]] = field(default_factory=list)
    on: bool = True

    def entered(self, name: str, x_seq: Tensor, out: torch.Size) -> None:
        """A map was applied; its neurons, if any, come next."""
        if self.on:
            self.first = self.first or name
            self.waiting.append((name, x_seq.detach(), out))

    def fired(self, spike_seq: Tensor) -> None:
        """Neurons ran: they are those of every map before them with as many outputs."""
        for name, x_seq, out in self.waiting if self.on else ():
            if out == spike_seq.shape:
                self.pre.setdefault(name, []).append(x_seq)
                self.post.setdefault(name, []).append(spike_seq.detach())
        self.waiting.clear()

    def stop(self) -> None:
        """See no more."""
        self.on = False


@contextmanager
def recorded(model: nn.Module) -> Iterator[Record]:
    """Record maps and the spikes behind them while the model runs inside the block.

    A map belongs to the next neurons that run after it, if these are as many as its outputs: norms
    and additions may lie between, a pooling may not.
    """
    record = Record()
    hooks = [model.register_forward_pre_hook(lambda *_: record.waiting.clear())]
    for name, module in maps(model):
        hooks.append(module.register_forward_hook(_entering(record, f"{name}.weight")))
    for module in model.modules():
        if isinstance(module, Neuron):
            hooks.append(module.register_forward_hook(lambda _m, _x, out: record.fired(out)))
    try:
        yield record
    finally:
        for hook in hooks:
            hook.remove()


def chosen_of(
    model: nn.Module, record: Record, patterns: Sequence[str] | None, T: int
) -> list[Plastic]:
    """The recorded maps whose weights' names match; all but the network's first if None.

    Args:
        model: that was recorded.
        record: of one forward pass.
        patterns: as in a shell.
        T: steps of the sequence that went through.
    Raises:
        Unsupported: nothing drives spiking neurons, a pattern matches nothing that does, or a
            layer ran more than once, or its weight is computed from others.
    """
    names = [name for name in record.post if patterns is not None or name != record.first]
    for pattern in patterns or ():
        if not fnmatch.filter(names, pattern):
            raise Unsupported(
                f"the pattern {pattern!r} matches no weight in front of spiking neurons; there "
                f"are {', '.join(names) or 'none'}"
            )
    if patterns is not None:
        names = [name for name in names if any(fnmatch.fnmatch(name, p) for p in patterns)]
    if not names:
        raise Unsupported(
            "no convolution or linear map drives spiking neurons (with at most a norm and an "
            "addition between), so there are no spike times to learn from"
            if not record.post
            else f"only the first layer, {record.first}, drives spiking neurons, and it sees no "
            "spikes; name it in `layers` if it may change all the same"
        )
    return [_whole(model, record, name, T) for name in names]


def _whole(model: nn.Module, record: Record, name: str, T: int) -> Plastic:
    layer: Any = model.get_submodule(name.removesuffix(".weight"))
    if is_parametrized(layer, "weight"):
        raise Unsupported(
            f"{name} is computed from other parameters, so no local rule can change it; leave out "
            "the transform of the weights (model.weight)"
        )
    pre_seq, post_seq = (_joined(part[name]) for part in (record.pre, record.post))
    if len(pre_seq) != T:
        raise Unsupported(f"{name} runs more than once a step, so its spikes have no one order")
    return Plastic(name, layer, pre_seq, post_seq)


def _joined(pieces: list[Tensor]) -> Tensor:
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def maps(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Convolutions and linear maps by name, with the module that sees their whole sequence."""
    inside = {module.module: module for module in model.modules() if isinstance(module, OverTime)}
    for name, layer in model.named_modules():
        if isinstance(layer, Map) and (layer in inside or isinstance(layer, nn.Linear)):
            yield name, inside.get(layer, layer)


def _entering(record: Record, name: str) -> Any:
    def hook(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        record.entered(name, inputs[0], output.shape)

    return hook


@contextmanager
def frozen(model: nn.Module, *, norms: bool = True) -> Iterator[None]:
    """Inside the block dropout is off; batch norms use, and leave alone, their running statistics.

    Args:
        model: whose layers rest; the others stay in training mode.
        norms: whether batch norms do.
    """
    kinds = (Dropout, ModerateDropout, *((BatchNorm, _BatchNorm) if norms else ()))
    resting = [m for m in model.modules() if isinstance(m, kinds) and m.training]
    for layer in resting:
        layer.eval()
    try:
        yield
    finally:
        for layer in resting:
            layer.train()
