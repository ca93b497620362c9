"""Colours of figures and pages: one table, a light and a dark value each.

A figure is drawn in the light values; :mod:`spikeloom.report.svg` swaps each for a CSS variable,
so a figure inside a page follows the reader's colour scheme.
"""

from typing import NamedTuple


class Colour(NamedTuple):
    """A CSS variable and its values on a light and on a dark page."""

    name: str
    light: str
    dark: str


SURFACE = Colour("surface", "#ffffff", "#12161c")
RAISED = Colour("raised", "#f3f5f8", "#1c222b")
INK = Colour("ink", "#1b2129", "#e8ebef")
MUTED = Colour("muted", "#5a6270", "#a4adb9")
LINE = Colour("line", "#d3d8df", "#3a424e")

# Darker and lighter relatives of the Okabe-Ito colours, told apart in every colour-blindness.
SERIES = (
    Colour("series-blue", "#0063a6", "#5bb5f0"),
    Colour("series-orange", "#cf5300", "#ff9455"),
    Colour("series-green", "#008f6b", "#2a9886"),
    Colour("series-pink", "#c05a9b", "#ffafb7"),
    Colour("series-amber", "#844c1a", "#efd53e"),
    Colour("series-grey", "#4b5563", "#bfc1dd"),
)
PALETTE = (SURFACE, RAISED, INK, MUTED, LINE, *SERIES)

# Pixels of an embedded image cannot follow the scheme: a middle tone that stands out on both.
PIXEL = "#2f86c9"


def series(index: int) -> str:
    """Drawing colour of the index-th line; starts over after the last."""
    return SERIES[index % len(SERIES)].light


def stylesheet() -> str:
    """The palette as CSS variables, following ``prefers-color-scheme``."""
    light = " ".join(f"--{colour.name}: {colour.light};" for colour in PALETTE)
    dark = " ".join(f"--{colour.name}: {colour.dark};" for colour in PALETTE)
    return (
        f":root {{ color-scheme: light dark; {light} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"
    )


def rgb(colour: str) -> tuple[float, float, float]:
    """Red, green and blue in [0, 1] of ``#rrggbb``."""
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return red, green, blue
