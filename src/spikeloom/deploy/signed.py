"""Spikes of levels 0, 1, 2 sent as -1, 0, 1: what a map then lacks goes into its bias.

    s = s' + 1,   W s + b = W s' + (b + W 1)

Which maps read such spikes is seen while the network runs once: the spikes are followed through
views and poolings of maxima to the maps. Only weights that meet spikes are summed.
"""

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized
from torch.overrides import TorchFunctionMode

from spikeloom.deploy.energy.between import VIEWS
from spikeloom.deploy.energy.fan_out import with_weights
from spikeloom.layers import Dropout, NoReadout, ShiftedTernaryLIF, TernaryLIF
from spikeloom.registry import Unsupported

MAPS = (nn.Linear, nn.Conv2d)
PASSING = (nn.MaxPool2d, nn.Flatten, nn.Identity, nn.Dropout, Dropout, NoReadout)
ALSO = {"stack", "unbind", "split", "chunk", "clone", "detach", "to"}


def signed(model: nn.Module, x_seq: Tensor) -> nn.Module:
    """A copy of a network whose ternary spikes are -1, 0 and 1, for inference.

    Every map that reads spikes of :class:`~spikeloom.layers.TernaryLIF` has W 1 in its bias, and
    a convolution pads with -1, which is what a silent neuron sends. Outputs are those of the
    network, but for rounding. Weights that are transformed become what they are now.

    Args:
        model: made of layers; stays as it is.
        x_seq: a few inputs, to see what reads what.
    Shape:
        x_seq [T, N, *]
    Returns:
        The copy, in evaluation mode.
    Raises:
        Unsupported: there are no such neurons; their spikes are added, averaged or put out; a map
            reads them in one place and something else in another; a convolution pads otherwise
            than with zeros.
    """
    twin = copy.deepcopy(model).eval()
    neurons = {n: m for n, m in twin.named_modules() if type(m) is TernaryLIF}
    if not neurons:
        raise Unsupported(
            "the network has no neurons with levels 0, 1, 2 (neuron = ternary_lif), so there is "
            "nothing to shift"
        )
    follower = Follower()
    with torch.no_grad(), follower.watching(twin), follower:
        out = twin(x_seq)
    if follower.spikes(out):
        raise Unsupported(
            "the network puts out spikes of ternary neurons, which would come out shifted; end it "
            "with a linear map"
        )
    for name, layer in follower.maps.items():
        if follower.reads[name] == {True}:
            _put(twin, name, _absorbing(name, layer))
        elif True in follower.reads[name]:
            raise Unsupported(
                f"{name} reads ternary spikes in one place and other values in another, and has "
                "one bias for both; give each a layer of its own"
            )
    for name, neuron in neurons.items():
        _put(twin, name, ShiftedTernaryLIF.of(neuron))
    return twin


class Follower(TorchFunctionMode):
    """Knows which values are spikes of ternary neurons while a network runs."""

    def __init__(self) -> None:
        super().__init__()
        self.maps: dict[str, nn.Module] = {}
        self.reads: dict[str, set[bool]] = {}
        self._known: dict[int, Tensor] = {}  # kept, so that no other tensor gets their address
        self._inside = 0

    def spikes(self, value: Any) -> bool:
        """Whether a value is such spikes."""
        return id(value) in self._known

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        """Look at what goes into every layer inside the block."""
        with ExitStack() as hooks:
            for name, layer in model.named_modules():
                if isinstance(layer, (*MAPS, *PASSING, TernaryLIF)) or not [*layer.children()]:
                    hooks.callback(layer.register_forward_pre_hook(self._enter).remove)
                    hooks.callback(layer.register_forward_hook(self._leave(name)).remove)
            yield

    def _enter(self, _layer: nn.Module, _inputs: Any) -> None:
        self._inside += 1

    def _leave(self, name: str) -> Any:
        def hook(layer: nn.Module, inputs: tuple[Any, ...], out: Any) -> None:
            self._inside -= 1
            if self._inside:
                return
            given = any(self.spikes(value) for value in inputs)
            if isinstance(layer, MAPS):
                self.maps[name] = layer
                self.reads.setdefault(name, set()).add(given)
            elif isinstance(layer, TernaryLIF) or (given and isinstance(layer, PASSING)):
                self._known[id(out)] = out
            elif given:
                raise Unsupported(
                    f"{name} ({type(layer).__name__}) reads ternary spikes, and what it makes of "
                    "shifted ones is not known; only linear maps and convolutions take the shift in"
                )

        return hook

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        parts = out if isinstance(out, (tuple, list)) else (out,)
        made = [part for part in parts if isinstance(part, Tensor)]
        given = [a for arg in args for a in (arg if isinstance(arg, (tuple, list)) else (arg,))]
        read = [self.spikes(a) for a in given if isinstance(a, Tensor)]
        if self._inside or not made or not any(read):
            return out
        name = getattr(func, "__name__", str(func))
        if name not in VIEWS | ALSO | {"cat"} or not all(read):
            raise Unsupported(
                f"the network calls {name} on ternary spikes, which are not what they were once "
                "they are shifted; between neurons and maps only views may stand"
            )
        self._known.update({id(part): part for part in made})
        return out


def _absorbing(name: str, layer: nn.Module) -> nn.Module:
    """The map with the sum of its weights in its bias; padding is what a silent neuron sends."""
    assert isinstance(layer, MAPS)
    weight = layer.weight.detach()
    shift = weight.double().flatten(1).sum(1).to(weight.dtype)
    bias = shift if layer.bias is None else layer.bias.detach() + shift
    twin: Any = with_weights(layer, weight.clone(), None)
    twin.register_parameter("bias", nn.Parameter(bias, requires_grad=False))
    if is_parametrized(twin):
        raise Unsupported(f"{name}: its weights are transformed in a way that does not come off")
    if not isinstance(layer, nn.Conv2d) or not any(layer.padding):
        return twin  # type: ignore[no-any-return]
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        raise Unsupported(
            f"{name} pads with {layer.padding_mode} {layer.padding}; only given numbers of zeros "
            "have a counterpart"
        )
    down, across = layer.padding
    twin.padding = (0, 0)
    return nn.Sequential(nn.ConstantPad2d((across, across, down, down), -1.0), twin)


def _put(model: nn.Module, name: str, layer: nn.Module) -> None:
    place, _, last = name.rpartition(".")
    setattr(model.get_submodule(place), last, layer)


__all__ = ["signed"]
