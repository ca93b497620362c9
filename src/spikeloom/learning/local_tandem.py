"""Local tandem learning: every layer alone, until it fires as a teacher's layer is active."""

from collections.abc import Iterator, Mapping
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from spikeloom.functional.neurons.inputs import wide
from spikeloom.functional.tandem import Reduction, rate_mismatch
from spikeloom.layers import Neuron, Rule, carry, ruled, whole_only
from spikeloom.layers.base import State, Temporal
from spikeloom.learning.base import (
    Batch,
    Loss,
    Metrics,
    Objective,
    Progress,
    Unsupported,
    of_batch,
    to_scale,
)
from spikeloom.learning.graph import leaves_behind
from spikeloom.learning.tandem import Scale, Tandem
from spikeloom.papers import Paper
from spikeloom.registry import register

PAPER = Paper(
    key="yang2022ltl",
    title="Training Spiking Neural Networks with Local Tandem Learning",
    authors=("Qu Yang", "Jibin Wu", "Malu Zhang", "Yansong Chua", "Xinchao Wang", "Haizhou Li"),
    venue="Advances in Neural Information Processing Systems",
    year=2022,
    url="https://arxiv.org/abs/2210.04532",
    code="https://github.com/Aries231/Local_tandem_learning_rule",
)

Variant = Literal["offline", "online"]
Update = Literal["batch", "step"]
PERCENTILE = {"offline": 99.9, "online": 99.0}


@register("learner", "local_tandem", paper=PAPER, status="exact")
class LocalTandem:
    """Local tandem learning (LTL): each layer's firing rate follows a teacher's activation.

    Offline, L = loss(logits) + weight sum_l mean (mean_t s_l[t] - y_l)^2; spikes are detached
    between layers and each layer's term is sent back at once, through time but not through
    layers, so what is kept for the backward does not grow with depth (the targets of all layers
    do: the teacher goes first). The loss of the logits trains only what lies behind the last
    neurons.

    Online, nothing goes back in time either: states are detached before every step, and
    L = sum_{t > warm_up} loss(mean of the logits up to t)
    + weight sum_l mean (mean of s_l up to t - y_l)^2, t counted from 1.

    y_l = clip(A_l / a_l, 0, 1), A_l the activation of the l-th rectifier of the teacher and a_l a
    percentile of all its entries in the batch.

    Args:
        variant: ``offline`` or ``online``.
        percentile: of a_l; 99.9 offline and 99 online if None.
        weight: of the local terms.
        warm_up: steps before an online layer learns.
        update: online: one update a ``batch``, as in the authors' code, or one at every ``step``
            after the warm-up, as hardware would (inferred).
        scale: a_l of each ``batch`` as published, or ``running``, its average over batches (ours).
        momentum: share of the new batch in the running a_l.
        reduction: ``mean`` over samples and places, or the ``sum`` over places (ours).
        teacher: handed over by the run: see ``[teacher]``.
    Raises:
        ValueError: an argument out of range, or updates at every step offline.
        Unsupported: no teacher, or none that fits; online: a layer that mixes steps, or no steps
            after the warm-up; real values that run past neurons; a callback's term in the loss.
    Source:
        Yang et al., NeurIPS 2022 (arXiv 2210.04532); constants are those of the authors' code.
    """

    def __init__(
        self,
        *,
        variant: Variant = "offline",
        percentile: float | None = None,
        weight: float = 1.0,
        warm_up: int = 12,
        update: Update = "batch",
        scale: Scale = "batch",
        momentum: float = 0.1,
        reduction: Reduction = "mean",
        teacher: nn.Module | None = None,
    ) -> None:
        for name, value, known in (
            ("variant", variant, Variant), ("update", update, Update),
            ("scale", scale, Scale), ("reduction", reduction, Reduction),
        ):  # fmt: skip
            if value not in get_args(known):
                raise ValueError(f"{name} must be one of {get_args(known)}, got {value!r}")
        p = PERCENTILE[variant] if percentile is None else percentile
        if not 0 < p <= 100 or not weight > 0 or not 0 < momentum <= 1 or warm_up < 0:
            raise ValueError(
                "local_tandem needs percentile in (0, 100], weight > 0, momentum in (0, 1] and "
                f"warm_up >= 0, got {p}, {weight}, {momentum} and {warm_up}"
            )
        if update == "step" and variant == "offline":
            raise ValueError("an update at every step needs variant = 'online'")
        self.variant, self.p, self.weight, self.warm_up = variant, p, weight, warm_up
        self.scale, self.momentum, self.reduction = scale, momentum, reduction
        self.stepping = update == "step"
        self.teacher, self.checked = teacher, False

    def prepare(self, model: nn.Module) -> nn.Module:
        if self.teacher is None:
            raise Unsupported(
                "local_tandem needs a teacher, and there is none; add a table [teacher] with "
                'run = "FOLDER" (a finished run) or recipe = "NAME" (to be trained first)'
            )
        return Tandem(model, self.teacher, p=self.p, scale=self.scale, momentum=self.momentum)

    def step(self, model: nn.Module, batch: Batch, loss: Loss, progress: Progress) -> Metrics:
        *_, last = self.steps(model, batch, loss, progress)
        return last

    def steps(
        self, model: nn.Module, batch: Batch, loss: Loss, progress: Progress
    ) -> Iterator[Metrics]:
        """Metrics each time that gradients are there: of the batch, or online of a step."""
        assert isinstance(model, Tandem)
        target = model.targets(batch.x_seq)
        terms = Terms(model, target, loss, self.weight, self.reduction, check=not self.checked)
        if self.variant == "offline":
            yield self._whole(model, batch, terms)
        else:
            yield from self._stepwise(model, batch, terms)
        self.checked = True

    def finish(self, model: nn.Module) -> nn.Module:
        assert isinstance(model, Tandem)
        return model.model

    def _whole(self, model: Tandem, batch: Batch, terms: "Terms") -> Metrics:
        def local(layer: Temporal, x_seq: Tensor, state: State) -> tuple[Tensor, State]:
            assert isinstance(layer, Neuron)
            spike_seq, state = terms.own[layer](layer, x_seq, state)
            rate = wide(spike_seq).sum(0) / len(
                spike_seq
            )  # not mean(): its backward divides T times
            terms.send_back(layer, spike_seq, rate)
            return spike_seq.detach(), detached(state)

        with ruled(model.model, local):
            logits_seq = model.model(batch.x_seq)
        terms.send_back_logits(logits_seq, batch.y)
        return Metrics(terms.total, of_batch(logits_seq.detach(), batch.y))

    def _stepwise(self, model: Tandem, batch: Batch, terms: "Terms") -> Iterator[Metrics]:
        T = len(batch.x_seq)
        self._check_online(model.model, T)
        counts: dict[Neuron, Tensor] = {}
        shown: list[Tensor] = []
        sums, states = torch.zeros(()), None
        for t in range(1, T + 1):

            def local(
                layer: Temporal, x_seq: Tensor, state: State, t: int = t
            ) -> tuple[Tensor, State]:
                assert isinstance(layer, Neuron)
                spike_seq, state = terms.own[layer](layer, x_seq, state)
                count = counts.get(layer, 0) + wide(spike_seq[0])
                counts[layer] = count.detach()
                if t > self.warm_up:
                    terms.send_back(layer, spike_seq, count / t)
                return spike_seq.detach(), detached(state)

            with ruled(model.model, local), torch.set_grad_enabled(t > self.warm_up):
                logits_seq, states = carry(model.model, batch.x_seq[t - 1 : t], states)
            sums = sums.to(logits_seq.device) + wide(logits_seq)
            if t > self.warm_up:
                terms.send_back_logits(sums / t, batch.y)
            sums, states = sums.detach(), detached(states)
            shown.append(logits_seq.detach())
            if t > self.warm_up and (self.stepping or t == T):
                yield Metrics(terms.total, of_batch(torch.cat(shown), batch.y))

    def _check_online(self, model: nn.Module, T: int) -> None:
        if self.warm_up >= T:
            raise Unsupported(
                f"online, layers learn after warm_up = {self.warm_up} steps, and a sequence has "
                f"T = {T}; lower warm_up or raise T"
            )
        if not self.checked and (reason := whole_only(model)):
            raise Unsupported(
                f"online, a network runs step by step, but {reason}; use norm = {{ name = "
                '"none", bias = true }, no dropout, or variant = "offline"'
            )


