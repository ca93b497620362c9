"""The temperature of Dspike, found anew before every epoch by finite differences."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import is_parametrized

from spikeloom.callbacks.slope import Slope
from spikeloom.functional import Surrogate
from spikeloom.functional.dspike import PAPER, Dspike
from spikeloom.layers import (
    BatchNorm,
    Dropout,
    LTMDHead,
    Membrane,
    ModerateDropout,
    OverTime,
    StepBatchNorm,
)
from spikeloom.learning.base import Batch, Loss, Progress, Unsupported
from spikeloom.registry import register


@register("callback", "dspike", paper=PAPER, status="exact")
class DspikeSearch(Slope):
    """Dspike on every neuron, its temperature b moved before each epoch to fit the true loss.

    G[i] = (L(w + ε e_i) - L(w - ε e_i)) / (2 ε) for the weights w of the first layer, with hard
    spikes; b becomes whichever of {b, b + Δb, b - Δb} gives a BPTT gradient of w whose cosine with
    G is largest. All neurons share one b. L is the phase's loss of the main logits, without terms
    of other callbacks or losses that the learner adds (inferred). The search is done in the
    precision of the weights, also where training is in half precision.

    Args:
        b: where it starts.
        step: Δb; 0 keeps b.
        alpha: 1 / V_s of :class:`Dspike`; if None, 1 / (2 V_th) with the mean threshold of the
            neurons as the phase begins, so that the window reaches as far as in the paper.
        epsilon: ε as a share of the standard deviation of w. Too small, and G is the jumps of few
            samples over the firing level: the note ``ratio``, the norm of G over that of the
            gradient by back-propagation, is then large.
        samples: of the batch that the search uses.
        weights: how many entries of w are perturbed, drawn anew each epoch; all if None, which
            is the paper and takes long. Fewer are an approximation of ours.
        together: how many perturbed networks go through at once; those with dropout, or with
            norms that take their statistics from the batch, go through one by one.
        lowest: b does not fall below.
    Raises:
        ValueError: a number out of range.
        Unsupported: the model has no neurons with a surrogate, or no layer with weights.
    Source:
        Li et al., NeurIPS 2021, Algorithm 1. The paper's b, Δb and ε were not found; the values
        here are inferred, as are the bound on b, running statistics left alone, and keeping b when
        its cosine is not defined.
    """

    def __init__(
        self,
        *,
        b: float = 3.0,
        step: float = 0.2,
        alpha: float | None = None,
        epsilon: float = 0.3,
        samples: int = 64,
        weights: int | None = None,
        together: int = 8,
        lowest: float = 0.1,
    ) -> None:
        if step < 0 or not epsilon > 0 or not 0 < lowest <= b:
            raise ValueError(
                "dspike needs step >= 0, epsilon > 0 and 0 < lowest <= b, got "
                f"step={step}, epsilon={epsilon}, lowest={lowest}, b={b}"
            )
        if samples < 2 or together < 1 or (weights is not None and weights < 1):
            raise ValueError(
                "dspike needs samples >= 2, together >= 1 and weights >= 1, got "
                f"{samples}, {together} and {weights}"
            )
        Dspike(alpha=1.0 if alpha is None else alpha, b=b)  # refuses what it cannot be
        self.b, self.alpha, self.by, self.lowest = b, alpha, step, lowest
        self.epsilon, self.samples, self.weights = epsilon, samples, weights
        self.together = together

    def state(self) -> dict[str, Any]:
        return {"b": self.b, "alpha": self.alpha}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.b, self.alpha = state["b"], state.get("alpha", self.alpha)

    def apply(self, model: nn.Module) -> None:
        if self.alpha is None:
            self.alpha = 0.5 / _threshold(self.neurons(model))
        super().apply(model)

    def surrogate_now(self) -> Surrogate:
        assert self.alpha is not None, "apply comes first"
        return Dspike(alpha=self.alpha, b=self.b)

    def epoch(
        self, model: nn.Module, probe: Callable[[int], Batch], loss: Loss, progress: Progress
    ) -> dict[str, float]:
        notes = {"b": self.b}
        name, weight = first_weight(model)
        size = self.epsilon * float(weight.detach().std())
        if self.by == 0 or size == 0:
            return notes
        batch = probe(self.samples)
        # Autocast would go on with its rounded copy of the weights, whatever becomes of them.
        with torch.autocast(weight.device.type, enabled=False):
            return self._search(model, name, weight, size, batch, loss)

    def rehearse(
        self, model: nn.Module, probe: Callable[[int], Batch], loss: Loss, progress: Progress
    ) -> None:
        self.weights = 1  # of a callback that serves for the rehearsal alone
        super().rehearse(model, probe, loss, progress)

    def _search(
        self, model: nn.Module, name: str, weight: Tensor, size: float, batch: Batch, loss: Loss
    ) -> dict[str, float]:
        chosen = torch.randperm(weight.numel())
        chosen = chosen[: self.weights or weight.numel()].sort().values
        loss = in_float64(loss)
        objective = repeatable(model, batch, loss)
        if self.together > 1 and separable(model, name):
            measured = batched_differences(model, name, batch, loss, chosen, size, self.together)
        else:
            measured = finite_differences(objective, weight, chosen, size)
        slopes = {}
        for b in (self.b, self.b + self.by, self.b - self.by):
            if b >= self.lowest:
                with self._tried(model, b):
                    (slope,) = torch.autograd.grad(objective(), weight)
                slopes[b] = slope.flatten()[chosen].to("cpu", torch.float64)
        cosines = {b: float(F.cosine_similarity(s, measured, dim=0)) for b, s in slopes.items()}
        ratio = measured.norm() / slopes[self.b].norm()
        self.b = _best(cosines)
        found = dict(zip(("cosine", "cosine up", "cosine down"), cosines.values(), strict=False))
        zeros = (measured == 0).double().mean()
        return {"b": self.b, **found, "ratio": float(ratio), "zeros": float(zeros)}

    @contextmanager
    def _tried(self, model: nn.Module, b: float) -> Iterator[None]:
        kept, self.b = self.b, b
        self.apply(model)
        try:
            yield
        finally:
            self.b = kept
            self.apply(model)


def repeatable(model: nn.Module, batch: Batch, loss: Loss) -> Callable[[], Tensor]:
    """The loss on a batch as a function of the weights alone: every call draws the same numbers.

    With masks of its own, every pass of a network with dropout would be one of another network.
    Starts the global random numbers anew at every call.
    """
    seed = int(torch.randint(2**62, ()))

    def objective() -> Tensor:
        torch.manual_seed(seed)
        return loss(model(batch.x_seq), batch.y)

    return objective


def in_float64(loss: Loss) -> Loss:
    """The same loss of the same logits without rounding of its own, which differences would show.

    On the CPU, since not every device has float64.
    """

    def value(logits_seq: Tensor, y: Tensor) -> Tensor:
        shares = y.is_floating_point()
        return loss(
            logits_seq.to("cpu", torch.float64), y.to("cpu", torch.float64 if shares else y.dtype)
        )

    return value


def finite_differences(
    objective: Callable[[], Tensor], weight: Tensor, chosen: Tensor, size: float
) -> Tensor:
    """Central differences of a loss along single entries of a weight.

    Args:
        objective: the loss with the weight as it is now.
        weight: changed in place, and put back.
        chosen: flat indices of the entries.
        size: ε.
    Shape:
        chosen [n] -> [n]
    """
    with torch.no_grad():
        return _central([float(objective()) for _ in _nudged(weight, chosen, size)], size)


def batched_differences(
    model: nn.Module,
    name: str,
    batch: Batch,
    loss: Loss,
    chosen: Tensor,
    size: float,
    together: int,
) -> Tensor:
    """:func:`finite_differences` with several perturbed networks side by side in the batch.

    Only the first layer differs between them, so its outputs are put together and the rest of the
    network sees one large batch.

    Args:
        model: separable in the sense of :func:`separable`.
        name: of the first layer with a weight.
        batch, loss: what the loss is taken on.
        chosen, size: as there.
        together: entries in one pass, which are twice as many networks.
    """
    layer, wrapper = model.get_submodule(name), model.get_submodule(name.rpartition(".")[0])
    weight: Tensor = layer.weight  # type: ignore[assignment]  # any module's attribute
    values: list[float] = []
    for part in chosen.split(together):

        def perturbed(module: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> Tensor:
            every = _nudged(weight, part, size)  # noqa: B023 the hook is gone before the next part
            return torch.cat([module.forward(inputs[0]) for _ in every], 1)

        hook = wrapper.register_forward_hook(perturbed)
        try:
            with torch.no_grad():
                logits_seq = model(batch.x_seq)
        finally:
            hook.remove()
        values += [float(loss(one, batch.y)) for one in logits_seq.split(len(batch.y), 1)]
    return _central(values, size)


def _nudged(weight: Tensor, chosen: Tensor, size: float) -> Iterator[None]:
    """Turn by turn each chosen entry of the weight is raised, then lowered, and then put back."""
    for index in chosen.tolist():
        entry = _entry(weight, index)
        kept = entry.clone()
        for sign in (1, -1):
            entry.copy_(kept + sign * size)
            yield
        entry.copy_(kept)


def _central(values: list[float], size: float) -> Tensor:
    """Central differences of values raised, lowered, raised, lowered, ..."""
    up, down = torch.tensor(values, dtype=torch.float64).view(-1, 2).unbind(1)
    return (up - down) / (2 * size)


def separable(model: nn.Module, name: str) -> bool:
    """Whether a network does the same with a batch wherever the batch stands in a larger one.

    Norms of the batch do not, nor does dropout, whose masks would differ from copy to copy. The
    first layer must be one over time, with a weight of its own.
    """
    layer = model.get_submodule(name)
    if is_parametrized(layer, "weight"):
        return False
    mixers = BatchNorm | StepBatchNorm | Dropout | ModerateDropout | LTMDHead
    mixing = any(isinstance(m, mixers) and m.training for m in model.modules())
    return not mixing and isinstance(model.get_submodule(name.rpartition(".")[0]), OverTime)


def first_weight(model: nn.Module) -> tuple[str, Tensor]:
    """Name of the first layer that has a weight, and the weight, raw if it is transformed.

    Raises:
        Unsupported: no convolution or linear layer.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            raw = "parametrizations.weight.original" if is_parametrized(module) else "weight"
            return name, module.get_parameter(raw)
    raise Unsupported("dspike measures the first convolution or linear layer; there is none")


def _threshold(neurons: Sequence[Membrane]) -> float:
    levels = [torch.as_tensor(neuron.arguments()["v_threshold"]).detach() for neuron in neurons]
    mean = sum(float(level.double().mean()) for level in levels) / len(levels)
    if not mean > 0:
        raise Unsupported(
            f"dspike makes its window as wide as the neurons' threshold, which is {mean:.3g} on "
            "average; give alpha, which is 1 over the width"
        )
    return mean


def _entry(weight: Tensor, index: int) -> Tensor:
    """A view of one number, by its place among those of the weight, in whatever memory layout."""
    place = torch.unravel_index(torch.tensor(index), weight.shape)
    return weight.detach()[tuple(int(i) for i in place)]


def _best(cosines: dict[float, float]) -> float:
    """The temperature with the largest cosine; the first, which is the present one, on a tie.

    Also the present one if its own cosine is not defined: a gradient or all differences are 0.
    """
    defined = {b: c for b, c in cosines.items() if c == c and c != 0}
    present = next(iter(cosines))
    return max(defined, key=lambda b: defined[b]) if present in defined else present
