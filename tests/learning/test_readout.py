"""The read-out that logistic regression fits: one linear map, whatever classes there are."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import nn

from spikeloom.learning import Batch, Readout


class Featured(nn.Module):
    """Hands its input on as features."""

    def __init__(self, features=6, classes=3):
        super().__init__()
        self.readout = nn.Linear(features, classes).requires_grad_(requires_grad=False)

    def features(self, x_seq):
        return x_seq[0]

    def forward(self, x_seq):
        return self.readout(self.features(x_seq))[None]


def samples(classes=3):
    rng = np.random.default_rng(0)
    y = rng.integers(classes, size=200)
    x = rng.normal(size=(200, 6)) + 2 * np.eye(6)[y]
    x[:, 5] = 4.0  # never varies
    return x * [1, 2, 3, 1, 1, 1], y


def fitted(model, x, y, **options):
    learner = Readout(**options)
    halves = (slice(None, 120), slice(120, None))
    batches = [Batch(torch.tensor(x[at])[None].float(), torch.tensor(y[at])) for at in halves]
    return learner.begin(learner.prepare(model), batches).facts


@pytest.mark.parametrize("variance", [None, 0.9])
def test_it_is_what_scikit_learn_says_in_one_map(variance):
    x, y = samples()
    model = Featured()
    facts = fitted(model, x, y, variance=variance)
    z = StandardScaler().fit_transform(x)
    z = z if variance is None else PCA(variance, whiten=True).fit_transform(z)
    wanted = LogisticRegression(max_iter=1000).fit(z, y)
    found = model(torch.tensor(x)[None].float())[0].softmax(-1)
    assert np.abs(found.numpy() - wanted.predict_proba(z)).max() < 1e-3
    assert facts["fit accuracy"] == pytest.approx(wanted.score(z, y))
    assert facts["features that never vary"] == pytest.approx(1 / 6)


@pytest.mark.parametrize("classes", [1, 2])
def test_classes_without_samples_are_never_chosen(classes):
    x, y = samples(classes)
    model = Featured(classes=4)
    facts = fitted(model, x, y + 1)
    chosen = model(torch.tensor(x)[None].float())[0].argmax(-1)
    assert set(chosen.tolist()) == set(range(1, classes + 1))
    assert facts["fit accuracy"] > 0.8


@pytest.mark.parametrize("variance", [None, 0.95])
def test_silent_features_leave_finite_weights(variance):
    model = Featured()
    fitted(model, np.zeros((200, 6)), samples()[1], variance=variance)
    assert all(p.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("wrong", [{"strength": 0.0}, {"variance": 1.5}, {"iterations": 0}])
def test_what_is_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match="readout needs"):
        Readout(**wrong)
