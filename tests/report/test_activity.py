"""Figures of spikes and potentials."""

import base64
import io
import re
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from spikeloom.report.activity import THRESHOLD, picture, raster, traces


def pixels(svg: str) -> list[NDArray[Any]]:
    """The images inside a figure, [H, W, 4]."""
    hrefs = [image.get("href", "") for image in ET.fromstring(svg).iter("image")]
    data = [base64.b64decode(href.partition("base64,")[2]) for href in hrefs]
    return [np.array(Image.open(io.BytesIO(png)).convert("RGBA")) for png in data]


def test_every_spike_is_a_mark_at_its_step_and_neuron(rng: np.random.Generator) -> None:
    spikes = {"a": rng.integers(0, 2, (7, 5), np.uint8), "b": rng.integers(0, 2, (7, 3), np.uint8)}
    for image, fired in zip(pixels(raster(spikes, key="f")), spikes.values(), strict=True):
        assert np.array_equal(image[::-1, :, 3] > 0, fired.T > 0)  # neuron 1 at the bottom


def test_a_raster_names_layers_and_rates() -> None:
    svg = raster({"conv": np.eye(4, dtype=np.uint8)}, key="f")
    assert "conv · rate 0.250" in svg
    assert "conv 4 spikes of 4 neurons" in svg


def test_a_raster_of_one_neuron_and_one_step() -> None:
    assert len(pixels(raster({"a": np.ones((1, 1), np.uint8)}, key="f"))) == 1


def test_traces_draw_the_threshold_only_where_it_is_known() -> None:
    v_seq = np.linspace(-1, 1, 12, dtype=np.float32).reshape(6, 2)
    plain, known = (traces({"a": v_seq}, given, key="f") for given in (None, {"a": 0.5}))
    assert THRESHOLD.light not in plain
    assert THRESHOLD.light in known
    assert "a · threshold 0.5" in known
    assert "a from -1 to 1" in known


def test_broken_potentials_leave_gaps() -> None:
    v_seq = np.array([[0.0], [np.nan], [np.inf], [1.0]], np.float32)
    assert "a from 0 to 1" in traces({"a": v_seq}, key="f")
    assert "a never finite" in traces({"a": v_seq[1:3]}, key="f")


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_inputs_of_any_channel_count_are_shown(channels: int, rng: np.random.Generator) -> None:
    (image,) = pixels(picture(rng.normal(size=(channels, 4, 6)), key="f"))
    assert image.shape == (4, 6, 4)


def test_an_input_between_zero_and_one_keeps_its_colours() -> None:
    image = np.zeros((3, 2, 2))
    image[0, 0, 0], image[1, 1, 1] = 1.0, 0.5
    (seen,) = pixels(picture(image, key="f"))
    assert seen[..., :3] / 255 == pytest.approx(image.transpose(1, 2, 0), abs=1 / 255)


def test_silence_in_an_event_input_is_transparent() -> None:
    events = np.zeros((2, 2, 2))
    events[0, 0, 0] = events[1, 1, 1] = 3.0
    (seen,) = pixels(picture(events, key="f"))
    assert (seen[..., 3] > 0).tolist() == [[True, False], [False, True]]
    assert (seen[0, 0] != seen[1, 1]).any()


def test_a_row_of_a_raster_is_never_lower_than_a_pixel() -> None:
    svg = raster({at: np.ones((4, 64), np.uint8) for at in "abc"}, key="f")
    for image in ET.fromstring(svg).iter("image"):
        found = re.search(r"matrix\(\S+ 0 0 (\S+)", image.get("transform", ""))
        assert found
        assert float(found[1]) * 96 / 72 >= 1.25  # px at full width, 1 px on a narrow phone
