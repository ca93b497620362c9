"""Counts what a network does while it runs: hooks on its layers, and an eye on what lies between.

Every value carries which of its places an event has reached, so that updates of neurons which
nothing has touched can be told from others.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from spikeloom.deploy.energy.between import note_function
from spikeloom.deploy.energy.counts import Counts
from spikeloom.deploy.energy.layers import KNOWN, tally_layer
from spikeloom.deploy.energy.ledger import Ledger
from spikeloom.functional.sequence import check_sequence
from spikeloom.layers import OverTime, Temporal
from spikeloom.layers.base import dynamics
from spikeloom.registry import Unsupported


def count_operations(model: nn.Module, sequences: Iterable[Tensor]) -> Counts:
    """Run a network and count what it does for one sample, layer by layer.

    Args:
        model: made of layers of this package or of torch; run in evaluation mode, then as it was.
        sequences: what to run it on, batch by batch [v_threshold].
    Shape:
        each x_seq [T, N, *]
    Raises:
        Unsupported: a layer follows a rule of a training method.
        ValueError: no samples, or no time axis.
    Example:
        >>> from spikeloom.layers import LIF, Linear
        >>> model = nn.Sequential(OverTime(Linear(3, 2)), LIF())
        >>> count_operations(model, [torch.ones(4, 1, 3)]).total("acs")
        24.0
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    counter = Counter()
    try:
        with torch.no_grad(), counter.watching(model):
            for x_seq in sequences:
                check_sequence(x_seq)
                counter.ledger.begin(x_seq.shape[1])
                with counter:
                    model(x_seq)
    finally:
        for module, training in modes.items():
            module.training = training
    return counter.ledger.counts(model)


class Counter(TorchFunctionMode):
    """Notes every layer that runs, and every function between layers."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self._inside = 0
        self._outside = 0  # 1 where a host works that is not counted

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        """Hook every layer inside the block."""
        with ExitStack() as hooks:
            for name, module in leaves(model):
                if isinstance(module, Temporal) and module.rule is not dynamics:
                    raise Unsupported(
                        f"{name}: its rule was replaced; count the network outside of ruled(...)"
                    )
                hooks.callback(module.register_forward_pre_hook(self._enter).remove)
                hooks.callback(module.register_forward_hook(self._leave(name)).remove)
            for part in counted(model):
                self._outside = 1
                hooks.callback(part.register_forward_pre_hook(self._cross(-1)).remove)
                hooks.callback(part.register_forward_hook(self._cross(1)).remove)
            for module in model.modules():
                if isinstance(module, OverTime):
                    hooks.callback(module.register_forward_pre_hook(self._fold(1)).remove)
                    hooks.callback(module.register_forward_hook(self._fold(-1)).remove)
            yield

    def _enter(self, _layer: nn.Module, _inputs: Any) -> None:
        self._inside += 1

    def _leave(self, name: str) -> Any:
        def hook(layer: nn.Module, inputs: tuple[Any, ...], out: Any) -> None:
            if self._inside == 1 and isinstance(out, Tensor):
                with torch.autocast(out.device.type, enabled=False):
                    tally_layer(self.ledger, name, layer, inputs[0], out)
                self.ledger.last = name
            self._inside -= 1

        return hook

    def _cross(self, by: int) -> Any:
        def hook(*_: Any) -> None:
            self._outside += by

        return hook

    def _fold(self, by: int) -> Any:
        def hook(*_: Any) -> None:
            self.ledger.folded += by

        return hook

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if not (self._inside or self._outside) and isinstance(out, Tensor):
            with torch.autocast(out.device.type, enabled=False):
                note_function(self.ledger, func, args, kwargs or {}, out)
        return out


def counted(model: nn.Module) -> list[nn.Module]:
    """Parts of a model that say of themselves that they alone are its network.

    A class names them in ``counted``: what is around them (geometry, say) a host computes.
    """
    return [
        part
        for module in model.modules()
        for name in getattr(type(module), "counted", ())
        if isinstance(part := getattr(module, name), nn.Module)
    ]


def leaves(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Layers of known kinds, by name, and not what these are made of.

    Of other modules the functions that they call are noted.
    """
    seen: set[nn.Module] = set()

    def walk(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
        if module in seen:
            return
        seen.add(module)
        if isinstance(module, KNOWN):
            yield name or type(module).__name__, module
            return
        for child, inner in module.named_children():
            yield from walk(f"{name}.{child}".lstrip("."), inner)

    yield from walk("", model)


__all__ = ["count_operations", "leaves"]
