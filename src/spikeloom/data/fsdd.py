"""The free spoken digits: wav files, and how they become spikes."""

import re
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from spikeloom.data.events import Bins, Events, Recordings, Value
from spikeloom.data.files import locate_folder
from spikeloom.data.recorded import check_count, digest, listed, mixed, recorded_source
from spikeloom.data.source import Source
from spikeloom.functional.audio import band_levels, mel_power, threshold_crossing
from spikeloom.papers import Paper
from spikeloom.registry import register

FOLDERS = ("fsdd/recordings", "free-spoken-digit-dataset/recordings", "FSDD/recordings")
CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
COUNTS = {"train": 2_700, "test": 300}
HELD = 5  # takes of each speaker and digit that test
NAME = re.compile(r"(\d)_([a-z]+)_(\d+)\.wav")


@dataclass(frozen=True)
class LevelCrossing:
    """How a sound becomes events: power in mel bands, and where it crosses levels.

    Args:
        filters: bands; ``low`` to ``high`` [Hz], or to half the rate if that is less.
        nfft: samples of the transform.
        thresholds: levels of each band.
        peak: whether a neuron of each band tells when it is loudest.
        window: of the transform [ms].
        hop: length of a step [ms].
        floor: share of the largest power below which nothing is heard.

    Shape:
        a file -> events at (neuron, 0, 0), times in steps
    """

    filters: int = 16
    low: float = 360.0
    high: float = 8000.0
    nfft: int = 512
    thresholds: int = 15
    peak: bool = True
    window: float = 25.6
    hop: float = 5.0
    floor: float = 1e-5

    @property
    def neurons(self) -> int:
        """Places of the events."""
        return self.filters * (2 * self.thresholds + self.peak)

    def __call__(self, path: Path) -> Events:
        sound, rate = read_wav(path)
        power = mel_power(
            sound[:, None], rate, filters=self.filters, low=self.low, high=self.high,
            nfft=self.nfft, window=self.window, hop=self.hop,
        )  # fmt: skip
        levels = band_levels(power, self.floor)
        spikes = threshold_crossing(levels, self.thresholds, peak=self.peak)
        step, neuron = spikes[:, 0].flatten(1).nonzero(as_tuple=True)
        zero = np.zeros(len(step), np.int64)
        return Events(step.numpy(), (neuron.numpy(), zero, zero))


@register(
    "dataset",
    "fsdd",
    paper=Paper(
        key="jackson2018fsdd",
        title="Free Spoken Digit Dataset",
        authors=(
            "Zohar Jackson", "César Souza", "Jason Flaks", "Yuxin Pan", "Hereman Nicolas",
            "Adhish Thite",
        ),
        venue="Zenodo",
        form="misc",
        year=2018,
        url="https://doi.org/10.5281/zenodo.1342401",
    ),
)  # fmt: skip
def fsdd(
    root: Path | None = None,
    *,
    T: int,
    filters: int = 16,
    low: float = 360.0,
    high: float = 8000.0,
    nfft: int = 512,
    thresholds: int = 15,
    peak: bool = True,
    window: float = 25.6,
    hop: float = 5.0,
    floor: float = 1e-5,
    value: Value = "binary",
    partial: bool = False,
) -> Source:
    """Free spoken digits: 3,000 recordings of six people, coded by level crossing.

    Takes 0 to 4 of each digit and speaker test, the others train: the data set's own split. The
    coding is that which is published for TiDigits as far as it is told: 16 mel filters from 360 to
    8,000 Hz, transforms of 512 samples, 15 thresholds, the first 200 steps. Inferred are crossings
    both ways and a neuron for the peak, which makes 496 of the about 500 neurons told; the window,
    512 samples at the 20 kHz of TiDigits; the hop; and how loudness is scaled.

    Args:
        root: folder with the datasets; the variable SPIKELOOM_DATA if None.
        T: number of steps; in a run those of the model. What comes later is left out.
        filters: number of bands.
        low: where the first band begins [Hz].
        high: where the last one ends [Hz], or at half the rate, 4,000 Hz here.
        nfft: samples of a transform.
        thresholds: levels of each band.
        peak: whether a neuron of each band tells when it is loudest.
        window: of the transform [ms].
        hop: length of a step [ms].
        floor: share of the largest power below which nothing is heard.
        value: what a step holds, see :class:`Bins`.
        partial: take another number of recordings than the official one, too.

    Raises:
        FileNotFoundError: there are no recordings.
        ValueError: an argument out of range; without ``partial``, also if not all are there.
    Source:
        Deng et al., NeurIPS 2025 (the setting); Guetig and Sompolinsky 2009 (the coding).
    """
    code = LevelCrossing(filters, low, high, nfft, thresholds, peak, window, hop, floor)
    if min(filters, thresholds) < 1:
        raise ValueError(f"filters and thresholds must be >= 1, got {filters} and {thresholds}")
    bins = Bins(T, (code.neurons, 1, 1), value=value, width=1.0)
    base = locate_folder(
        "fsdd", root, FOLDERS,
        lambda folder: any(folder.glob("*.wav")),
        expected="<digit>_<speaker>_<take>.wav",
        by_hand="github.com/Jakobovski/free-spoken-digit-dataset",
    )  # fmt: skip
    names = [(path, hit) for path in base.glob("*.wav") if (hit := NAME.fullmatch(path.name))]
    found = sorted((int(hit[3]), int(hit[1]), hit[2], path) for path, hit in names)
    parts, files = [], {}
    for name, held in (("train", False), ("test", True)):
        chosen = [each for each in found if (each[0] < HELD) == held]
        check_count(base, len(chosen), COUNTS[name], partial=partial)
        chosen = [chosen[at] for at in mixed(len(chosen))]
        paths = [path for *_, path in chosen]
        listing, state = listed(paths, base)
        files[f"{name} (names and sizes)"] = listing
        labels = torch.tensor([digit for _, digit, _, _ in chosen])
        parts.append(Recordings(paths, labels, code, bins, digest("fsdd", state, code)))
    parts[0].steps(0)  # refuses what the coding cannot do
    return recorded_source("fsdd", parts[0], parts[1], CLASSES, files)


def read_wav(path: Path) -> tuple[Tensor, int]:
    """A sound in -1 ... 1, and its samples in a second.

    Shape:
        -> float32 [L]
    Raises:
        ValueError: it is no wav file, is cut off, or not one channel of 16 bits.
    """
    try:
        with wave.open(str(path), "rb") as file:
            about = file.getparams()
            raw = file.readframes(about.nframes)
    except (wave.Error, EOFError) as error:
        raise ValueError(f"not a whole wav file ({error or 'it ends'}); fetch it anew") from error
    if about.nchannels != 1 or about.sampwidth != 2:
        raise ValueError(
            f"{about.nchannels} channels of {8 * about.sampwidth} bits; expected one of 16: "
            "convert it"
        )
    if not about.nframes or len(raw) != 2 * about.nframes:
        raise ValueError(
            f"announces {about.nframes} samples but holds {len(raw) // 2}; it is cut off, fetch it "
            "anew"
        )
    return torch.from_numpy(np.frombuffer(raw, "<i2").astype(np.float32) / 2**15), about.framerate
