"""Long sequences piece by piece: networks with their state carried on, and trained that way."""

from collections.abc import Iterator
from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from spikeloom.functional.sequence import check_sequence
from spikeloom.kernels import current, use
from spikeloom.layers.base import State, Temporal, dynamics, ruled
from spikeloom.layers.dropout import Dropout
from spikeloom.layers.moderate_dropout import ModerateDropout
from spikeloom.layers.norms import BatchNorm, NoNorm
from spikeloom.layers.over_time import STEPWISE, OverTime
from spikeloom.layers.tebn import TemporalEffectiveBatchNorm
from spikeloom.registry import Unsupported

LONG = 32  # steps from which a sequence is cut at all


def carry(
    model: nn.Module, x_seq: Tensor, states: tuple[State, ...] | None = None
) -> tuple[Tensor, tuple[State, ...]]:
    """A network's output for a piece of a sequence, from given states to those after it.

    Piece after piece gives what the whole sequence gives, if :func:`whole_only` has no objection.

    Args:
        model: any module made of layers over time.
        x_seq: the piece.
        states: what the call for the piece before returned; at rest if None.
    Shape:
        x_seq [T, N, *] -> y_seq [T, N, *], one state for each layer that has one
    Raises:
        Unsupported: a layer is called twice.
        ValueError: the states are another network's.
    """
    layers = [module for module in model.modules() if isinstance(module, Temporal)]
    if states is not None and len(states) != len(layers):
        raise ValueError(f"got {len(states)} states for a network with {len(layers)}")
    before = dict(zip(layers, states or [None] * len(layers), strict=True))
    after: dict[Temporal, State] = {}
    rules = {layer: layer.rule for layer in layers}

    def onward(layer: Temporal, part: Tensor, _: State) -> tuple[Tensor, State]:
        if layer in after:
            name = next(name for name, module in model.named_modules() if module is layer)
            raise Unsupported(
                f"{name} ({type(layer).__name__}) is called twice, so it has no one state to carry "
                "on; give every place a layer of its own"
            )
        out, after[layer] = rules[layer](layer, part, before[layer])
        return out, after[layer]

    with ruled(model, onward, Temporal):  # type: ignore[type-abstract]  # asked for, never made
        y_seq: Tensor = model(x_seq)
    return y_seq, tuple(after.get(layer) for layer in layers)


def whole_only(model: nn.Module) -> str | None:
    """Why a network needs its sequences whole; None if pieces give the same result.

    A module of your own that calls layers in its ``forward`` counts as one that mixes steps, unless
    its class says ``step_by_step = True``: that time passes only inside the layers.
    """
    for name, module in units("", model):
        if isinstance(module, Temporal) and module.rule is not dynamics:
            return f"{name} ({type(module).__name__}) follows a rule that may look at all steps"
        steady = not module.training
        by_step = isinstance(module, TemporalEffectiveBatchNorm)
        if isinstance(module, BatchNorm) and steady and not by_step:
            continue
        if isinstance(module, Dropout | ModerateDropout) and (steady or module.p == 0):
            continue
        if not isinstance(module, (Temporal, NoNorm, nn.ReLU, *STEPWISE)):
            return f"{name} ({type(module).__name__}) may mix time steps or draws at random"
    return None


def units(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Layers, and modules of which it is not known that they only pass sequences on, by name.

    Args:
        name: that of ``module``; empty for a whole network.
        module: where to start.
    """
    passes_on = getattr(type(module), "step_by_step", False) and any(module.children())
    passes_on = passes_on or isinstance(module, (nn.Sequential, OverTime))  # even an empty row
    if isinstance(module, Temporal) or not passes_on:
        yield name or "the network", module
        return
    for inner, child in module.named_children():
        yield from units(f"{name}.{inner}".lstrip("."), child)


def unrolled(model: nn.Module, x_seq: Tensor) -> Tensor:
    """``model(x_seq)``; under ``use(memory="low")`` with memory that hardly grows with T.

    Then a long sequence goes through in pieces of about sqrt(T) steps, of which only the states
    between them are kept; the backward goes through each piece once more. Networks that need their
    sequences whole, and short sequences, are run as they are.

    Shape:
        x_seq [T, N, *] -> y_seq [T, N, *]
    """
    check_sequence(x_seq)
    T = x_seq.shape[0]
    if current().memory != "low" or T < LONG or whole_only(model):
        y_seq: Tensor = model(x_seq)
        return y_seq
    setting = current()

    def through(piece: Tensor, states: tuple[State, ...] | None) -> Any:
        # The backward calls this again, perhaps under another setting. Pieces are small, and each
        # is gone through twice as it is.
        with use(setting.name, memory="off"):
            return carry(model, piece, states)

    pieces, states = [], None
    for piece in x_seq.split(isqrt(T)):
        y, states = checkpoint(
            through, piece, states, use_reentrant=False, preserve_rng_state=False
        )
        pieces.append(y)
    return torch.cat(pieces)
