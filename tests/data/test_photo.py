import numpy as np
import pytest
import torch
from PIL import Image

from spikeloom.data import photo


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 3), dtype=np.uint8)
    (tmp_path / "photos").mkdir()
    Image.fromarray(pixels).save(tmp_path / "photos" / "own.png")
    return tmp_path, torch.from_numpy(pixels)


def test_every_second_pixel_trains_and_all_are_tested(picture):
    root, pixels = picture
    source = photo(root, file="own.png")
    assert (source.shape, source.outputs, source.measure) == ((2,), 3, "psnr")
    assert (len(source.train), len(source.test)) == (6 * 4, 12 * 8)
    torch.testing.assert_close(source.test.targets.view(12, 8, 3), pixels.float() / 255)
    torch.testing.assert_close(source.train.targets.view(6, 4, 3), pixels[::2, ::2].float() / 255)
    row, column = source.test.samples[8 * 5 + 3].tolist()
    assert (row, column) == (pytest.approx(5 / 12), pytest.approx(3 / 8))
    assert source.test.samples.max() < 1
    assert list(source.files) == ["own.png"]


def test_a_smaller_picture_averages_areas(picture):
    root, pixels = picture
    source = photo(root, file=str(root / "photos" / "own.png"), side=4)
    assert source.plot.size == (6, 4)
    area = pixels.float().view(6, 2, 4, 2, 3).mean((1, 3)) / 255
    torch.testing.assert_close(source.plot.targets.view(6, 4, 3), area, atol=1 / 255, rtol=0)


def test_what_is_no_picture_is_refused(picture):
    root, _ = picture
    (root / "photos" / "text.png").write_text("no pixels")
    with pytest.raises(FileNotFoundError, match="give file = an absolute path"):
        photo(root, file="none.png")
    with pytest.raises(ValueError, match="not decoded as a picture"):
        photo(root, file="text.png")
    with pytest.raises(ValueError, match="8 x 12 pixels, and side = 9"):
        photo(root, file="own.png", side=9)
    with pytest.raises(ValueError, match="nothing to download"):
        photo(root, file="own.png", download=True)
