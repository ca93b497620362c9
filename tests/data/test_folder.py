import numpy as np
import pytest
import torch
from PIL import Image

from spikeloom.data import Order, batches, image_folder
from spikeloom.registry import find


def paint(path, colour, size=(6, 4), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)


@pytest.fixture
def pictures(tmp_path):
    """Class ``ant`` is red, ``bee`` is green; the widths and heights differ."""
    for part, count in (("train", 3), ("test", 1)):
        for number in range(count):
            paint(tmp_path / part / "bee" / f"{number}.png", (0, 255, 0), (5 + number, 9))
            paint(tmp_path / part / "ant" / f"{number}.png", (255, 0, 0), (12, 4 + number))
    return tmp_path


def test_pictures_come_decoded_in_one_size(pictures):
    source = image_folder(pictures, size=(4, 6))
    assert source.class_names == ("ant", "bee")
    assert (len(source.train), len(source.test), source.shape) == (6, 2, (3, 4, 6))
    x, y = source.train.__getitems__([5, 0])
    assert (x.shape, x.dtype, y.tolist()) == ((2, 3, 4, 6), torch.uint8, [1, 0])
    assert x.amax((2, 3)).tolist() == x.amin((2, 3)).tolist() == [[0, 255, 0], [255, 0, 0]]
    assert find("dataset", "image_folder").build is image_folder


def test_a_picture_is_cut_not_squeezed(tmp_path):
    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[:, 2:6] = 200  # the middle square
    for part in ("train", "test"):
        (tmp_path / part / "a").mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / part / "a" / "wide.png")
    x, _ = image_folder(tmp_path, size=4).train.__getitems__([0])
    assert x.unique().tolist() == [200]


@pytest.mark.parametrize(("mode", "colour"), [("L", 255), ("P", 1), ("RGBA", (9, 9, 9, 0))])
def test_other_colour_modes_become_rgb(pictures, mode, colour):
    paint(pictures / "train" / "ant" / "other.png", colour, mode=mode)
    x, _ = image_folder(pictures, size=4).train.__getitems__([3])
    assert x.shape == (1, 3, 4, 4)


def test_the_subfolder_and_the_environment_are_used(pictures, monkeypatch):
    monkeypatch.setenv("SPIKELOOM_DATA", str(pictures.parent))
    assert len(image_folder(size=4, folder=pictures.name).train) == 6


def test_damaged_pictures_are_refused_before_any_is_asked_for(pictures):
    spoilt = ["ant/1.png", "bee/0.png", "bee/1.png", "bee/2.png"]
    for name in spoilt:
        (pictures / "train" / name).write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"4 of 8 pictures under .* cannot be decoded") as refused:
        image_folder(pictures, size=4)
    said = str(refused.value)
    assert "train/ant/1.png (cannot identify image file '1.png'); train/bee/0.png (" in said
    assert said.endswith("; and 1 more. Repair or remove them")


def test_unverified_pictures_are_refused_when_they_are_read(pictures):
    (pictures / "train" / "ant" / "1.png").write_bytes(b"not a picture")
    source = image_folder(pictures, size=4, verify=False)
    paths = [path.parent.name + path.name for path in source.train.paths]
    spoilt = paths.index("ant1.png")
    source.train.__getitems__([at for at in range(6) if at != spoilt])
    with pytest.raises(ValueError, match=r"ant.1\.png was not decoded as a picture"):
        source.train.__getitems__([spoilt])


def test_a_repaired_picture_is_taken(pictures):
    path = pictures / "train" / "ant" / "1.png"
    whole = path.read_bytes()
    path.write_bytes(b"not a picture")
    with pytest.raises(ValueError, match="1 of 8"):
        image_folder(pictures, size=4)
    path.write_bytes(whole)
    assert len(image_folder(pictures, size=4).train) == 6


def test_a_split_off_the_end_holds_every_class(tmp_path):
    for part in ("train", "test"):
        for name in ("ant", "bee"):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(20):
                Image.new("RGB", (4, 4)).save(tmp_path / part / name / f"{number}.png")
    source = image_folder(tmp_path, size=4)
    assert set(source.train.labels[-20:].tolist()) == {0, 1}


