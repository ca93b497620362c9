"""Tables for the terminal: what runs came to."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from spikeloom.cli.tables import grid
from spikeloom.report import Comparison
from spikeloom.report.paired import mean_sd
from spikeloom.report.result import Result
from spikeloom.report.wording import NARROW, amount, change, duration, quantity

BAR = 20  # cells of the longest bar


def result_table(result: Mapping[str, Any]) -> Table:
    """What a finished run comes to: scores, its twin's, firing rates, time."""
    found = Result.model_validate(result)
    table = grid(None, None, header=False)
    test, key = found.test, found.measure
    counted = f"of {test['count']:,} {_kind(key)}" if "count" in test else ""
    for name, value in sorted(test.items(), key=lambda item: item[0] != key):
        if name == key:
            table.add_row(f"test {name}", _value(name, value), counted)
        elif name != "count":
            table.add_row(f"test {name}", _value(name, value))
    for grade, scores in found.test_by_grade.items():
        table.add_row(f"  with {grade} grade{'s' * (grade != '1')}", _value(key, scores[key]))
    if found.stopped:
        table.add_row("stopped", found.stopped)
    twin = found.twin.test.get(key) if found.twin else None
    if twin is not None:
        gap = _plain(change(key, test[key] - twin))
        table.add_row("its ReLU twin", _value(key, twin), f"spiking minus twin: {gap}")
    if found.teacher and key in found.teacher.test:
        gap = _plain(change(key, test[key] - found.teacher.test[key]))
        taught = _value(key, found.teacher.test[key])
        table.add_row("its teacher", taught, f"spiking minus teacher: {gap}")
    if found.mean_rate is not None:
        measured = f"spikes per neuron and step, on {found.rated}; layers: mean over neurons"
        table.add_row("firing rate", f"{found.mean_rate:.4f}", measured)
        most = max(found.firing_rates.values()) or 1.0
        for layer, rate in found.firing_rates.items():
            table.add_row(f"  {layer}", f"{rate:.4f}", "█" * round(BAR * rate / most))
    if found.parameters is not None:
        table.add_row("parameters", f"{found.parameters:,}")
    if found.seconds is not None:
        table.add_row("training time", _plain(duration(found.seconds)))
    return table


def score_table(scores: Mapping[str, Any]) -> Table:
    """What :func:`~spikeloom.run.session.score` found."""
    table = grid(None, None, header=False)
    key = scores.get("measure", "accuracy")
    counted = f"of {scores['count']:,} {_kind(key)}, {scores['weights']} weights"
    table.add_row(f"test {key}", _value(key, scores[key]), counted)
    for name, value in scores.items():
        if name in ("loss", "rse", "mse", "psnr") and name != key:
            table.add_row(f"test {name}", _value(name, value))
    for step, share in enumerate(scores.get("accuracy_by_step", ()), start=1):
        table.add_row(f"  after step {step}", _value("accuracy", share))
    if "bytes" in scores:
        table.add_row("packed file", f"{scores['bytes']:,} bytes")
    if "agreeing" in scores:
        table.add_row("as the run predicts", *_agreement(scores))
    return table


def _kind(measure: str) -> str:
    return "images" if measure == "accuracy" else "samples"


def _agreement(found: Mapping[str, Any]) -> tuple[str, str]:
    same = f"{found['agreeing']:,} of {found['compared']:,}"
    return same, f"largest difference of a logit {found['largest_error']:.1e}"


def export_table(found: Mapping[str, Any]) -> Table:
    """How far the files that were written agree with the network."""
    table = grid(None, None, None, header=False)
    if nir := found.get("nir"):
        table.add_row("NIR", nir["path"], "spikes as in the network, file read back")
        for layer in nir["layers"]:
            same = f"{layer['count'] - layer['differing']:,} of {layer['count']:,}"
            note = nir["notes"].get(layer["layer"], "")
            share = f"{layer['share']:.4%}" if layer["differing"] else "100 %"
            said = f"{same}; only metadata say: {note}" if note else same
            table.add_row(f"  {layer['layer']}", share, said)
        table.add_row("  recorded data", nir["data"])
    if onnx := found.get("onnx"):
        table.add_row("ONNX", onnx["path"], f"T = {onnx['T']}, any N")
        table.add_row(
            "  logits", f"{onnx['agreeing']} of {onnx['count']} samples",
            f"as in the network but for 1e-4; largest error {onnx['largest_error']:.1e}",
        )  # fmt: skip
    if packed := found.get("packed"):
        counted = f"{packed['coded']:,} weights of one bit or less, {packed['floats']:,} floats"
        table.add_row("packed", packed["path"], counted)
        others = f"weights as float32 {packed['float32']:,}, as int8 {packed['int8']:,}"
        table.add_row("  bytes", f"{packed['bytes']:,}", others)
        table.add_row("  predictions", *_agreement(packed))
    return table


