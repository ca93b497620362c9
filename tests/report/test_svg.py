"""Figures as inline SVG."""

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import matplotlib
import pytest

from spikeloom.report.figures import curves, rate_bars
from spikeloom.report.palette import PALETTE
from spikeloom.report.svg import label

LINES = {"training": [2.0, 1.0], "validation": [2.1, 1.4]}


def test_text_stays_text() -> None:
    root = ET.fromstring(rate_bars({"features.3": 0.25}, key="f"))
    texts = [element.text for element in root.iter("text")]
    assert {"features.3", "0.250", "spikes per neuron and step"} <= set(texts)


def test_a_figure_is_the_same_every_time() -> None:
    assert curves(LINES, name="loss", key="f") == curves(LINES, name="loss", key="f")


def test_ids_of_two_figures_never_meet() -> None:
    first, second = (curves(LINES, name="loss", key=key) for key in ("one", "two"))
    ids = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]
    for svg, names in zip((first, second), ids, strict=True):
        used = set(re.findall(r'href="#([^"]+)"', svg)) | set(re.findall(r"url\(#([^)]+)\)", svg))
        assert used == names


def test_nothing_is_loaded_and_nothing_leaks_into_the_page() -> None:
    svg = curves(LINES, name="loss", key="f")
    assert "http" not in svg
    assert "<style" not in svg
    assert "<metadata" not in svg


def test_every_colour_follows_the_scheme() -> None:
    svg = curves(LINES, name="loss", key="f", breaks=[2])
    variables = {f"var(--{colour.name}, {colour.light})" for colour in PALETTE}
    coloured = re.findall(r"(?:stroke|fill): ([^;\"]+)", svg)
    assert set(coloured) - {"none"} <= variables


def test_a_figure_says_what_it_shows() -> None:
    root = ET.fromstring(curves(LINES, name="loss", key="f"))
    assert root.get("role") == "img"
    said = "Line chart of loss by epoch: training from 2 to 1; validation from 2.1 to 1.4."
    assert root.get("aria-label") == said


def test_names_are_neither_markup_nor_formulas() -> None:
    root = ET.fromstring(
        rate_bars({"<b>": 0.1, "$x$ & $": 0.2, "飞机": 0.3, "a\x00b\n": 0.4}, key="f")
    )
    assert {"<b>", "$x$ & $", "飞机", "a b"} <= {element.text for element in root.iter("text")}


@pytest.mark.parametrize("settings", [{"text.usetex": True}, {"axes.facecolor": "red"}])
def test_the_readers_matplotlibrc_changes_nothing(settings: dict[str, object]) -> None:
    plain = curves(LINES, name="loss", key="f")
    with matplotlib.rc_context(settings):
        before = dict(matplotlib.rcParams)
        assert curves(LINES, name="loss", key="f") == plain
        assert dict(matplotlib.rcParams) == before


def test_no_window_system_is_woken() -> None:
    code = "import sys, spikeloom.report; sys.exit('matplotlib.pyplot' in sys.modules)"
    path = os.pathsep.join(sys.path)
    subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path}, check=True)


def test_long_labels_lose_their_middle() -> None:
    assert label("features.12.block.neuron", 11) == "featu…euron"
    assert label("short", 11) == "short"
