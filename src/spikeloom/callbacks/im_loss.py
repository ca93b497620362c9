"""IM-Loss: potentials are pulled to the threshold, so that spikes carry about one bit."""

import fnmatch
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from spikeloom.callbacks.base import Callback, Term
from spikeloom.callbacks.potentials import Mean, means
from spikeloom.callbacks.spiking import neurons_of
from spikeloom.learning.base import Unsupported
from spikeloom.papers import Paper
from spikeloom.registry import register

PAPER = Paper(
    key="guo2022imloss",
    title="IM-Loss: Information Maximization Loss for Spiking Neural Networks",
    authors=(
        "Yufei Guo",
        "Yuanpei Chen",
        "Liwen Zhang",
        "Xiaode Liu",
        "Yinglei Wang",
        "Xuhui Huang",
        "Zhe Ma",
    ),
    venue="Advances in Neural Information Processing Systems",
    year=2022,
    url="https://openreview.net/forum?id=Jw34v_84m2b",
    code="https://github.com/yfguo91/IM-Loss-Information-Maximization-Loss-for-Spiking-Neural-Networks",
)

Statistic = Literal["layer", "channel", "rate"]


@register("callback", "im_loss", paper=PAPER, status="exact")
class IMLoss(Callback):
    """A term for the mean potential of every layer: L = CE + weight sum_l (mean(h_l) - V_th)².

    h is the potential before the reset; V_th is a constant target, also where thresholds are learnt
    (inferred), and where they move from step to step (``alif``) the one in force. A mean
    at the threshold makes about half the neurons fire where potentials lie symmetrically around it.

    ``statistic`` and ``combine``: (``layer``, ``sum``) is the paper; (``channel``, ``mean``), the
    mean over channels of (mean(h_c) - V_th)², an early version of the authors' code; (``rate``,
    ``mean``) with ``weight=0.005`` is after their released one, which pulls the firing rate of a
    layer to 1 / (2 T) (for residual blocks it takes the input current instead, which is not done
    here).

    Args:
        weight: λ.
        statistic: of a layer's potentials, see above.
        combine: ``sum`` or ``mean`` over layers, so that the same weight acts otherwise by a factor
            of the number of layers.
        skip: name patterns of layers left out; by default the neurons inside residual blocks that
            neither read nor make a sum, as blocks tell by a method ``inner``.
    Raises:
        ValueError: weight < 0, or an unknown statistic or combine.
        Unsupported: the model has no spiking neurons, or all are skipped.
    Source:
        Guo et al., NeurIPS 2022.
    """

    def __init__(
        self,
        *,
        weight: float = 2.0,
        statistic: Statistic = "layer",
        combine: Literal["sum", "mean"] = "sum",
        skip: Sequence[str] | None = None,
    ) -> None:
        if not weight >= 0:
            raise ValueError(f"weight must be >= 0, got {weight}")
        if statistic not in STATISTICS:
            raise ValueError(f"statistic must be one of {', '.join(STATISTICS)}, got {statistic!r}")
        if combine not in ("sum", "mean"):
            raise ValueError(f"combine must be 'sum' or 'mean', got {combine!r}")
        self.weight, self.statistic, self.combine = weight, statistic, combine
        self.skip = skip if skip is None else tuple(skip)

    def apply(self, model: nn.Module) -> None:
        neurons_of(model, "im_loss pulls potentials to the threshold")

    @contextmanager
    def term(self, model: nn.Module) -> Iterator[Term]:
        inner = inner_names(model) if self.skip is None else set[str]()
        with means(model) as seen:

            def value(*_: object) -> Tensor | None:
                layers = seen()
                found = [STATISTICS[self.statistic](layer) for layer in self._kept(layers, inner)]
                if not found:
                    return None
                total = torch.stack(found)
                return self.weight * (total.sum() if self.combine == "sum" else total.mean())

            yield value

    def _kept(self, layers: Sequence[Mean], inner: set[str]) -> list[Mean]:
        names = [layer.name for layer in layers]
        skipped = set(inner)
        for pattern in self.skip or ():
            matching = fnmatch.filter(names, pattern)
            if names and not matching:
                raise Unsupported(f"im_loss skips {pattern!r}, which matches none of {names}")
            skipped.update(matching)
        if names and skipped.issuperset(names):  # there are none if a loss is asked for twice
            raise Unsupported(f"im_loss skips every layer of neurons: {names}")
        return [layer for layer in layers if layer.name not in skipped]


def inner_names(model: nn.Module) -> set[str]:
    """Names of all modules that blocks of the model hold to be inner ones."""
    layers = [layer for module in model.modules() for layer in getattr(module, "inner", list)()]
    inner = {part for layer in layers for part in layer.modules()}
    return {name for name, module in model.named_modules() if module in inner}


def layer_deviation(layer: Mean) -> Tensor:
    """(mean(h) - threshold)² over all of a layer."""
    return (layer.h_mean - layer.threshold).mean().square()


def channel_deviation(layer: Mean) -> Tensor:
    """mean_c (mean(h_c) - threshold)², channels c being the axis after the batch."""
    apart = layer.h_mean - layer.threshold
    return apart.mean([axis for axis in range(apart.dim()) if axis != 1]).square().mean()


def rate_deviation(layer: Mean) -> Tensor:
    """(mean(spikes) - 1 / (2 T))²."""
    return (layer.spike_seq.float().mean() - 0.5 / len(layer.spike_seq)).square()


STATISTICS: dict[str, Callable[[Mean], Tensor]] = {
    "layer": layer_deviation,
    "channel": channel_deviation,
    "rate": rate_deviation,
}
