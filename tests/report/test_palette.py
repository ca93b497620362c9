"""Colours: legible on both pages, and apart for every eye."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from spikeloom.report.palette import (
    INK,
    MUTED,
    PALETTE,
    PIXEL,
    RAISED,
    SERIES,
    SURFACE,
    rgb,
    stylesheet,
)

Vector = NDArray[np.float64]
SCHEMES = ("light", "dark")

# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
EYES = {
    "usual": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def linear(colour: str) -> Vector:
    c = np.array(rgb(colour))
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def contrast(a: str, b: str) -> float:
    """Contrast of WCAG 2, between 1 and 21."""
    low, high = sorted(float(linear(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (a, b))
    return (high + 0.05) / (low + 0.05)


def lab(colour: Vector) -> Vector:
    """CIE Lab of linear RGB."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    ratio = xyz @ np.clip(colour, 0, 1) / [0.9505, 1.0, 1.089]
    x, y, z = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("page", [SURFACE, RAISED])
def test_text_stands_out(scheme: str, page: object) -> None:
    for colour in (INK, MUTED):
        assert contrast(getattr(colour, scheme), getattr(page, scheme)) >= 4.5


@pytest.mark.parametrize("scheme", SCHEMES)
def test_lines_and_pixels_stand_out(scheme: str) -> None:
    surface = getattr(SURFACE, scheme)
    for colour in SERIES:
        assert contrast(getattr(colour, scheme), surface) >= 3, colour.name
    assert contrast(PIXEL, surface) >= 3


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("eye", EYES)
def test_lines_differ_for_every_eye(scheme: str, eye: str) -> None:
    seen = {c.name: lab(np.array(EYES[eye]) @ linear(getattr(c, scheme))) for c in SERIES}
    for a, b in itertools.combinations(seen, 2):
        assert np.linalg.norm(seen[a] - seen[b]) >= 15, (a, b)


def test_no_two_colours_share_a_light_value() -> None:
    assert len({colour.light for colour in PALETTE}) == len(PALETTE)


def test_stylesheet_gives_every_colour_in_both_schemes() -> None:
    light, dark = stylesheet().split("@media")
    assert all(f"--{colour.name}: {colour.light};" in light for colour in PALETTE)
    assert all(f"--{colour.name}: {colour.dark};" in dark for colour in PALETTE)
