"""Events line by line, and the decision that is that of the whole sequence."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from spikeloom import registry
from spikeloom.cli import app
from spikeloom.data import Bins, Events, Recordings, Source
from spikeloom.registry import Unsupported
from spikeloom.run import session
from spikeloom.run.config import ConfigError, DataConfig
from spikeloom.run.distributed import Processes
from spikeloom.run.live import Listener, Listening, listener
from spikeloom.run.loop import Silent, Training
from spikeloom.run.record import stored_config
from spikeloom.run.task import device_of, prepare
from tests.cli.conftest import call
from tests.run.recipe import tiny
from tests.run.recorded import HETSYN, LIF, trains

T = 20
MODELS = ("hetsyn", "lif")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    session.train(trains(LIF), root / "lif")
    session.train(trains(HETSYN), root / "hetsyn")
    return root


def samples(folder: Path) -> tuple[Tensor, Tensor]:
    """Test sequences, and the means of what the network puts out until each step [T, N, K]."""
    task = prepare(stored_config(folder), Processes(), device_of("cpu"), None, folder)
    model = Training(task, folder, Silent()).weights("last").eval()
    x, y = task.source.test.__getitems__(list(range(4)))
    with torch.no_grad():
        logits_seq = model(task.batch(x, y, training=False).x_seq).double()
    return x, logits_seq.cumsum(0) / torch.arange(1, T + 1).view(-1, 1, 1)


def lines(x: Tensor, width: float = 1.0, start: float = 0.0) -> list[str]:
    """The events of a sequence [T, C, 1, 1], in order of time."""
    return [f"{start + width * (step + 0.5)},{unit}" for step, unit, *_ in x.nonzero().tolist()]


def heard(ear: Listener, words: list[str]) -> list[Any]:
    return [one for word in words for one in ear.hear(word)] + ear.end()


@pytest.mark.parametrize("name", MODELS)
def test_the_live_decision_is_that_of_the_whole_sequence(name: str, runs: Path) -> None:
    x, means = samples(runs / name)
    for n in range(len(x)):
        found = heard(listener(runs / name, Listening(width=1.0)), lines(x[n]))
        assert [one.step for one in found] == list(range(1, T + 1))
        for one, mean in zip(found, means[:, n], strict=True):
            sure = float(mean.topk(2).values.diff().abs()) > 1e-6
            if sure and one.label is not None:
                assert one.label == int(mean.argmax())
        assert found[-1].events == 8
        assert found[-1].label == int(means[-1, n].argmax())
        assert found[-1].decision == f"manifold {found[-1].label}"


def test_times_have_any_unit_and_origin(runs: Path) -> None:
    x, _ = samples(runs / "lif")
    want = heard(listener(runs / "lif", Listening(width=1.0)), lines(x[0]))
    how = Listening(width=4.0, start=1000.0)
    found = heard(listener(runs / "lif", how), lines(x[0], 4.0, 1000.0))
    assert [one.confidence for one in found] == [one.confidence for one in want]
    assert found[-1].time == 1000.0 + 4.0 * T


def test_the_first_event_may_begin_the_first_step(runs: Path) -> None:
    ear = listener(runs / "lif", Listening(width=1.0, start="first"))
    ear.hear("1700000000.5 3")
    found = ear.hear("1700000002.6 4")
    assert [one.time for one in found] == [1700000001.5, 1700000002.5]


def test_what_is_late_or_cannot_be_read_is_left_out_and_counted(runs: Path) -> None:
    x, _ = samples(runs / "hetsyn")
    plain = lines(x[1])
    want = heard(listener(runs / "hetsyn", Listening(width=1.0)), plain)
    said: list[str] = []
    ear = listener(runs / "hetsyn", Listening(width=1.0), complain=said.append)
    middle = len(plain) // 2
    noisy = ["# a comment", "", *plain[:middle], "x,1", "3.5", "nan,2", "-1,0", "3.2,99", "2.5,1.5"]
    found = heard(ear, [*noisy, *plain[middle:], "0.1,0"])
    assert ear.bad == len(said) == 6
    assert ear.late == 1
    assert "unit 99 is not in 0 ... 7" in " ".join(said)
    assert said[0].startswith(f"line {3 + middle}: ")
    assert [one.confidence for one in found] == [one.confidence for one in want]


def test_within_a_step_events_may_come_in_any_order(runs: Path) -> None:
    one, other = (listener(runs / "lif", Listening(width=5.0)) for _ in range(2))
    words = ["1,0", "4,1", "2,2", "7,3"]
    assert heard(one, words) == heard(other, ["4,1", "2,2", "1,0", "7,3"])
    assert one.late == 0


def test_a_header_names_the_columns(runs: Path) -> None:
    plain = listener(runs / "lif", Listening(width=1.0))
    named = listener(runs / "lif", Listening(width=1.0))
    want = heard(plain, ["0.5,3", "4.5,1"])
    assert heard(named, ["unit;note;t", "3;a;0.5", "1;b;4.5"]) == want
    with pytest.raises(ConfigError, match="lacks unit; expected time,unit"):
        listener(runs / "lif", Listening(width=1.0)).hear("time,x,y")


def test_it_stops_after_t_steps_unless_told_otherwise(runs: Path) -> None:
    ear = listener(runs / "lif", Listening(width=1.0))
    assert len(ear.hear("500,3")) == T
    assert ear.done
    assert ear.hear("501,3") == ear.end() == []
    endless = listener(runs / "lif", Listening(width=1.0, steps=0))
    assert len(endless.hear("500.5,3")) == 500
    assert len(endless.end()) == 1
    assert not endless.done
    said: list[str] = []
    endless = listener(runs / "lif", Listening(width=1.0, steps=0), complain=said.append)
    assert endless.hear("1e12,3") == []
    assert "steps ahead" in said[0]


def test_the_width_comes_from_the_data_or_must_be_given(runs: Path) -> None:
    with pytest.raises(ConfigError, match="give it with --width"):
        listener(runs / "lif", Listening())
    with pytest.raises(ConfigError, match="a length > 0"):
        listener(runs / "lif", Listening(width=-1.0))


def dots(number: int) -> Events:
    """A dot that moves to the right or to the left, with more events than one in a step."""
    x = np.repeat(np.arange(4), 3)
    time = 10.0 * np.arange(12) + number % 5
    column = x if number % 2 else 3 - x
    return Events(time, (x % 2, (number // 2) % 4 + 0 * x, column))


def moving(root: Path | None = None, *, T: int) -> Source:
    bins = Bins(T, (2, 4, 4), value="binary", width=20.0)
    part = Recordings(range(40), torch.arange(40) % 2, dots, bins)
    return Source("moving", part, part, (2, 4, 4), ("left", "right"), (0.0,) * 2, (1 / 255,) * 2)


def test_cameras_have_polarities_and_pixels_and_a_width(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelves = {kind: dict(shelf) for kind, shelf in registry._entries.items()}
    monkeypatch.setattr(registry, "_entries", shelves)
    registry.register("dataset", "moving")(moving)
    config = trains(LIF, T=8)
    data = DataConfig.model_validate({"name": "moving", "val": 8, "batch": 8})
    session.train(config.model_copy(update={"data": data}), tmp_path)
    task = prepare(stored_config(tmp_path), Processes(), device_of("cpu"), None, tmp_path)
    model = Training(task, tmp_path, Silent()).weights("last").eval()
    for number in range(4):
        x, y = task.source.test.__getitems__([number])
        with torch.no_grad():
            mean = model(task.batch(x, y, training=False).x_seq).double().mean(0)[0]
        events = dots(number)
        words = zip(events.time, *events.place, strict=True)
        ear = listener(tmp_path, Listening())
        found = heard(ear, ["t,p,y,x", *(" ".join(map(str, word)) for word in words)])
        assert found[-1].label == int(mean.argmax())
        assert found[-1].confidence == pytest.approx(float(mean.softmax(0).max()), abs=1e-6)
        assert (found[-1].step, found[-1].time, ear.bad) == (8, 160.0, 0)


def test_runs_that_hear_no_events_are_refused(runs: Path, tmp_path: Path) -> None:
    session.train(tiny(phase__0__epochs=1), tmp_path / "images")
    with pytest.raises(ConfigError, match="a live stream needs recorded sequences"):
        listener(tmp_path / "images", Listening(width=1.0))
    session.train(trains({**LIF, "norm": "tebn"}), tmp_path / "tebn")
    with pytest.raises(Unsupported, match="cannot read a sequence as it comes"):
        listener(tmp_path / "tebn", Listening(width=1.0))


def stream(*words: object, text: str | None = None) -> Any:
    return CliRunner().invoke(app, ["stream", *map(str, words)], input=text)


def test_the_verb_reads_a_file_or_stdin(runs: Path, tmp_path: Path) -> None:
    x, means = samples(runs / "hetsyn")
    text = "\n".join(["time,unit", *lines(x[2]), "zzz"]) + "\n"
    file = tmp_path / "events.csv"
    file.write_text(text)
    said = call("stream", runs / "hetsyn", "--live", file, "--width", 1)
    label = int(means[-1, 2].argmax())
    assert f"decision: manifold {label}, " in said.stdout
    assert "after 20 steps and 8 events (end of events)" in said.stdout
    assert "passed over line 10" in said.stderr
    assert "1 lines could not be read" in said.stderr
    piped = stream(runs / "hetsyn", "--live", "-", "--width", 1, "--every", 5, "--json", text=text)
    rows = [json.loads(line) for line in piped.stdout.splitlines()]
    assert {5, 10, 15, 20} <= {row["step"] for row in rows}
    assert rows[-1]["label"] == label
    assert (rows[-1]["end"], rows[-1]["bad"], rows[-1]["late"]) == ("end of events", 1, 0)
    changes = [json.loads(line) for line in call(
        "stream", runs / "hetsyn", "--live", file, "--width", 1, "--json"
    ).stdout.splitlines()][:-1]  # fmt: skip
    assert all(a["label"] != b["label"] for a, b in itertools.pairwise(changes))


def test_ctrl_c_ends_with_the_decision_until_then(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    def interrupted() -> Iterator[str]:
        yield "0.5,3\n"
        yield "6.5,4\n"
        raise KeyboardInterrupt

    class Typed:
        def __iter__(self) -> Iterator[str]:
            return interrupted()

    from spikeloom.cli import streaming

    monkeypatch.setattr(streaming, "sys", type("", (), {"stdin": Typed(), "stderr": sys.stderr}))
    found = stream(runs / "lif", "--live", "-", "--width", 1)
    assert found.exit_code == 130
    assert "after 7 steps and 2 events (interrupted)" in found.stdout


def test_the_verb_says_what_is_wrong(runs: Path, tmp_path: Path) -> None:
    run, none = runs / "lif", tmp_path / "none.csv"
    none.write_text("x,y\n")
    assert "--start is a time" in call(
        "stream", run, "--live", "-", "--start", "now", code=2
    ).stderr  # fmt: skip
    for words, said in (
        (("--width", 1), "go with --live FILE"),
        (("--live", "-", "--late", 0.1), "are about the test one event at a time"),
        (("--live", tmp_path / "gone.csv", "--width", 1), "No such file"),
        (("--live", none, "--width", 1), "the first line names x, y"),
        (("--live", "-"), "give it with --width"),
    ):
        assert said in call("stream", run, *words, code=2).stderr, words
    none.write_text("1,one\n2\n")
    assert "no events in" in call("stream", run, "--live", none, "--width", 1, code=2).stderr
