"""A student and its teacher: which layer follows which, and the rates that are its targets."""

from collections.abc import Iterable
from typing import Literal, Self, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from spikeloom.functional.tandem import percentile, rank, rate_target
from spikeloom.layers import Neuron, ReLU, is_constant
from spikeloom.learning.base import Unsupported

Scale = Literal["batch", "running"]


class Tandem(nn.Module):
    """A spiking model beside a frozen teacher of rectifiers.

    The i-th layer of spiking neurons to run follows the i-th rectifier to run. Its target rate is
    the activation there, divided by the p-th percentile of the layer and clipped to [0, 1].

    Args:
        model: the student.
        teacher: stays in evaluation, without gradients.
        p: the percentile.
        scale: percentiles of each ``batch``, or their ``running`` average over batches.
        momentum: share of the new batch in the running average.
    Shape:
        x_seq [T, N, *] -> logits_seq [T, N, K], of the student
    Raises:
        Unsupported: the two have not as many layers.
    """

    scales: Tensor

    def __init__(
        self, model: nn.Module, teacher: nn.Module, *, p: float, scale: Scale, momentum: float
    ) -> None:
        super().__init__()
        weight = next(model.parameters())
        self.model = model
        self.teacher = teacher.eval().requires_grad_(False).to(weight.device, weight.dtype)
        self.p, self.scale, self.momentum = p, scale, momentum
        self.neurons = named(model, Neuron)  # type: ignore[type-abstract]  # asked for, never made
        self.rectifiers = named(teacher, ReLU)
        if not self.neurons or len(self.neurons) != len(self.rectifiers):
            raise Unsupported(
                f"the student has {len(self.neurons)} layers of spiking neurons and the teacher "
                f"{len(self.rectifiers)} of rectifiers; each needs its partner: take a teacher of "
                'the same model with neuron = "relu"'
            )
        self.partner: dict[Neuron, ReLU] = {}  # known once both have run
        self.register_buffer("scales", weight.new_zeros(len(self.neurons)))

    def forward(self, x_seq: Tensor) -> Tensor:
        logits_seq: Tensor = self.model(x_seq)
        return logits_seq

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.teacher.eval()
        return self

    @torch.no_grad()
    def targets(self, x_seq: Tensor, *, learn: bool = True) -> dict[Neuron, Tensor]:
        """The rates that each layer of neurons is to have for these images.

        Args:
            x_seq: what student and teacher see: one image, repeated.
            learn: let the running scales follow.
        Shape:
            x_seq [T, N, *] -> [N, *] for each layer
        Raises:
            Unsupported: the sequence is not one image repeated.
        """
        if not is_constant(x_seq) and not bool((x_seq == x_seq[:1]).all()):
            raise Unsupported(
                "the teacher looks at one image, the student at a sequence of several; use "
                'encoder = "constant"'
            )
        activations = outputs(self.teacher, self.rectifiers, x_seq[:1])
        if not self.partner:
            self.partner = dict(zip(self._order(x_seq), activations, strict=True))
        found = {}
        for at, (neuron, rectifier) in enumerate(self.partner.items()):
            activation = activations[rectifier][0]
            scale = over_processes(activation, self.p)
            if self.scale == "running" and learn:
                old = self.scales[at]
                scale = torch.where(old > 0, old.lerp(scale.to(old), self.momentum), scale.to(old))
                self.scales[at] = scale
            elif self.scale == "running":
                scale = self.scales[at] if self.scales[at] > 0 else scale
            found[neuron] = rate_target(activation, scale)
        return found

    def check(self, neuron: Neuron, spike_seq: Tensor, target: Tensor) -> None:
        """Raise Unsupported unless a layer has the shape of its partner."""
        if spike_seq.shape[1:] == target.shape:
            return
        partner = self.rectifiers[self.partner[neuron]]
        raise Unsupported(
            f"neurons {self.neurons[neuron]} of shape {tuple(spike_seq.shape[2:])} cannot follow "
            f"rectifiers {partner} of shape {tuple(target.shape[1:])}; take a teacher with the "
            "same widths, strides and poolings"
        )

    def _order(self, x_seq: Tensor) -> list[Neuron]:
        """The student's neurons as they run, which need not be as they are defined."""
        modes = {module: module.training for module in self.model.modules()}
        self.model.eval()  # so that norms and random numbers stay as they are
        try:
            return list(outputs(self.model, self.neurons, x_seq[:, :1]))
        finally:
            for module, mode in modes.items():
                module.training = mode


Kind = TypeVar("Kind", bound=nn.Module)


def named(model: nn.Module, kind: type[Kind]) -> dict[Kind, str]:
    """The modules of a kind and their names."""
    return {module: name for name, module in model.named_modules() if isinstance(module, kind)}


def outputs(model: nn.Module, layers: Iterable[Kind], x_seq: Tensor) -> dict[Kind, Tensor]:
    """What these layers put out for an input, in the order in which they run."""
    seen: dict[Kind, Tensor] = {}

    def keep(module: Kind, _inputs: object, output: Tensor) -> None:
        seen[module] = output

    hooks = [layer.register_forward_hook(keep) for layer in layers]
    try:
        model(x_seq)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def over_processes(x: Tensor, p: float) -> Tensor:
    """:func:`percentile` of the entries of all processes together.

    The k-th smallest of n is the m-th greatest with m = n - k + 1, and is among the m greatest of
    one of the processes: only those travel.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return percentile(x, p)
    flat = x.detach().flatten().to(torch.promote_types(x.dtype, torch.float32))
    total = torch.tensor([flat.numel()], device=flat.device)
    dist.all_reduce(total)
    n = int(total)
    m = n - rank(p, n) + 1
    top = flat.new_full((m,), -torch.inf)
    kept = min(m, flat.numel())
    top[:kept] = flat.topk(kept).values
    parts = [torch.empty_like(top) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, top)
    return torch.cat(parts).topk(m).values[-1]
