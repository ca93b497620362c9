"""What a model does with a sample: its layers and additions in the order they run.

The model itself is run, whatever its ``forward`` looks like; what lies between the layers may only
be additions, and channels put side by side.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from spikeloom.layers import (
    Dropout,
    NoNorm,
    NoReadout,
    OverTime,
    StepBatchNorm,
    Temporal,
    TemporalEffectiveBatchNorm,
)
from spikeloom.layers.base import dynamics
from spikeloom.registry import Unsupported

BY_STEP = (StepBatchNorm, TemporalEffectiveBatchNorm)
WHOLE = (OverTime, Temporal, *BY_STEP)  # layers, although some are made of others
NOTHING = (nn.Identity, nn.Dropout, nn.Dropout2d, Dropout, NoNorm, NoReadout)  # in evaluation
ADDITIONS = ("add", "__add__", "__radd__")
CHANNELS = 2  # axis of a sequence


class Joined(nn.Module):
    """Stands in a step for channels of several values put side by side."""


@dataclass(frozen=True)
class Step:
    """A layer that ran, ``Joined``, or an addition (``layer`` None); values are numbered."""

    name: str
    layer: nn.Module | None
    inputs: tuple[int, ...]
    out: int
    shape: tuple[int, ...]


def record(model: nn.Module, x_seq: Tensor) -> tuple[list[Step], int]:
    """Run a model and return its steps, and the number of the value that came out; 0 went in.

    Args:
        model: the model.
        x_seq: what it gets.
    Raises:
        Unsupported: something other than layers and additions made a value that is used.
    """
    recorder = Recorder(x_seq)
    with torch.no_grad(), recorder.watching(model), recorder:
        out = model(x_seq)
    if not isinstance(out, Tensor) or recorder.number(out) is None:
        raise Unsupported(
            f"{type(model).__name__} returns what none of its layers made; return the output of "
            "the last one"
        )
    number = recorder.number(out)
    assert number is not None
    return recorder.steps, number


class Recorder(TorchFunctionMode):
    """Notes layers and additions while a model runs."""

    def __init__(self, x_seq: Tensor) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self._seen: list[Tensor] = [x_seq]  # kept, so that no other tensor gets their address
        self._numbers = {id(x_seq): 0}
        self._inside = 0
        self._last = ""

    def number(self, value: Tensor) -> int | None:
        """The number of a value; None for one that nobody noted."""
        return self._numbers.get(id(value))

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        """Note every layer of the model; what holds layers only passes values on."""
        with ExitStack() as hooks:
            for name, layer in leaves(model):
                if isinstance(layer, Temporal) and layer.rule is not dynamics:
                    raise Unsupported(
                        f"{name}: its rule was replaced; do this outside of ruled(...)"
                    )
                _check_unaltered(name, layer)
                before = layer.register_forward_pre_hook(self._enter)
                after = layer.register_forward_hook(self._leave(name))
                hooks.callback(before.remove)
                hooks.callback(after.remove)
            yield

    def _enter(self, _layer: nn.Module, _inputs: Any) -> None:
        self._inside += 1

    def _leave(self, name: str) -> Any:
        def hook(layer: nn.Module, inputs: tuple[Any, ...], out: Any) -> None:
            self._inside -= 1
            if self._inside == 0:
                self._note(name, layer, inputs, out)

        return hook

    def _note(self, name: str, layer: nn.Module | None, inputs: tuple[Any, ...], out: Any) -> None:
        if type(layer) in NOTHING and any(out is value for value in inputs):
            return
        numbers = [self.number(value) for value in inputs if isinstance(value, Tensor)]
        found = tuple(number for number in numbers if number is not None)
        if not isinstance(out, Tensor) or len(found) != len(inputs):
            raise Unsupported(
                f"{name or type(layer).__name__}: takes or returns something other than the "
                "values of layers and additions before it"
            )
        self._last = name
        self._keep(out)
        self.steps.append(Step(name, layer, found, self._numbers[id(out)], tuple(out.shape[2:])))

    def _keep(self, value: Tensor) -> None:
        self._numbers[id(value)] = len(self._seen)
        self._seen.append(value)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if self._inside or not isinstance(out, Tensor):
            return out
        name = getattr(func, "__name__", str(func))
        if func is torch.cat and (kwargs or {}).get("dim", args[-1]) == CHANNELS:
            self._note(f"{self._last} + others", Joined(), tuple(args[0]), out)
            return out
        if name not in ADDITIONS or kwargs or not all(isinstance(a, Tensor) for a in args):
            raise Unsupported(
                f"the model calls {name} {f'after {self._last}' if self._last else 'on its input'};"
                " between layers values can only be added, or put side by side as channels"
            )
        self._note(f"{self._last} + shortcut", None, args, out)
        return out


def _check_unaltered(name: str, layer: nn.Module) -> None:
    """Raise Unsupported if a layer does something that its class does not say."""
    for module in layer.modules():
        kind = type(module).__name__
        if module._forward_hooks or module._forward_pre_hooks:
            raise Unsupported(
                f"{name}: {kind} has forward hooks, which would not come along; remove them"
            )
        if "forward" in vars(module):
            raise Unsupported(
                f"{name}: the forward of this {kind} was replaced; "
                "what is made of it would do what the class does"
            )


def leaves(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Layers that are not made of layers, by name; OverTime and its layer are one."""

    def walk(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
        children = list(module.named_children())
        if isinstance(module, WHOLE) or (not children and not isinstance(module, nn.Sequential)):
            yield name, module
            return
        for child, inner in children:
            yield from walk(f"{name}.{child}" if name else child, inner)

    seen: set[int] = set()
    for name, module in walk("", model):
        if id(module) not in seen:
            seen.add(id(module))
            yield name, module


def recorded(model: nn.Module, sample: Tensor) -> tuple[list[Step], int]:
    """:func:`record` in evaluation mode; every module is then in the mode it was in."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        return record(model, sample)
    finally:
        for module, training in modes.items():
            module.training = training
