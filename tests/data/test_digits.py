import hashlib

import torch
from sklearn.datasets import load_digits

from spikeloom.data import digits
from spikeloom.registry import find


def everything(images):
    return images.__getitems__(list(range(len(images))))


def test_digits_need_no_root_and_no_files(monkeypatch):
    monkeypatch.delenv("SPIKELOOM_DATA", raising=False)
    source = digits()
    assert (len(source.train), len(source.test)) == (1437, 360)
    assert (source.shape, source.outputs, source.files) == ((1, 8, 8), 10, {})
    assert find("dataset", "digits").build is digits


def test_every_image_of_scikit_learn_is_there_once():
    source = digits()
    pixels = torch.cat([everything(part)[0] for part in (source.train, source.test)])
    values = (pixels.double() * 16 / 255).round().flatten(1)
    given = torch.from_numpy(load_digits().data)
    assert sorted(values.tolist()) == sorted(given.tolist())
    assert (pixels.min(), pixels.max()) == (0, 255)


def test_every_class_has_its_share_in_both_parts():
    source = digits()
    learn, report = (everything(part)[1].bincount() for part in (source.train, source.test))
    torch.testing.assert_close(report / (learn + report), torch.full((10,), 0.2), atol=5e-3, rtol=0)


def test_the_split_is_always_the_same_one():
    x, y = everything(digits().test)
    digest = hashlib.sha256(x.numpy().tobytes() + y.numpy().tobytes()).hexdigest()
    assert digest == "a2fc2790f951761efa3de96d98e5fd3fec1bfbc4ef550eb2193c8e5117cf4c96"


def test_the_last_training_images_hold_all_classes():
    _, y = digits().train.__getitems__(list(range(1437 - 150, 1437)))
    assert y.unique().tolist() == list(range(10))
