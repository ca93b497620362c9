"""One static page about one run."""

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from spikeloom.report import activity, figures, fitting
from spikeloom.report.energy_section import energy_section
from spikeloom.report.epochs import Epoch
from spikeloom.report.folder import RunFiles, read_run
from spikeloom.report.headline import progress_tiles, result_tiles
from spikeloom.report.result import Result
from spikeloom.report.sample import Array
from spikeloom.report.template import Shown, render
from spikeloom.report.whole import write_file
from spikeloom.report.wording import number

DRAWN_LAYERS = 8
LISTED_MISTAKES = 5


def write_report(run: Path) -> Path:
    """Writes ``report.html`` into the run folder and returns its path.

    The page holds all it shows: it loads nothing and runs no script. A run that has not finished
    gets a page that says so.

    Raises:
        RunFolderError: the folder is not a run folder, or one of its files cannot be read.
    """
    files = read_run(run)
    return write_file(files.path / "report.html", page(files).encode())


def page(files: RunFiles) -> str:
    """The page of a run as text; the same files give the same text."""
    keys = (f"figure-{at}" for at in itertools.count(1))
    result = files.result
    phases = len({epoch.phase for epoch in files.epochs})
    return render(
        "page.html.jinja",
        files=files,
        result=result,
        tiles=result_tiles(result, phases) if result else progress_tiles(files.epochs),
        learning=list(_learning(files, keys)),
        fitted=list(_fit(files, keys)),
        activity=list(_activity(files, keys)),
        energy=energy_section(files.energy, keys) if files.energy else None,
        classes=list(_classes(result, keys)),
        mistakes=_mistakes(result),
        splits=_rows(result.splits if result else {}),
        data_files=_rows(result.files if result else {}),
        environment=_rows(files.environment),
        columns=[(part, name) for part in ("train", "val") for name in _names(files.epochs, part)],
        papers=[
            (paper.method, paper.bibtex, _link(paper.bibtex))
            for paper in (result.papers if result else ())
        ],
    )


def _learning(files: RunFiles, keys: Iterator[str]) -> Iterator[Shown]:
    epochs = files.epochs
    breaks = [at + 1 for at in range(1, len(epochs)) if epochs[at].phase != epochs[at - 1].phase]
    phases = " A dotted line marks the start of a new phase." if breaks else ""
    names = dict.fromkeys(_names(epochs, "train") + _names(epochs, "val"))
    for name in names:
        lines = {
            said: [getattr(epoch, part).get(name) for epoch in epochs]
            for part, said in (("train", "training"), ("val", "validation"))
            if name in _names(epochs, part)
        }
        svg = figures.curves(lines, name=name, key=next(keys), breaks=breaks)
        broken = sum(v is not None and not math.isfinite(v) for y in lines.values() for v in y)
        verb = "value is" if broken == 1 else "values are"
        odd = f" {broken} {verb} not finite and left out." if broken else ""
        yield Shown(Markup(svg), f"{name.replace('_', ' ').capitalize()} by epoch.{phases}{odd}")
    rates = [epoch.lr for epoch in epochs]
    known = [rate for rate in rates if rate is not None]
    if known:
        log = min(known) > 0 and max(known) > 20 * min(known)
        svg = figures.curves(
            {"learning rate": rates}, name="learning rate", key=next(keys), breaks=breaks, log=log
        )
        yield Shown(Markup(svg), f"Learning rate by epoch{', on a log scale' * log}.{phases}")
    for family, notes in _families(_names(epochs, "notes")).items():
        lines = {note.partition("/")[2]: [e.notes.get(note) for e in epochs] for note in notes}
        name = family.partition("/")[2]
        svg = figures.curves(lines, name=name, key=next(keys), breaks=breaks)
        yield Shown(Markup(svg), f"{family.replace('/', ': ')}, noted before every epoch.{phases}")


def _families(notes: Sequence[str]) -> dict[str, list[str]]:
    """Notes by what they are about: callback and first word."""
    found: dict[str, list[str]] = {}
    for note in notes:
        found.setdefault(note.partition(" ")[0], []).append(note)
    return found


