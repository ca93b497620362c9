"""Dspike against the values of its specification, which are the formula's."""

import math

import pytest
import torch

from spikeloom.functional import Dspike, Rectangle, Surrogate, factor, lif

# temperature: slope at the threshold and at the edge of the window, the curve a quarter into it
TABLE = {1.0: (1.08198, 0.85092, 0.23500), 3.0: (1.65719, 0.29946, 0.14915),
         5.0: (2.53392, 0.06738, 0.07010), 10.0: (5.00045, 0.00091, 0.00665)}  # fmt: skip
INPUT = (0.3, 0.3, 0.6, 0.1, 0.7)
GRADIENTS = {
    1.0: (1.244569, 1.190275, 0.832789, 1.159215, 1.028999),
    3.0: (1.431892, 1.563978, 1.043781, 0.762710, 1.083719),
}


def grid(n: int = 1001) -> torch.Tensor:
    return torch.linspace(-0.5, 0.5, n, dtype=torch.float64)


@pytest.mark.parametrize("b", TABLE)
def test_the_table(b: float) -> None:
    peak, edge, quarter = TABLE[b]
    surrogate = Dspike(b=b)
    marks = torch.tensor([-0.5, 0.0, 0.5], dtype=torch.float64)
    assert surrogate.grad(marks).tolist() == pytest.approx([edge, peak, edge], abs=1e-5)
    at = torch.tensor([-0.5, -0.25, 0.0, 0.5], dtype=torch.float64)
    assert surrogate.primitive(at).tolist() == pytest.approx([0, quarter, 0.5, 1], abs=1e-5)


@pytest.mark.parametrize("b", [1e-3, 0.3, 3.0, 50.0])
def test_curve_and_slope_are_symmetric_about_the_threshold(b: float) -> None:
    surrogate, u = Dspike(b=b), grid()
    torch.testing.assert_close(surrogate.primitive(u) + surrogate.primitive(-u), torch.ones_like(u))
    torch.testing.assert_close(surrogate.grad(u), surrogate.grad(-u))
    assert (surrogate.grad(u) >= 0).all()


@pytest.mark.parametrize("b", [1e-3, 0.3, 3.0, 50.0])
def test_the_slope_has_area_one(b: float) -> None:
    u = grid(20_001)
    assert torch.trapezoid(Dspike(b=b).grad(u), u).item() == pytest.approx(1, abs=1e-5)


def test_a_small_temperature_is_a_rectangle_and_a_large_one_peaks_at_half_of_it() -> None:
    u = grid()[1:-1]
    torch.testing.assert_close(Dspike(b=1e-3).grad(u), Rectangle().grad(u), rtol=0, atol=1e-6)
    assert Dspike(b=200.0).grad(torch.zeros(1)).item() == pytest.approx(100.0)


def test_the_slope_is_exactly_zero_outside_the_window() -> None:
    outside = torch.tensor([-9.0, -0.5001, 0.5001, 9.0])
    assert not Dspike().grad(outside).any()
    assert not Dspike(alpha=0.5).grad(2 * outside).any()
    assert Dspike(alpha=0.5).grad(torch.tensor([0.9])).item() > 0


@pytest.mark.parametrize("b", GRADIENTS)
def test_the_neuron_vector(b: float) -> None:
    x_seq = torch.tensor(INPUT, dtype=torch.float64).view(5, 1, 1).requires_grad_()
    surrogate: Surrogate = Dspike(b=b)
    spikes, _ = lif(x_seq, decay=factor(0.25), v_threshold=0.5, strict=True, surrogate=surrogate)
    assert spikes.flatten().tolist() == [0, 0, 1, 0, 1]
    spikes.sum().backward()
    assert x_seq.grad.flatten().tolist() == pytest.approx(GRADIENTS[b], abs=1e-6)


@pytest.mark.parametrize("b", [0.0, -1.0, math.inf, math.nan])
def test_an_impossible_temperature_is_refused(b: float) -> None:
    with pytest.raises(ValueError, match="temperature b"):
        Dspike(b=b)
