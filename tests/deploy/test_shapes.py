"""Layouts, shapes and dtypes that a packed network meets: it equals the model, or is refused."""

import pytest
import torch
from torch import nn

from spikeloom.deploy import Packed, Unsupported, infer
from spikeloom.kernels import use
from spikeloom.layers import LI, LIF, OverTime


class Shortcut(nn.Module):
    """Neurons on a convolution of the input plus the input."""

    def __init__(self, channels):
        super().__init__()
        self.conv = OverTime(nn.Conv2d(channels, channels, 3, padding=1))
        self.neurons = LIF(v_threshold=0.3)

    def forward(self, x_seq):
        return self.neurons(self.conv(x_seq) + x_seq)


class Spread(nn.Module):
    """Adds spikes of one shape to spikes of another."""

    def __init__(self, change):
        super().__init__()
        self.neurons, self.change = LIF(v_threshold=0.3), change

    def forward(self, x_seq):
        spike_seq = self.neurons(x_seq)
        return spike_seq + self.change(spike_seq)


class First(nn.Module):
    """Runs a second layer, and returns what the first made."""

    def __init__(self):
        super().__init__()
        self.first = OverTime(nn.Conv2d(3, 4, 3))
        self.second = nn.Sequential(OverTime(nn.Conv2d(4, 5, 3)), LIF())

    def forward(self, x_seq):
        y_seq = self.first(x_seq)
        self.second(y_seq)
        return y_seq


def check(model, x_seq):
    packed = infer(model, x_seq)
    with torch.no_grad():
        want = model(x_seq)
    found = packed(x_seq)
    assert found.shape == want.shape
    assert torch.allclose(found, want.float(), atol=1e-5)
    with use("truth"):
        assert torch.allclose(packed(x_seq), want.float(), atol=1e-5)