def _fit(files: RunFiles, keys: Iterator[str]) -> Iterator[Shown]:
    fit, scores = files.fit, files.result.test_by_grade if files.result else {}
    if scores and files.result:
        measure = files.result.measure
        lines = {"test": [each.get(measure) for each in scores.values()]}
        log = min((v for v in lines["test"] if v is not None), default=0) > 0
        svg = figures.curves(lines, name=measure, over="grades", key=next(keys), log=log)
        yield Shown(Markup(svg), f"Test {measure} if the network ended with each of its grades.")
    if fit is None:
        return
    by = " by grade" if len(fit.predictions) > 1 else ""
    if fit.along is None:
        svg = fitting.pictures(fit, key=next(keys))
        yield Shown(Markup(svg), f"The picture and what the network makes of it{by}.")
        return
    svg = fitting.spectra(fit, key=next(keys))
    yield Shown(Markup(svg), f"Amplitudes of the frequencies in the function and its fit{by}.")
    svg = fitting.residuals(fit, key=next(keys))
    yield Shown(Markup(svg), f"What the fit leaves over{by}, on the training grid.")


def _activity(files: RunFiles, keys: Iterator[str]) -> Iterator[Shown]:
    result, sample = files.result, files.sample
    if result and result.firing_rates:
        svg = figures.rate_bars(result.firing_rates, key=next(keys))
        caption = (
            "Firing rate of each layer, from input to output: spikes per neuron and step, the mean "
            f"over the layer and over {result.rated}."
        )
        yield Shown(Markup(svg), caption)
    if result and len(result.accuracy_by_step) > 1:
        lines = {"test": result.accuracy_by_step}
        svg = figures.curves(lines, name="accuracy", over="time steps read", key=next(keys))
        yield Shown(Markup(svg), "Test accuracy when only the first time steps are read.")
    if not sample:
        return
    if sample.input is not None:
        shape = " × ".join(map(str, sample.input.shape))
        caption = f"The input behind the spikes and potentials shown ({shape})."
        yield Shown(Markup(activity.picture(sample.input, key=next(keys))), caption)
    if sample.spikes:
        chosen, where = _some(sample.spikes)
        caption = f"Spikes of some neurons {where}: one row per neuron, one column per step."
        yield Shown(Markup(activity.raster(chosen, key=next(keys))), caption)
    if sample.potential:
        chosen, where = _some(sample.potential)
        known = any(layer in sample.threshold for layer in chosen)
        dashed = " Dashed: the threshold." if known else ""
        svg = activity.traces(chosen, sample.threshold, key=next(keys))
        yield Shown(Markup(svg), f"Membrane potential of some neurons {where}.{dashed}")


def _classes(result: Result | None, keys: Iterator[str]) -> Iterator[Shown]:
    if result and result.confusion:
        svg = figures.confusion_matrix(result.confusion, result.class_names, key=next(keys))
        yield Shown(
            Markup(svg), "True against predicted class; shade: the share of the true class."
        )


def _mistakes(result: Result | None) -> list[tuple[int, str, str]]:
    """The most frequent mistakes: how often, the true class, the class taken instead."""
    if not result or not result.confusion:
        return []
    table = np.array(result.confusion)
    np.fill_diagonal(table, 0)
    names = result.class_names or [str(at) for at in range(len(table))]
    order = np.argsort(-table, axis=None, kind="stable")[:LISTED_MISTAKES]
    places = [divmod(int(at), len(table)) for at in order]
    return [(int(table[t, p]), names[t], names[p]) for t, p in places if table[t, p]]


def _names(epochs: Sequence[Epoch], part: str) -> list[str]:
    return list(dict.fromkeys(name for epoch in epochs for name in getattr(epoch, part)))


def _rows(mapping: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in mapping.items():
        if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            value = {str(at): item for at, item in enumerate(value, start=1)}
        if isinstance(value, Mapping):
            rows += _rows(value, f"{prefix}{name}.")
        else:
            shown = number(value, 6) if isinstance(value, float | None) else str(value)
            rows.append((prefix + name, shown))
    return rows


def _some(layers: Mapping[str, Array]) -> tuple[dict[str, Array], str]:
    """Evenly spaced layers, the first and the last among them, and where that leaves us."""
    names = list(layers)
    if len(names) <= DRAWN_LAYERS:
        return dict(layers), "of each layer"
    last = len(names) - 1
    picked = [names[round(at * last / (DRAWN_LAYERS - 1))] for at in range(DRAWN_LAYERS)]
    return {name: layers[name] for name in picked}, f"in {DRAWN_LAYERS} of {len(names)} layers"


def _link(bibtex: str) -> str:
    found = re.search(r"url\s*=\s*[{\"]+(https?://[^}\"\s]+)", bibtex)
    return found[1] if found else ""
