"""Surrogates that the kernels know, as the numbers they are called with."""

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
    Surrogate,
    Triangle,
)

# Their places are the values of Curve in call.hpp.
CURVES: dict[type, int] = {
    kind: place
    for place, kind in enumerate(
        (
            Arctan,
            Sigmoid,
            Triangle,
            Rectangle,
            FastSigmoid,
            Gaussian,
            MultiGaussian,
            Exponential,
            StraightThrough,
            Dspike,
        )
    )
}


def numbers(surrogate: Surrogate | Smooth) -> tuple[float, float, float, float, float]:
    """Sharpness, height of the slope, and what MultiGaussian and Dspike have beside these."""
    assert isinstance(surrogate, Surrogate)
    height = surrogate.scale * surrogate.alpha
    if isinstance(surrogate, MultiGaussian):
        side, stretch = surrogate.side, surrogate.stretch
        return surrogate.alpha, height, 1 + side, side / stretch, stretch
    if isinstance(surrogate, Dspike):
        return surrogate.alpha, height, surrogate.peak, 0.0, surrogate.b
    return surrogate.alpha, height, 1.0, 0.0, 1.0
