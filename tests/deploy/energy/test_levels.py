"""What ternary spikes cost in either alphabet, and rays of a radiance field."""

import torch
from torch import nn

from spikeloom.deploy import count_operations, signed
from spikeloom.functional import factor
from spikeloom.layers import Linear, OverTime, ReLU, TernaryLIF
from spikeloom.models import NeRF
from tests.models.test_nerf import model, rays, sequence


def network():
    return nn.Sequential(
        OverTime(Linear(6, 20)), TernaryLIF(decay=factor(0.25), v_threshold=0.5),
        OverTime(nn.Flatten()), OverTime(Linear(20, 7)),
    )  # fmt: skip


def test_a_level_of_two_is_two_additions():
    net, x_seq = network(), 3 * torch.randn(4, 5, 6)
    spikes = net[:2](x_seq).detach()
    counts = {layer.name: layer for layer in count_operations(net, [x_seq]).layers}
    last = counts["3.module"]
    assert (last.inputs, last.macs) == ("ternary", 0)
    assert last.acs == float(7 * spikes.sum()) / 5
    assert last.events == float((spikes > 0).sum()) / 5
    assert (counts["0.module"].inputs, counts["0.module"].macs > 0) == ("graded", True)


def test_shifted_spikes_are_events_where_the_level_is_not_one():
    net, x_seq = network(), 3 * torch.randn(4, 5, 6)
    spikes = net[:2](x_seq).detach()
    counts = {layer.name: layer for layer in count_operations(signed(net, x_seq), [x_seq]).layers}
    last = counts["3.module"]
    assert last.inputs == "ternary"
    assert last.acs == float(7 * (spikes != 1).sum()) / 5
    assert last.adds == 4 * 7  # of the bias, at every step


def test_a_field_is_counted_by_the_ray_without_geometry():
    net = model(width=32, depth=4, coarse=8, fine=6, density_noise=0.0)
    counts = count_operations(net, [sequence(rays(10))])
    assert counts.uncounted == ()
    rows = {layer.name: layer for layer in counts.layers}
    assert all(name.startswith(("coarse.", "fine.")) for name in rows)
    # at every point once, and at every ray once; the rest at every point and step
    assert rows["coarse.first"].dense == 8 * 63 * 32
    assert rows["fine.first"].dense == 14 * 63 * 32
    assert rows["fine.view"].dense == 27 * 16
    assert rows["fine.hidden.0.module"].dense == 2 * 14 * 32 * 32
    for name in ("first", "skip", "view", "mix.module"):  # the feature that mix reads is a number
        assert rows[f"fine.{name}"].acs == 0
    for name in ("hidden.0", "hidden.2", "feature", "density", "colour"):
        assert rows[f"fine.{name}.module"].macs == 0


def test_rectifiers_multiply_everywhere():
    net = NeRF(neuron=ReLU, width=16, depth=3, coarse=5, fine=0, in_shape=(11,), num_classes=3)
    counts = count_operations(net, [rays(4)[None]])
    assert counts.total("acs") == 0
    assert counts.total("macs") > 0