def test_a_cut_off_picture_is_refused_by_name(pictures):
    path = pictures / "test" / "bee" / "0.png"
    draw = np.random.default_rng(0)
    Image.fromarray(draw.integers(0, 255, (40, 40, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ValueError, match=r"1 of 8 pictures .*bee.0\.png \(.*truncated"):
        image_folder(pictures, size=4)


def test_a_cut_off_photograph_is_refused_by_name(pictures):
    path = pictures / "test" / "bee" / "0.jpg"
    draw = np.random.default_rng(0)
    Image.fromarray(draw.integers(0, 255, (400, 400, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ValueError, match=r"1 of 9 pictures .*bee.0\.jpg \(.*truncated"):
        image_folder(pictures, size=4)


@pytest.mark.parametrize("name", ["photo.heic", "drawing.svg"])
def test_a_picture_of_a_format_that_cannot_be_read_is_refused(pictures, name):
    (pictures / "train" / "ant" / name).write_bytes(b"whatever")
    with pytest.raises(ValueError, match=rf"{name} is a picture of a format that Pillow cannot"):
        image_folder(pictures, size=4)


def only(root, save):
    """The one training picture of a folder that ``save`` writes to a path without suffix."""
    for part in ("train", "test"):
        (root / part / "a").mkdir(parents=True)
        save(root / part / "a" / "picture")
    return image_folder(root, size=(4, 4)).train.__getitems__([0])[0][0]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_levels_of_16_bits_are_scaled_to_8(tmp_path, suffix):
    levels = np.array([0, 257, 32896, 65535], np.uint16)[:, None].repeat(4, 1)
    x = only(tmp_path, lambda path: Image.fromarray(levels).save(path.with_suffix(suffix)))
    assert x[:, :, 0].tolist() == [[0, 1, 128, 255]] * 3


def test_levels_without_an_agreed_range_are_refused(tmp_path):
    levels = np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4)
    with pytest.raises(ValueError, match="mode F, which has no agreed range; save it with 8 or 16"):
        only(tmp_path, lambda path: Image.fromarray(levels).save(path.with_suffix(".tif")))


@pytest.mark.parametrize(("turn", "dtype"), [(6, np.uint8), (6, np.uint16), (1, np.uint8)])
def test_a_picture_is_turned_as_its_camera_was_held(tmp_path, turn, dtype):
    pixels = np.zeros((4, 4), dtype)
    pixels[0] = np.iinfo(dtype).max  # the upper edge, as stored

    def save(path):
        exif = Image.Exif()
        exif[0x0112] = turn  # 6: to be shown turned clockwise by a quarter
        Image.fromarray(pixels).save(path.with_suffix(".png"), exif=exif)

    x = only(tmp_path, save)[0]
    bright = x[:, -1] if turn == 6 else x[0]
    assert bright.tolist() == [255] * 4
    assert int((x == 255).sum()) == 4


def test_other_files_are_passed_over(pictures):
    (pictures / "train" / "ant" / "notes.txt").write_text("red")
    (pictures / "train" / ".hidden").mkdir()
    assert len(image_folder(pictures, size=4).train) == 6


def test_the_record_changes_with_the_files(pictures):
    before = image_folder(pictures, size=4).files
    paint(pictures / "train" / "ant" / "more.png", (9, 9, 9))
    after = image_folder(pictures, size=4).files
    assert before["train (names and sizes)"] != after["train (names and sizes)"]
    assert before["test (names and sizes)"] == after["test (names and sizes)"]


def test_a_class_may_be_absent_from_the_test_part(pictures):
    paint(pictures / "train" / "aphid" / "0.png", (0, 0, 255))
    _, y = image_folder(pictures, size=4).test.__getitems__([0, 1])
    assert y.tolist() == [0, 2]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_workers_decode_ahead(pictures):
    source = image_folder(pictures, size=4)
    order = Order(torch.arange(6), 4, seed=0, epoch=0, shuffle=True)
    here, there = (list(batches(source.train, order, workers=n)) for n in (0, 1))
    assert len(here) == len(there) == 2
    for (x, y), (u, v) in zip(here, there, strict=True):
        assert torch.equal(x, u)
        assert torch.equal(y, v)


def test_missing_folders_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*train; expected"):
        image_folder(tmp_path, size=4)
    (tmp_path / "train").mkdir()
    with pytest.raises(FileNotFoundError, match="no class folders"):
        image_folder(tmp_path, size=4)
    (tmp_path / "train" / "a").mkdir()
    paint(tmp_path / "test" / "a" / "0.png", (0, 0, 0))
    with pytest.raises(FileNotFoundError, match="holds no pictures"):
        image_folder(tmp_path, size=4)


def test_a_test_class_without_training_pictures_is_refused(pictures):
    paint(pictures / "test" / "wasp" / "0.png", (0, 0, 0))
    with pytest.raises(ValueError, match=r"has classes \['wasp'\]"):
        image_folder(pictures, size=4)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"size": 0}, "at least 1 pixel"),
        ({"size": 4, "mean": (0.5,)}, "image_folder has 3 channels, got 1 means and 3 stds"),
        ({"size": 4, "std": (0.5, 0, 0.5)}, r"std = \[0.5, 0, 0.5\], but images are divided by it"),
        ({"size": 4, "download": True}, "nothing to fetch"),
    ],
)
def test_arguments_that_cannot_be_are_refused(pictures, wish, message):
    with pytest.raises(ValueError, match=message):
        image_folder(pictures, **wish)