class Terms:
    """The terms of one batch: each is sent back as soon as its layer has fired.

    Args:
        model: student and teacher.
        target: rates by layer.
        loss: of the logits, as the loop hands it over.
        weight: of the local terms.
        reduction: how squares of a layer are put together.
        check: whether to make sure that layers share no parameter.
    """

    def __init__(
        self,
        model: Tandem,
        target: Mapping[Neuron, Tensor],
        loss: Loss,
        weight: float,
        reduction: Reduction,
        *,
        check: bool,
    ) -> None:
        self.model, self.target, self.loss = model, target, loss
        self.weight, self.reduction = weight, reduction
        self.own: dict[Temporal, Rule] = {layer: layer.rule for layer in target}
        self.total = torch.zeros((), device=model.scales.device)
        self.owner: dict[Tensor, str] | None = {} if check else None

    def send_back(self, layer: Neuron, spike_seq: Tensor, rate: Tensor) -> None:
        """Gradients of a layer's term."""
        target = self.target[layer]
        self.model.check(layer, spike_seq, target)
        value = self.weight * rate_mismatch(rate, target, self.reduction)
        self._back(to_scale(self.loss, value), self.model.neurons[layer])

    def send_back_logits(self, logits_seq: Tensor, y: Tensor) -> None:
        """Gradients of the loss of the logits."""
        value = self.loss(logits_seq, y)
        if isinstance(self.loss, Objective) and self.loss.added:
            raise Unsupported(
                "local_tandem sends no loss through the whole network, but a callback adds a term "
                "to it; leave that callback out"
            )
        self._back(value, "the output")

    def _back(self, value: Tensor, name: str) -> None:
        if self.owner is not None:
            self._claim(value, name)
        if value.requires_grad:
            value.backward()
        self.total = self.total + value.detach()

    def _claim(self, value: Tensor, name: str) -> None:
        """Note which parameters a term trains; what another one has trained is no longer local."""
        assert self.owner is not None
        for parameter in leaves_behind(value):
            if (other := self.owner.setdefault(parameter, name)) != name:
                raise Unsupported(
                    f"real values that {other} has passed on reach {name} without spikes between; "
                    "local_tandem needs neurons that hear spikes alone (of residual blocks "
                    "'standard' or 'sew')"
                )


def detached(state: State) -> State:
    """A state, or several in tuples, cut off from what came before."""
    if isinstance(state, Tensor):
        return state.detach()
    if isinstance(state, tuple):
        parts = [detached(part) for part in state]
        return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)
    return state


__all__ = ["LocalTandem", "Tandem"]
