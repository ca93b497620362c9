"""Braille letters under an artificial fingertip: pressure on taxels as ON and OFF events."""

import functools
import zipfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from spikeloom.data.events import Bins, Events, Recordings, Value
from spikeloom.data.files import Layout, locate
from spikeloom.data.recorded import digest, recorded_source
from spikeloom.data.source import Source
from spikeloom.functional.encode import level_crossing
from spikeloom.papers import Paper
from spikeloom.registry import register

FILE = "braille_letters.npz"
LAYOUT = Layout(("braille", "Braille", "."), (FILE,))
TEST = 30  # repetitions from here on test
Taxels = NDArray[np.uint8]


@register(
    "dataset",
    "braille",
    paper=Paper(
        key="mullercleve2022braille",
        title="Braille letter reading: A benchmark for spatio-temporal pattern recognition on "
        "neuromorphic hardware",
        authors=(
            "Simon F. Müller-Cleve", "Vittorio Fra", "Lyes Khacef", "Alejandro Pequeño-Zurro",
            "Daniel Klepatsch", "Evelina Forno", "Diego G. Ivanovich", "Shavika Rastogi",
            "Gianvito Urgese", "Friedemann Zenke", "Chiara Bartolozzi",
        ),
        venue="Frontiers in Neuroscience",
        form="article",
        year=2022,
        url="https://doi.org/10.3389/fnins.2022.951164",
    ),
)  # fmt: skip
def braille(
    root: Path | None = None,
    *,
    T: int,
    threshold: float = 2.0,
    value: Value = "count",
) -> Source:
    """Braille: a fingertip slides over the letters A to Z and Space, 40 times each.

    An event where a taxel has moved by ``threshold`` since its last one, ON upwards and OFF
    downwards; see :func:`~spikeloom.functional.encode.level_crossing`. No split is prescribed: here
    repetitions 30 to 39 test. The last ones to train on come last: ``data.val = 135`` validates on
    repetitions 25 to 29.

    Args:
        root: folder with the datasets; the variable SPIKELOOM_DATA if None.
        T: number of steps; in a run those of the model. The recording has 76.
        threshold: change of a taxel that makes an event, of 255 levels.
        value: what a step holds, see :class:`Bins`.
    Shape:
        steps [T, 2, 12, 1]: OFF and ON of each taxel
    Raises:
        FileNotFoundError: the file is missing.
        ValueError: an argument out of range, or a damaged file.
    """
    if not threshold > 0:
        raise ValueError(f"threshold must be > 0, got {threshold}")
    found = locate("braille", root, [LAYOUT], None)
    taxels, letter, repetition = _read(found.unread(FILE))
    bins = Bins(T, (2, taxels.shape[2], 1), value=value, width=taxels.shape[1] / max(T, 1))
    names, label = np.unique(letter, return_inverse=True)
    read = functools.partial(read_letter, taxels, threshold=threshold)
    parts = []
    for part, held in (("train", False), ("test", True)):
        (places,) = np.nonzero((repetition >= TEST) == held)
        if not len(places):
            raise ValueError(f"{found.paths[FILE]} has no repetitions to {part} with")
        places = places[np.lexsort((label[places], repetition[places]))]
        known = digest("braille", sorted(found.digests.items()), part, threshold)
        labels = torch.from_numpy(label[places].astype(np.int64))
        parts.append(Recordings(places.tolist(), labels, read, bins, known))
    classes = tuple(str(name) for name in names)
    return recorded_source("braille", parts[0], parts[1], classes, found.digests)


def read_letter(taxels: Taxels, number: int, *, threshold: float) -> Events:
    """Events of one recording, times in its own steps.

    Shape:
        taxels [M, S, C] of M recordings
    """
    signal_seq = torch.from_numpy(taxels[number].astype(np.float64))[:, None]
    # ON comes first there and brightness that falls first in cameras, which we keep to.
    events_seq = level_crossing(signal_seq, threshold)[:, 0].flip(1).long()
    step, polarity, taxel = events_seq.nonzero(as_tuple=True)
    times = events_seq[step, polarity, taxel]
    time, p, y = (at.repeat_interleave(times).numpy() for at in (step, polarity, taxel))
    return Events(time, (p, y, np.zeros_like(y)))


def _read(path: Path) -> tuple[Taxels, NDArray[np.str_], NDArray[np.int64]]:
    """Pressure [M, S, C], letter [M] and repetition [M]."""
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            taxels, letter, repetition = (file[key] for key in ("taxels", "letter", "repetition"))
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} is not such a file of taxels, letters and repetitions, or is cut off "
            f"({error}); fetch it anew"
        ) from error
    if taxels.ndim != 3 or not len(taxels) == len(letter) == len(repetition):
        raise ValueError(
            f"{path}: expected taxels [M, S, C] and M letters and repetitions, got "
            f"{taxels.shape}, {letter.shape} and {repetition.shape}; fetch it anew"
        )
    return taxels, letter, repetition.astype(np.int64)
