"""Spoken digits and Braille: from raw recordings to steps."""

import numpy as np
import pytest
import torch

from spikeloom.data import LevelCrossing, braille, fsdd
from spikeloom.data.braille import read_letter
from spikeloom.data.fsdd import read_wav
from tests.data.event_files import tone, write_wav


@pytest.fixture
def spoken(tmp_path):
    for digit in range(10):
        for take in (0, 4, 5, 6, 49):
            name = f"{digit}_jackson_{take}.wav"
            write_wav(tmp_path / "fsdd" / "recordings" / name, tone(400 + 300 * digit, 0.3))
    return tmp_path


def test_takes_below_five_test(spoken):
    source = fsdd(spoken, T=50, partial=True)
    assert (len(source.train), len(source.test), source.shape) == (30, 20, (496, 1, 1))
    assert {path.stem.rpartition("_")[2] for path in source.test.places} == {"0", "4"}
    for part in (source.train, source.test):
        assert [int(path.name[0]) for path in part.places] == part.labels.tolist()
    assert len(source.train.labels[-12:].unique()) > 5
    with pytest.raises(ValueError, match="holds 30 recordings, the official set 2,700"):
        fsdd(spoken, T=50)


def test_a_swelling_tone_goes_up_and_down_through_the_levels_of_its_band(spoken):
    code = LevelCrossing(thresholds=4)
    events = code(spoken / "fsdd" / "recordings" / "2_jackson_5.wav")
    assert code.neurons == 16 * 9
    band, neuron = events.place[0] // 9, events.place[0] % 9
    loudest = int(np.argmax(np.bincount(band)))
    inside = band == loudest
    up, peak, down = (events.time[inside & chosen] for chosen in
                      (neuron < 4, neuron == 8, (neuron >= 4) & (neuron < 8)))  # fmt: skip
    assert len(up) == len(down) == 4
    assert up.max() <= peak[0] <= down.min()
    assert peak[0] == 30  # the middle of 0.3 s in steps of 5 ms


def test_steps_are_hops_and_the_first_T_are_kept(spoken):
    whole = fsdd(spoken, T=200, partial=True).train.steps(0)
    short = fsdd(spoken, T=20, partial=True).train.steps(0)
    assert torch.equal(whole[:20], short)
    assert whole[62:].sum() == 0
    assert whole.max() == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"filters": 0}, "filters and thresholds must be >= 1"),
        ({"filters": 400}, "lie between two frequencies"),
        ({"window": 100.0}, "a window of 100.0 ms is 800 samples"),
        ({"low": 5000.0}, "low below high"),
        ({"floor": 0.0}, "floor is a share"),
    ],
)
def test_what_cannot_be_coded_is_refused_before_training(changes, words, spoken):
    with pytest.raises(ValueError, match=words):
        fsdd(spoken, T=20, partial=True, **changes)


def test_a_wav_file_is_read_to_the_bit(tmp_path):
    path = tmp_path / "0_a_0.wav"
    write_wav(path, np.array([0, 1, -1, 0.5]))
    sound, rate = read_wav(path)
    assert (sound * 2**15).tolist() == [0, 32767, -32767, 16384]
    assert rate == 8000


def test_damaged_wav_files_are_refused(tmp_path):
    path = tmp_path / "0_a_0.wav"
    write_wav(path, tone(500, 0.1))
    raw = path.read_bytes()
    for content, words in (
        (raw[:-100], "announces 800 samples but holds 750"),
        (raw[:20], "not a whole wav file"),
        (b"", "not a whole wav file"),
        (b"RIFX" + raw[4:], "not a whole wav file"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=words):
            read_wav(path)
    write_wav(path, tone(500, 0.1), width=1)
    with pytest.raises(ValueError, match="1 channels of 8 bits; expected one of 16"):
        read_wav(path)


def test_absent_recordings_are_described(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"<digit>_<speaker>_<take>.wav.*by hand"):
        fsdd(tmp_path, T=20)
    with pytest.raises(FileNotFoundError, match=r"missing braille_letters\.npz"):
        braille(tmp_path, T=76)


@pytest.fixture
def letters(tmp_path, draw):
    """Three letters, 40 times each, of two taxels in 10 steps."""
    path = tmp_path / "braille" / "braille_letters.npz"
    path.parent.mkdir()
    taxels = draw.integers(200, 256, (120, 10, 2)).astype(np.uint8)
    letter, repetition = np.repeat(["A", "B", "Space"], 40), np.tile(np.arange(40), 3)
    np.savez(path, taxels=taxels, letter=letter, repetition=repetition.astype(np.uint8))
    return tmp_path


def test_later_repetitions_test_and_the_last_to_train_on_hold_all_letters(letters):
    source = braille(letters, T=10)
    assert (len(source.train), len(source.test), source.shape) == (90, 30, (2, 2, 1))
    assert source.class_names == ("A", "B", "Space")
    assert source.train.labels[-15:].tolist() == [0, 1, 2] * 5
    assert {number % 40 for number in source.test.places} == {*range(30, 40)}


def test_a_taxel_that_falls_is_off_and_one_that_rises_is_on():
    taxels = np.array([[[255, 10], [249, 10], [249, 12], [255, 13]]], np.uint8)
    events = read_letter(taxels, 0, threshold=3.0)
    found = sorted(zip(events.time.tolist(), *(at.tolist() for at in events.place), strict=True))
    assert found == [(1, 0, 0, 0)] * 2 + [(3, 1, 0, 0)] * 2 + [(3, 1, 1, 0)]


def test_steps_of_braille_may_be_fewer_than_were_recorded(letters):
    whole, half = (braille(letters, T=T, threshold=9.0).train.steps(0) for T in (10, 5))
    assert torch.equal(whole[0::2] + whole[1::2], half)


def test_damaged_braille_files_are_refused(letters):
    path = letters / "braille" / "braille_letters.npz"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"braille_letters.npz is not such a file.*fetch it anew"):
        braille(letters, T=10)
    np.savez(path, taxels=np.zeros((3, 4, 2), np.uint8), letter=["A"], repetition=[1])
    with pytest.raises(ValueError, match=r"expected taxels \[M, S, C\]"):
        braille(letters, T=10)
    with pytest.raises(ValueError, match="threshold must be > 0"):
        braille(letters, T=10, threshold=0.0)
