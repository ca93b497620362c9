"""Each slope belongs to its curve, and the forward pass is a hard step."""

import math
from itertools import pairwise

import pytest
import torch
from scipy.integrate import quad

from spikeloom import registry
from spikeloom.functional import (
    Arctan,
    Dspike,
    Exponential,
    FastSigmoid,
    Gaussian,
    MultiGaussian,
    Rectangle,
    Sigmoid,
    Smooth,
    StraightThrough,
    Triangle,
    spike,
)

VARIANTS = [
    *(entry.build() for entry in registry.entries("surrogate")),
    *(entry.build(alpha=3.0, scale=0.7) for entry in registry.entries("surrogate")),
    MultiGaussian(alpha=2.5, side=0.3, stretch=4.0),
]
BOUNDED = [s for s in VARIANTS if not isinstance(s, StraightThrough)]
PAPERS = [  # slopes as the sources print them, for their parameter
    (Arctan(2.0), lambda u: 1 / (1 + (math.pi * u) ** 2)),
    (Rectangle(1 / 0.8), lambda u: (u.abs() < 0.4) / 0.8),
    (Sigmoid(1 / 0.3), lambda u: (-u / 0.3).exp() / (1 + (-u / 0.3).exp()) ** 2 / 0.3),
    (Gaussian(0.3**-0.5), lambda u: (-(u**2) / 0.6).exp() / math.sqrt(2 * math.pi * 0.3)),
    (Triangle(scale=0.3), lambda u: 0.3 * (1 - u.abs()).clamp(min=0)),
    (Exponential(4.0, scale=0.5 / 2.0), lambda u: 0.5 * (-4.0 * u.abs()).exp()),
    (StraightThrough(), torch.ones_like),
]
PEAKS = [  # slope at the threshold, from the formula in the class's docstring
    (Arctan(alpha=3.0), 1.5),
    (Sigmoid(alpha=4.0), 1.0),
    (Triangle(alpha=0.5), 0.5),
    (Rectangle(alpha=2.0), 2.0),
    (FastSigmoid(alpha=10.0), 5.0),
    (Gaussian(alpha=2.0), 2.0 / math.sqrt(2 * math.pi)),
    (Exponential(alpha=3.0), 1.5),
    (StraightThrough(alpha=2.0), 2.0),
    (Dspike(b=1.0), 1.08198),
    (Dspike(b=3.0), 1.65719),
    (Dspike(b=5.0), 2.53392),
    (Dspike(b=10.0), 5.00045),
]


@pytest.mark.parametrize("surrogate", VARIANTS, ids=repr)
def test_grad_is_the_slope_of_the_primitive(surrogate):
    # The offset keeps every point away from the kinks at 0, 1/(2 alpha) and 1/alpha.
    u = (torch.linspace(-4, 4, 801, dtype=torch.float64) + 0.00137).requires_grad_()
    (slope,) = torch.autograd.grad(surrogate.primitive(u).sum(), u)
    torch.testing.assert_close(surrogate.grad(u), slope, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("surrogate", BOUNDED, ids=repr)
def test_area_under_the_slope_is_the_scale(surrogate):
    def slope(u):
        return surrogate.grad(torch.tensor(u, dtype=torch.float64)).item()

    bends = [-1, -0.5, 0, 0.5, 1]
    knots = [-math.inf, *(z / surrogate.alpha for z in bends), math.inf]
    area = sum(quad(slope, *ends)[0] for ends in pairwise(knots))
    lost = surrogate.side if isinstance(surrogate, MultiGaussian) else 0.0
    assert area == pytest.approx(surrogate.scale * (1 - lost), rel=1e-6)


@pytest.mark.parametrize("surrogate", BOUNDED, ids=repr)
def test_primitive_rises_from_0_by_the_area(surrogate):
    far = torch.tensor([-1e8, 1e8], dtype=torch.float64)
    lost = surrogate.side if isinstance(surrogate, MultiGaussian) else 0.0
    want = torch.tensor([0.0, surrogate.scale * (1 - lost)], dtype=torch.float64)
    torch.testing.assert_close(surrogate.primitive(far), want, rtol=0, atol=1e-7)


@pytest.mark.parametrize(("surrogate", "peak"), PEAKS, ids=lambda p: type(p).__name__)
def test_slope_at_the_threshold(surrogate, peak):
    assert surrogate.grad(torch.zeros(())).item() == pytest.approx(peak, rel=5e-6)


@pytest.mark.parametrize(("surrogate", "printed"), PAPERS, ids=lambda p: type(p).__name__)
def test_slopes_are_those_of_their_papers(surrogate, printed):
    u = torch.linspace(-2, 2, 41, dtype=torch.float64) + 0.0137
    torch.testing.assert_close(surrogate.grad(u), printed(u).to(u.dtype))


def test_multi_gaussian_is_the_sum_of_three_densities():
    # alpha 2: sigma 1/2;  side lobes at +-1/2 with width 6/2 = 3 and height 0.15
    u = torch.linspace(-5, 5, 101, dtype=torch.float64)
    narrow = torch.distributions.Normal(0.0, 0.5).log_prob(u).exp()
    wide = [torch.distributions.Normal(m, 3.0).log_prob(u).exp() for m in (-0.5, 0.5)]
    torch.testing.assert_close(MultiGaussian().grad(u), 1.15 * narrow - 0.15 * sum(wide))


def test_fast_sigmoid_with_scale_is_the_superspike_slope():
    u = torch.linspace(-2, 2, 41, dtype=torch.float64)
    want = 1 / (1 + 10 * u.abs()).square()
    torch.testing.assert_close(FastSigmoid(alpha=10.0, scale=2 / 10).grad(u), want)


@pytest.mark.parametrize("surrogate", VARIANTS, ids=repr)
def test_slopes_stay_finite_far_from_the_threshold(surrogate):
    u = torch.tensor([-3e38, -1e20, -1e-40, 0.0, 1e-40, 1e20, 3e38])
    assert surrogate.grad(u).isfinite().all()


def test_spike_fires_at_the_threshold_unless_strict():
    u = torch.tensor([-1e-7, -0.0, 0.0, 1e-7])
    assert spike(u, Arctan()).tolist() == [0, 1, 1, 1]
    assert spike(u, Arctan(), strict=True).tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_spike_keeps_the_dtype(dtype):
    assert spike(torch.ones(2, dtype=dtype), Arctan()).dtype == dtype


@pytest.mark.parametrize("strict", [False, True])
def test_backward_multiplies_by_the_slope(strict):
    u = torch.tensor([-0.75, 0.0, 0.25], requires_grad=True)
    spike(u, Triangle(), strict=strict).backward(torch.tensor([1.0, 2.0, 4.0]))
    # slopes 1 - |u|: 0.25, 1, 0.75
    assert u.grad.tolist() == [0.25, 2.0, 3.0]


def test_smooth_emits_the_primitive():
    u = torch.linspace(-1, 1, 5)
    assert torch.equal(spike(u, Smooth(Sigmoid())), Sigmoid().primitive(u))


@pytest.mark.parametrize("bad", [{"alpha": 0.0}, {"alpha": -1.0}, {"scale": 0.0}])
def test_sharpness_and_scale_must_be_positive(bad):
    with pytest.raises(ValueError, match="alpha and scale must be > 0"):
        Arctan(**bad)