LAYOUTS = {
    "image": lambda: torch.rand(6, 3, 2, 4, 4),
    "three channels": lambda: torch.rand(6, 3, 3, 4, 5),
    "many channels": lambda: torch.rand(2, 3, 19, 4, 5),
    "channels last": lambda: torch.rand(6, 3, 4, 5, 3).permute(0, 1, 4, 2, 3),
    "every second column": lambda: torch.rand(6, 3, 2, 4, 8)[..., ::2],
    "one step repeated": lambda: torch.rand(1, 3, 2, 4, 4).expand(6, -1, -1, -1, -1),
    "vector": lambda: torch.rand(6, 3, 8),
    "every second value": lambda: torch.rand(6, 3, 16)[..., ::2],
    "a value repeated": lambda: torch.rand(6, 3, 1).expand(6, 3, 8),
    "time last": lambda: torch.rand(3, 8, 6).permute(2, 0, 1),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_input_without_weights_is_read_in_any_layout(layout):
    x_seq = LAYOUTS[layout]()
    check(nn.Sequential(LIF(v_threshold=0.3), LI()), x_seq)
    if x_seq.dim() == 5:
        check(Shortcut(x_seq.shape[2]), x_seq)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("break_even", [0.0, 10.0])
def test_the_default_dtype_changes_nothing(dtype, break_even):
    model = nn.Sequential(
        OverTime(nn.Conv2d(3, 6, 3, bias=False)), LIF(v_threshold=0.2), OverTime(nn.AvgPool2d(2)),
        LIF(v_threshold=0.3), OverTime(nn.Flatten()), OverTime(nn.Linear(24, 5)), LI(),
    )  # fmt: skip
    for network, x_seq in [(model, torch.rand(4, 2, 3, 6, 6)), (LIF(), torch.rand(4, 2, 3, 6, 6))]:
        want = infer(network, x_seq, break_even=break_even)(x_seq)
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            found = infer(network, x_seq, break_even=break_even)(x_seq)
        finally:
            torch.set_default_dtype(before)
        assert found.dtype == torch.float32
        assert torch.equal(found, want)


def test_the_default_device_changes_nothing():
    x_seq = torch.rand(4, 2, 3, 6, 6)
    packed = infer(Shortcut(3), x_seq)
    want = packed(x_seq)
    with torch.device("meta"):
        assert torch.equal(Packed(packed.program)(x_seq), want)


@pytest.mark.parametrize(
    ("change", "shape"),
    [
        (OverTime(nn.MaxPool2d(4)), (16, 4, 4)),
        (nn.Sequential(OverTime(nn.AvgPool2d(4)), LIF(v_threshold=0.3)), (16, 4, 4)),
        (OverTime(nn.Flatten()), (1, 1, 8)),
    ],
)
def test_adding_different_shapes_is_refused(change, shape):
    with pytest.raises(Unsupported, match=r"shortcut: adds .* have one shape"):
        infer(Spread(change), torch.rand(2, 8, *shape))


VALUES = {
    "one per column": ((4, 4, 4), (4,)),
    "one per channel": ((4, 4, 4), (4, 1, 1)),
    "one per pixel, as many as channels": ((16, 4, 4), (1, 4, 4)),
    "one per row": ((5, 5, 3), (5, 1)),
    "one per neuron": ((5, 4, 3), (5, 4, 3)),
    "one in all": ((5, 4, 3), (1, 1)),
    "one per feature": ((7,), (7,)),
    "one for all features": ((7,), (1,)),
    "two axes": ((3, 5), (5,)),
    "two axes, one per channel": ((3, 5), (3, 1)),
}


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("flat", [False, True])
def test_a_value_is_repeated_as_in_the_model(name, flat):
    shape, own = VALUES[name]
    model = nn.Sequential(
        LIF(shape, v_threshold=0.2 + torch.rand(own)),
        OverTime(nn.Flatten()),
        LI(),
    )
    x_seq = 2 * torch.rand(5, 3, *shape)
    check(model if flat or len(shape) == 2 else model[0], x_seq)


def test_a_value_per_feature_after_a_flattening():
    model = nn.Sequential(
        LIF(v_threshold=0.3), OverTime(nn.Flatten()), LIF((24,), v_threshold=torch.rand(24))
    )
    check(model, torch.rand(5, 3, 2, 3, 4))


def test_a_value_with_more_axes_than_a_sample_is_refused():
    with pytest.raises(Unsupported, match=r"0: a value of shape \(1, 7\) for samples"):
        infer(nn.Sequential(LIF(v_threshold=torch.rand(1, 7))), torch.rand(5, 3, 7))


@pytest.mark.parametrize("shape", [(1, 9), (1, 1, 9), (9, 1, 1, 1)])
def test_a_linear_map_of_what_is_not_flat_is_refused(shape):
    linear = OverTime(nn.Linear(shape[-1], 3))
    with pytest.raises(Unsupported, match=r"0: maps .* flatten first"):
        infer(nn.Sequential(linear), torch.rand(2, 4, *shape))
    check(
        nn.Sequential(OverTime(nn.Flatten()), OverTime(nn.Linear(9, 3))), torch.rand(2, 4, *shape)
    )


def test_images_without_channels_are_refused():
    for layer in (nn.MaxPool2d(2), nn.Conv2d(8, 8, 3)):
        with pytest.raises(Unsupported, match=r"0: takes images \[C, H, W\]"):
            infer(nn.Sequential(OverTime(layer)), torch.rand(2, 4, 6, 6))


def test_an_output_of_another_kind_is_refused():
    with pytest.raises(Unsupported, match=r"returns samples of shape \(3, 5\)"):
        infer(nn.Sequential(LIF()), torch.rand(2, 4, 3, 5))


def test_what_comes_out_need_not_be_what_ran_last():
    check(First(), torch.rand(2, 4, 3, 7, 7))


def test_a_network_in_bfloat16_answers_in_float32():
    model = nn.Sequential(OverTime(nn.Linear(9, 3))).bfloat16()
    x_seq = torch.rand(2, 4, 9, dtype=torch.bfloat16)
    found = infer(model, x_seq)(x_seq)
    assert found.dtype == torch.float32
    assert torch.allclose(found, model(x_seq).float(), atol=0.02)
