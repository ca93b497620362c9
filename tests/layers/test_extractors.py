"""What classifiers of first spikes see: features, learnt without labels, kept on disk."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from spikeloom.functional import Filters
from spikeloom.layers import Intensities, OnOff, SoftHebb, SpikingConvolution
from spikeloom.layers.extractors.soft_hebb import LEVELS
from spikeloom.registry import Unsupported


def convolution(**options):
    given = {"in_shape": (1, 12, 14), "filters": 6, "kernel": 3, "pool": 2, "threshold": 2.0}
    return SpikingConvolution(**(given | options)).eval()


def test_what_is_dark_is_heard_of_on_the_second_channel():
    x = torch.tensor([[[[0.0, 0.25]]]])
    assert Intensities(in_shape=(1, 1, 2))(x).tolist() == [[0.0, 0.25]]
    assert OnOff(in_shape=(1, 1, 2))(x).tolist() == [[0.0, 0.25, 1.0, 0.75]]


def test_published_numbers_of_features():
    grey, colour = (
        SpikingConvolution(in_shape=(1, 28, 28)),
        SpikingConvolution(in_shape=(3, 32, 32)),
    )
    assert (grey.out_features, colour.out_features) == (4608, 6272)
    assert (grey.whitens, colour.whitens) == (False, True)
    assert grey.weight.shape == (128, 50)
    assert colour.weight.shape == (128, 150)
    with torch.device("meta"):
        soft = [SoftHebb(in_shape=shape).out_features for shape in ((3, 32, 32), (1, 28, 28))]
    assert soft == [24576, 13824]


def test_a_feature_is_the_earliest_spike_of_its_window():
    net, x = convolution(), torch.rand(2, 1, 12, 14)
    net.fit(x)
    features = net(x).unflatten(1, (6, 5, 6))
    t = net.times(x)
    for n, f, row, column in ((0, 0, 0, 0), (1, 3, 4, 5), (1, 5, 2, 1)):
        earliest = 1.0
        for i, j in ((i, j) for i in range(2) for j in range(2)):
            top, left = 2 * row + i, 2 * column + j
            patch = t[n, :, top : top + 3, left : left + 3].flatten()
            for time in sorted(set(patch.tolist()) - {1.0}):
                if float(net.weight[f, patch <= time].double().sum()) >= float(net.threshold[f]):
                    earliest = min(earliest, time)
                    break
        assert float(features[n, f, row, column]) == pytest.approx(1 - earliest, abs=1e-7)


def test_ranges_are_those_of_the_training_images_place_by_place():
    net, x = convolution(), torch.rand(30, 1, 12, 14)
    t = net.fit(x)
    assert torch.equal(t, net.times(x))
    assert (t.amin(0) == 0).all(), "the brightest fires at once"
    assert (t.amax(0) == 1).all(), "the darkest never"
    beyond = net.times(2 * x)
    assert beyond.min() >= 0
    assert beyond.max() <= 1


def test_filters_learn_from_the_patch_at_the_corner():
    net, x = convolution(threshold=0.5), torch.rand(4, 1, 12, 14)
    t = net.fit(x)
    other = copy.deepcopy(net)
    corner = torch.tensor([[0, 0], [9, 11], [3, 4], [9, 0]])
    winner = net.learn(t, corner, Filters(goal=0.5))
    for n, (row, column) in enumerate(corner.tolist()):
        patch = t[n : n + 1, :, row : row + 3, column : column + 3]
        moved = torch.zeros(1, *t.shape[1:])
        moved[:, :, :3, :3] = patch
        one = other.learn(moved, torch.tensor([[0, 0]]), Filters(goal=0.5))
        assert one.tolist() == winner[n : n + 1].tolist()
    assert torch.equal(net.weight, other.weight)
    assert torch.equal(net.threshold, other.threshold)


def test_colours_are_whitened():
    net = SpikingConvolution(in_shape=(3, 14, 14), filters=4, pool=2).eval()
    x = torch.rand(40, 3, 14, 14)
    assert net.fit(x).shape == (40, 6, 14, 14)
    assert net.contrast_filter.any()
    assert net(x).shape == (40, net.out_features)


def test_soft_hebb_pulls_the_winner_to_the_input_and_pushes_the_others_away():
    net = SoftHebb(in_shape=(3, 8, 8), width=1 / 32).eval()  # so that norms change nothing
    x, before = torch.randn(2, 3, 8, 8), net.weights[0].clone()
    net.learn(x, (0.1, 0.1, 0.1))
    h = net.norms[0](x)
    padded = F.pad(h, [2] * 4, mode="reflect")
    patches = F.unfold(padded, 5).transpose(1, 2).flatten(0, 1)  # [places, 75]
    w = before.flatten(1)
    want = torch.zeros_like(w)
    for patch in patches:
        u = w @ patch
        y = torch.softmax(u, 0)
        sign = torch.where(u == u.max(), 1.0, -1.0)
        want += (sign * y)[:, None] * (patch - u[:, None] * w)
    want *= 0.1 * (w.norm(dim=1) - 1).abs().sqrt()[:, None] / want.abs().max()
    torch.testing.assert_close((net.weights[0] - before).flatten(1), want, rtol=1e-3, atol=1e-5)


def test_soft_hebb_norms_of_weights_go_to_one():
    net = SoftHebb(in_shape=(1, 12, 12), width=1 / 16)
    away = [(w.flatten(1).norm(dim=1) - 1).abs().mean() for w in net.weights]
    for _ in range(60):
        net.learn(torch.rand(10, 1, 12, 12), (0.08, 0.02, 0.02))
    after = [(w.flatten(1).norm(dim=1) - 1).abs().mean() for w in net.weights]
    assert all(b < a for a, b in zip(away, after, strict=True))
    features = net.eval()(torch.rand(3, 1, 12, 12))
    assert torch.equal(features.amax(1), torch.ones(3))
    assert len(LEVELS) == 3


def counted(net, seen):
    """The network, noting how many samples its features are computed of."""
    inner = net.features

    def features(x):
        seen.append(len(x))
        return inner(x)

    net.features = features
    return net


def trained(folder, **options):
    torch.manual_seed(5)
    net, x = convolution(keep=str(folder), **options), torch.rand(9, 1, 12, 14)
    net.learn(net.fit(x), torch.zeros(9, 2, dtype=torch.int64), Filters())
    return net, x


def test_features_are_computed_once_and_shared_by_runs(tmp_path):
    (net, x), (again, _), seen = trained(tmp_path), trained(tmp_path), []
    want = net(x[:4])
    counted(again, seen)
    assert torch.equal(again(x[[3, 1]]), want[[3, 1]])
    assert seen == []
    assert torch.equal(again(x[2:6]), net.features(x[2:6]))
    assert seen == [2]
    assert torch.equal(again(x[:6]), net.features(x[:6]))
    assert seen == [2]
    assert len(list(tmp_path.iterdir())) == 1


def test_other_weights_have_another_folder(tmp_path):
    net, x = trained(tmp_path)
    net(x)
    net.weight[0, 0] += 0.1
    assert torch.equal(net(x), net.features(x))
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("state", ["training", "learning", "learnt"])
def test_nothing_is_kept_of_what_still_changes(tmp_path, state):
    net, x = trained(tmp_path)
    if state == "training":
        net.train()
    if state == "learning":
        net.learning = True
    if state == "learnt":
        net.learnt.zero_()
    net(x)
    assert not list(tmp_path.iterdir())


def test_files_that_are_cut_short_are_made_anew(tmp_path):
    net, x = trained(tmp_path)
    want = net(x)
    for path in tmp_path.rglob("*.values.npy"):
        path.write_bytes(path.read_bytes()[:100])
    again, _ = trained(tmp_path)
    assert torch.equal(again(x), want)
    assert all(np.load(path).shape == want.shape for path in tmp_path.rglob("*.values.npy"))


@pytest.mark.parametrize(
    ("kind", "shape"),
    [(SpikingConvolution, (1, 7, 7)), (SpikingConvolution, (5,)), (SoftHebb, (3, 4, 4)),
     (SoftHebb, (3,)), (SpikingConvolution, (3, 8, 8))],
)  # fmt: skip
def test_samples_that_are_no_images_of_some_size_are_refused(kind, shape):
    with pytest.raises(Unsupported, match="sees images"):
        kind(in_shape=shape)
    assert issubclass(kind, nn.Module)
