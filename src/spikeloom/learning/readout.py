"""A linear read-out of features that nothing else learns: logistic regression, once."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spikeloom.learning.base import (
    Batch,
    Loss,
    Metrics,
    Noted,
    Progress,
    Unsupported,
    bare,
    to_scale,
)
from spikeloom.registry import register

NEVER = -1e4  # bias of a class without samples


@register("learner", "readout")
class Readout:
    """Fits a model's linear read-out to the features of all training samples, once.

    Features are standardised and, if ``variance`` is given, cut to the principal components that
    hold this share of it, each of variance 1; then multinomial logistic regression with an
    L2 penalty. All of it is one linear map, which goes into ``model.readout``; the rest of the
    model stays as it is. It is done when the phase begins: one epoch is enough.

    Args:
        strength: inverse of the penalty (scikit-learn's C).
        variance: share of it that the components keep, in (0, 1]; None for no components.
        iterations: of the solver at most.
    Raises:
        ValueError: a number out of range.
        Unsupported: the model has no method ``features(x_seq)`` -> [N, F] or no ``readout``,
            a ``Linear`` with a bias; or targets are numbers.
    Source:
        The usual way to score features that were learnt without labels; multinomial
        logistic regression is the default read-out of Massey et al.'s code (arXiv 2601.08447).
    """

    online = True

    def __init__(
        self, *, strength: float = 1.0, variance: float | None = None, iterations: int = 1000
    ) -> None:
        if not strength > 0 or iterations < 1 or (variance is not None and not 0 < variance <= 1):
            raise ValueError(
                "readout needs strength > 0, iterations >= 1 and variance in (0, 1], got "
                f"{strength}, {iterations} and {variance}"
            )
        self.strength, self.variance, self.iterations = strength, variance, iterations

    def prepare(self, model: nn.Module) -> nn.Module:
        _check(model)
        return model

    @torch.no_grad()
    def begin(self, model: nn.Module, batches: Iterable[Batch]) -> Noted:
        """Compute the features of all samples, fit, and write the read-out."""
        linear = _check(model)
        seen, labels = list[Tensor](), list[Tensor]()
        for batch in batches:
            if batch.y.is_floating_point():
                raise Unsupported("readout learns classes, and the targets are numbers")
            seen.append(model.features(batch.x_seq).double().cpu())  # type: ignore[operator]
            labels.append(batch.y.cpu())
        x, y = torch.cat(seen).numpy(), torch.cat(labels).numpy()
        weight, bias = self.fit(x, y, linear.out_features)
        linear.weight.copy_(torch.from_numpy(weight))
        linear.bias.copy_(torch.from_numpy(bias))
        guessed = (x @ weight.T + bias).argmax(1)
        facts = {
            "fit accuracy": float((guessed == y).mean()),
            "mean feature": float(x.mean()),
            "features that never vary": float((x.std(0) == 0).mean()),
        }
        return Noted(facts=facts)

    def fit(self, x: Any, y: Any, classes: int) -> tuple[Any, Any]:
        """Weight and bias of the read-out.

        Shape:
            x float64 [M, F], y int [M] -> [K, F], [K]
        """
        mean, basis = x.mean(0), _scaling(x)
        if self.variance is not None:
            basis = basis @ self._components((x - mean) @ basis)
        found, here = np.zeros((classes, basis.shape[1])), np.unique(y)
        bias = np.full(classes, NEVER)
        bias[here] = 0.0
        if len(here) > 1:
            found[here], bias[here] = self._regressed((x - mean) @ basis, y)
        weight = found @ basis.T
        return weight, bias - weight @ mean

    def _components(self, x: Any) -> Any:
        """The first principal axes, each divided by its standard deviation."""
        from sklearn.decomposition import PCA

        if not x.any():
            return np.eye(x.shape[1])
        share = self.variance if self.variance != 1 else None
        part = PCA(share, svd_solver="full").fit(x)
        large = part.explained_variance_ > 1e-12 * part.explained_variance_.max()
        deviation = np.sqrt(part.explained_variance_[large])
        return part.components_[large].T / deviation

    def _regressed(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Weights and biases of the classes that there are."""
        from sklearn.linear_model import LogisticRegression

        fit = LogisticRegression(C=self.strength, max_iter=self.iterations).fit(x, y)
        weight, bias = fit.coef_, fit.intercept_
        if len(weight) == 1:  # of two classes only the difference
            return np.concatenate((-weight, weight)) / 2, np.concatenate((-bias, bias)) / 2
        return weight, bias

    @torch.no_grad()
    def step(self, model: nn.Module, batch: Batch, loss: Loss, progress: Progress) -> Metrics:
        _check(model)
        logits_seq = model(batch.x_seq)
        inner = bare(loss)
        return Metrics(to_scale(loss, inner(logits_seq, batch.y)), logits_seq)

    def finish(self, model: nn.Module) -> nn.Module:
        return model


def _scaling(x: Any) -> Any:
    """Divides each feature by its standard deviation; what never varies becomes 0."""
    deviation = x.std(0)
    return np.diag(np.where(deviation > 0, 1 / np.where(deviation > 0, deviation, 1), 0.0))


def _check(model: nn.Module) -> nn.Linear:
    linear = getattr(model, "readout", None)
    features = getattr(type(model), "features", None)
    if callable(features) and isinstance(linear, nn.Linear) and linear.bias is not None:
        return linear
    raise Unsupported(
        f"readout fits a Linear called `readout` to what a method `features` gives, and "
        f"{type(model).__name__} has not both; take a model that learns without labels, as "
        "'ei_network', or train this one with bptt"
    )
