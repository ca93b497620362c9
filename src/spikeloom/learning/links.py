"""Maps whose weights and whose inputs get gradients of their own from the neurons they drive.

While a model runs inside :func:`linked`, a convolution or linear map sees its input detached, so
that what comes back through its output reaches its weights alone. What is meant for the input
travels on a second tensor, the link: it has the shape of the output, holds nothing, and its
backward is that of the map with regard to the input. Nothing is computed twice.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn import grad as backward_of

from spikeloom.layers import DoubleExponential, ruled
from spikeloom.layers.base import State, Temporal
from spikeloom.learning.base import Unsupported
from spikeloom.learning.graph import is_sum_of
from spikeloom.learning.plastic import Map, maps

# What neurons fire: (neurons, current [T, N, *], its link or None, the maps that drive them).
Fire = Callable[[DoubleExponential, Tensor, Tensor | None, list[Map]], Tensor]


class Arrived(NamedTuple):
    """A map that has run, its output in the graph, and the link from there to its input."""

    layer: Map
    out: GradientEdge | None
    link_seq: Tensor | None


@contextmanager
def linked(model: nn.Module, fire: Fire) -> Iterator[None]:
    """Let neurons fire as told, with the links of the maps that ran since the neurons before.

    Args:
        model: whose maps over a sequence feed :class:`DoubleExponential` neurons.
        fire: called in place of the neurons' own dynamics.
    Raises:
        Unsupported: neurons whose current is not the output of the maps that ran since the neurons
            before, or the sum of their outputs: what lies between would be missing in the links.
    """
    waiting: list[Arrived] = []
    entered: dict[nn.Module, Tensor] = {}
    places = {module: name for name, module in model.named_modules()}

    def before(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        entered[module] = inputs[0]
        return (inputs[0].detach(),)

    def after(layer: Map) -> Any:
        def hook(module: nn.Module, _: Any, out: Tensor) -> None:
            link_seq = link(entered.pop(module), layer, out.shape)
            waiting.append(Arrived(layer, _edge(out), link_seq))

        return hook

    def rule(neuron: Temporal, x_seq: Tensor, _: State) -> tuple[Tensor, State]:
        assert isinstance(neuron, DoubleExponential)
        _check_current(places[neuron], x_seq, waiting)
        links = [each.link_seq for each in waiting if each.link_seq is not None]
        driving = [each.layer for each in waiting]
        waiting.clear()
        link_seq = sum(links[1:], start=links[0]) if links else None
        return fire(neuron, x_seq, link_seq, driving), None

    with ExitStack() as stack:
        for name, module in maps(model):
            layer: Any = model.get_submodule(name)
            for handle in (
                module.register_forward_pre_hook(before),
                module.register_forward_hook(after(layer)),
            ):
                stack.callback(handle.remove)
        stack.enter_context(ruled(model, rule, DoubleExponential))
        yield


def _edge(out: Tensor) -> GradientEdge | None:
    """Where an output is in the graph; None without one. Frozen maps are found as well."""
    if not torch.is_grad_enabled():
        return None
    return get_gradient_edge(out if out.requires_grad else out.requires_grad_())


def _check_current(place: str, x_seq: Tensor, waiting: list[Arrived]) -> None:
    if not waiting:
        raise Unsupported(f"event_bp: no convolution or linear map drives {place}")
    outs = [each.out for each in waiting if each.out is not None]
    if outs and not is_sum_of(x_seq, outs):
        raise Unsupported(
            f"event_bp: the current of {place} is not the output of the maps before it, or their "
            "sum, so gradients would miss what lies between: put poolings and dropout in front of "
            "the maps, leave out scales and biases of their own; spikes join it through weights "
            'alone (in residual networks residual = "sew")'
        )


def link(x_seq: Tensor, layer: Map, shape: torch.Size) -> Tensor | None:
    """Zeros of that shape, whose gradient g reaches x_seq as weightᵀ g; None if it wants none.

    Shape:
        x_seq [T, N, *] -> shape
    """
    if not (x_seq.requires_grad and torch.is_grad_enabled()):
        return None
    link_seq: Tensor = _Link.apply(x_seq, layer.weight.detach(), layer, shape)  # type: ignore[no-untyped-call]
    return link_seq


class _Link(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_seq: Tensor, weight: Tensor, layer: Map, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.layer, ctx.shape, ctx.dtype = layer, x_seq.shape, x_seq.dtype
        return x_seq.new_zeros(()).expand(shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (weight,) = ctx.saved_tensors
        grad, layer = grads[0].to(weight.dtype), ctx.layer
        if isinstance(layer, nn.Linear):
            return (grad @ weight).to(ctx.dtype), None, None, None
        T, N, *image = ctx.shape
        x_grad = backward_of.conv2d_input(
            torch.Size((T * N, *image)), weight, grad.flatten(0, 1), layer.stride, layer.padding,
            layer.dilation, layer.groups,
        )  # fmt: skip
        return x_grad.unflatten(0, (T, N)).to(ctx.dtype), None, None, None
