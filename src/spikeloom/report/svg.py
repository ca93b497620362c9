"""A matplotlib figure as one inline SVG element for an HTML page."""

import io
import re
import warnings
import xml.etree.ElementTree as ET

from matplotlib import style
from matplotlib.figure import Figure

from spikeloom.report.palette import INK, LINE, MUTED, PALETTE

WIDTH = 3.9  # inches, so that 9 pt stays 9 pt in the narrow column of a phone

STYLE = {
    "svg.fonttype": "none",  # text stays text, so a reader can search it
    "text.parse_math": False,  # a class called "$5" is a name, not a formula
    "font.size": 9,
    "font.sans-serif": ["DejaVu Sans"],
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "axes.titlelocation": "left",
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "text.color": INK.light,
    "axes.titlecolor": INK.light,
    "axes.labelcolor": MUTED.light,
    "axes.edgecolor": MUTED.light,
    "xtick.color": MUTED.light,
    "ytick.color": MUTED.light,
    "grid.color": LINE.light,
    "grid.linewidth": 0.7,
    "axes.grid": False,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
}

# Decorator of every drawing function: the same look whatever the user's matplotlibrc says.
drawn = style.context(["default", STYLE])

_VARIABLES = {colour.light: f"var(--{colour.name}, {colour.light})" for colour in PALETTE}
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_GEOMETRY = ("d", "x", "y", "transform", "points")


def canvas(height: float) -> Figure:
    """An empty figure of the one width, on no window system and no global state."""
    return Figure(figsize=(WIDTH, height), layout="constrained")


def inline(figure: Figure, *, key: str, alt: str) -> str:
    """The figure as an ``<svg role="img">`` without identifiers or links of its own.

    Args:
        figure: what to show.
        key: prefix of the element ids that are left; must be unique on the page.
        alt: what the figure shows, for those who cannot see it.

    Returns:
        The same text for the same figure and key, with palette colours as CSS variables.
    """
    text = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with style.context({"svg.hashsalt": key, **STYLE}), warnings.catch_warnings():
        # The browser picks the font, so one that matplotlib lacks here is of no account.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(text, format="svg", transparent=True, metadata=nothing)
    root = ET.fromstring(text.getvalue())
    _drop_style(root)
    used = set(re.findall(r"#([\w.-]+)", " ".join(_references(root))))
    for element in root.iter():
        element.tag = _local(element.tag)
        element.attrib = _attributes(element.attrib, key, used)
    root.attrib |= {"role": "img", "aria-label": alt, "stroke-linejoin": "round"}
    return ET.tostring(root, encoding="unicode")


def standalone(svg: str) -> str:
    """An inline figure as a file of its own, in the light colours."""
    return svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)


def label(text: object, limit: int = 24) -> str:
    """One line of at most ``limit`` characters that XML can hold, shortened in its middle."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    if len(line) <= limit:
        return line
    tail = (limit - 1) // 2
    return f"{line[: limit - 1 - tail]}…{line[-tail:]}"


def _drop_style(root: ET.Element) -> None:
    # Inside a page, a style element of one figure would rule all others and the text around them.
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in {"style", "metadata"}:
                parent.remove(child)


def _references(root: ET.Element) -> list[str]:
    return [
        value
        for element in root.iter()
        for name, value in element.attrib.items()
        if "url(#" in value or (_local(name) == "href" and value.startswith("#"))
    ]


def _attributes(attributes: dict[str, str], key: str, used: set[str]) -> dict[str, str]:
    kept: dict[str, str] = {}
    for name, value in attributes.items():
        name = _local(name)
        if name == "id":
            if value in used:
                kept[name] = f"{key}-{value}"
        elif name == "href":
            kept[name] = f"#{key}-{value[1:]}" if value[0] == "#" else "".join(value.split())
        elif name in _GEOMETRY:
            kept[name] = _LONG_NUMBER.sub(lambda m: f"{float(m[0]):.2f}", " ".join(value.split()))
        else:
            value = value.replace("url(#", f"url(#{key}-")
            kept[name] = re.sub(r"#[0-9a-f]{6}\b", lambda m: _VARIABLES.get(m[0], m[0]), value)
    return kept


def _local(name: str) -> str:
    return name.rpartition("}")[2]