def import_table(found: Mapping[str, Any]) -> Table:
    """What a NIR file holds, and how far it does what was recorded with it."""
    table = grid("node", "layer", "shape", "from", "recorded")
    recorded = {layer["layer"]: layer for layer in found.get("recorded", [])}
    late = {tuple(edge) for edge in found["delayed"]}
    for node in found["nodes"]:
        name = node["name"]
        entering = [f"{s} (a step late)" if (s, name) in late else s for s in node["from"]]
        shape = " × ".join(map(str, node["shape"]))
        same = f"{recorded[name]['share']:.2%} equal" if name in recorded else ""
        table.add_row(name, node["layer"], shape, ", ".join(entering), same)
    return table


def comparison_table(comparison: Comparison) -> Table:
    """Every arm: mean and spread over seeds, and the paired difference to the baseline."""
    metric = comparison.metric
    names = ["arm", "n", "mean ± sd"]
    paired = comparison.baseline is not None
    names += ["difference", "95 % interval", "pairs"] if paired else []
    names += comparison.costs
    table = grid(*names, right=(1, *range(len(names) - len(comparison.costs), len(names))))
    table.title, table.title_justify, table.title_style = f"{metric} over seeds", "left", "bold"
    for row in comparison.rows():
        spread = "" if row["sd"] is None else f" ± {_value(metric, row['sd'])}"
        cells = [row["arm"], str(row["n"]), _value(metric, row["mean"]) + spread]
        if paired and row["pairs"] is None:
            cells += ["baseline", "", ""]
        elif paired:
            ends = [_change(metric, end) for end in row["interval"] or ()]
            between = f"{ends[0].removesuffix(' pp')} to {ends[1]}" if ends else "–"
            cells += [_change(metric, row["difference"]), between, str(row["pairs"])]
        cells += [amount((row["energy"] or {}).get(name)) for name in comparison.costs]
        table.add_row(*cells)
    return table


def fault_table(found: Mapping[str, Any]) -> Table:
    """Test accuracy on faulty chips: mean and spread over chips."""
    calibrated = found["calibrate"] > 0
    after = [f"after {found['calibrate']} updates"] if calibrated else []
    lost = ["spikes lost"] if any("lost" in row for row in found["rows"]) else []
    table = grid("fault", "strength", "test accuracy", *after, *lost, right=(1,))
    table.title, table.title_justify, table.title_style = _chips(found["chips"]), "left", "bold"
    table.add_row("none", "", _value("accuracy", found["faultless"]))
    for row in found["rows"]:
        keys = ("accuracy", "calibrated") if calibrated else ("accuracy",)
        cells = [_spread(row[key]) for key in (*keys, *(["lost"] if "lost" in row else []))]
        table.add_row(row["fault"], f"{row['strength']:g}", *cells)
    return table


def robustness_table(found: Mapping[str, Any]) -> Table:
    """Test accuracy on perturbed sequences: mean and spread over draws."""
    table = grid("perturbation", "strength", "steps", "test accuracy", right=(1, 2))
    draws = found["draws"]
    table.title = f"mean ± sd over {draws} draws" if draws > 1 else "one draw"
    table.title_justify, table.title_style = "left", "bold"
    table.add_row("none", "", str(found["T"]), _value("accuracy", found["untouched"]))
    for row in found["rows"]:
        score = _spread(row["accuracy"])
        table.add_row(row["perturbation"], f"{row['strength']:g}", str(row["T"]), score)
    return table


def _chips(count: int) -> str:
    return f"mean ± sd over {count} chips" if count > 1 else "one chip"


def _spread(values: Sequence[float]) -> str:
    mean, sd = mean_sd(values)
    return _value("accuracy", mean) + ("" if sd is None else f" ± {_value('accuracy', sd)}")


def _value(metric: str, value: float) -> str:
    return _plain(quantity(metric, value))


def _change(metric: str, value: float | None) -> str:
    return _plain(change(metric, value))


def _plain(text: str) -> str:
    """With spaces that a terminal and a search find."""
    return text.replace(NARROW, " ")


__all__ = [
    "comparison_table",
    "export_table",
    "fault_table",
    "import_table",
    "result_table",
    "robustness_table",
    "score_table",
]
