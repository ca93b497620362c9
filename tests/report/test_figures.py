"""Figures of numbers."""

import base64
import io
import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from spikeloom.report.figures import bands, confusion_matrix, curves, dots, rate_bars
from spikeloom.report.palette import SERIES


def path_of(svg: str, colour: str) -> list[str]:
    """Commands of the line drawn in that colour; its markers are filled."""
    styles = [(p.get("style", ""), p.get("d", "")) for p in ET.fromstring(svg).iter("path")]
    (line,) = (d for style, d in styles if colour in style and "fill: none" in style)
    return re.findall("[ML]", line)


def test_missing_values_are_passed_over_and_infinite_ones_break_the_line() -> None:
    values = [4.0, None, 3.0, math.nan, 2.0, 1.0, math.inf, 1.0]
    svg = curves({"training": values}, name="loss", key="f")
    assert "".join(path_of(svg, SERIES[0].light)) == "MLMLM"


def test_a_line_without_finite_values_is_said_to_be_one() -> None:
    svg = curves({"training": [math.nan, math.nan]}, name="loss", key="f")
    assert "training without finite values" in svg


def test_one_epoch_has_one_whole_tick() -> None:
    texts = [e.text for e in ET.fromstring(curves({"a": [1.5]}, name="x", key="f")).iter("text")]
    assert "1" in texts
    assert not any(text and "0.9" in text for text in texts)


def test_accuracies_are_read_in_per_cent() -> None:
    svg = curves({"a": [0.2, 0.8]}, name="accuracy", key="f")
    assert "60\u202f%" in svg


def test_a_log_axis_is_labelled_without_formulas() -> None:
    svg = curves({"lr": [0.1, 0.001]}, name="learning rate", key="f", log=True)
    assert ">0.01<" in svg
    assert "mathdefault" not in svg


def test_more_lines_than_colours_still_differ() -> None:
    arms = {str(at): ([1, 2], [0.1 * at, 0.2], [None, None]) for at in range(9)}
    root = ET.fromstring(bands(arms, name="accuracy", key="f"))
    styles = {
        p.get("style") for p in root.iter("path") if "stroke-width: 1.6" in p.get("style", "")
    }
    assert len(styles) == 9


def test_a_band_needs_a_spread() -> None:
    one = bands({"a": ([1, 2], [0.1, 0.2], [None, None])}, name="loss", key="f")
    two = bands({"a": ([1, 2], [0.1, 0.2], [0.01, 0.02])}, name="loss", key="f")
    assert "opacity: 0.18" not in one
    assert "opacity: 0.18" in two


def test_every_run_is_a_dot() -> None:
    root = ET.fromstring(dots({"a": [0.1, 0.2, 0.3], "b": [0.4]}, name="test.accuracy", key="f"))
    for colour, count in ((SERIES[0], 3), (SERIES[1], 1)):
        assert sum(colour.light in use.get("style", "") for use in root.iter("use")) == count


def test_bars_say_the_rates_even_of_a_silent_or_broken_layer() -> None:
    svg = rate_bars({"a": 0.125, "silent": 0.0, "broken": math.nan}, key="f")
    for text in ("0.125", "0.000", "nan"):
        assert f">{text}<" in svg


def test_confusion_is_shaded_by_the_share_of_the_true_class() -> None:
    svg = confusion_matrix([[3, 1], [0, 0]], ["cat", "dog"], key="f")
    (image,) = ET.fromstring(svg).iter("image")
    data = image.get("href", "").partition("base64,")[2]
    alpha = np.array(Image.open(io.BytesIO(base64.b64decode(data))))[..., 3] / 255
    assert alpha == pytest.approx(0.62 * np.array([[0.75, 0.25], [0, 0]]), abs=1 / 255)
    assert "Confusion matrix of 2 classes: 75.0% of 4 on the diagonal." in svg
    assert "cat" in svg


def test_many_classes_drop_counts_then_names() -> None:
    names = [f"class{at}" for at in range(31)]
    few, many = (
        confusion_matrix(np.full((n, n), 77).tolist(), names[:n], key="f") for n in (13, 31)
    )
    assert ">77<" not in few
    assert "class12" in few
    assert "class12" not in many


@pytest.mark.parametrize(
    ("counts", "names", "message"),
    [
        ([[1, 2]], [], "expected a square"),
        ([[1]], ["a", "b"], "there are 2 names"),
        ([], [], "square"),
    ],
)
def test_confusion_must_fit_its_names(
    counts: list[list[int]], names: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        confusion_matrix(counts, names, key="f")
