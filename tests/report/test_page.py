"""The page of one run, as text."""

import errno
import json
import os
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from spikeloom.report import read_run, write_report

Write = Callable[..., Path]
SECTIONS = ["headline", "learning", "activity", "classes", "setup", "papers"]


class Outline(HTMLParser):
    """Collects ids, sections and the words of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_data(self, data: str) -> None:
        self.words += data


def page_of(run: Path) -> str:
    return write_report(run).read_text("utf-8")


def test_the_page_lies_in_the_run_folder_and_nothing_else_is_left(write_run: Write) -> None:
    run = write_run(sample=False, epochs=1)
    before = {path.name for path in run.iterdir()}
    assert write_report(run) == run / "report.html"
    assert {path.name for path in run.iterdir()} == before | {"report.html"}


def test_notes_of_a_callback_are_drawn_together_by_their_first_word(full_page: Path) -> None:
    page = full_page.read_text("utf-8")
    assert page.count("noted before every epoch") == 2
    assert re.search(r"Line chart of cosine by epoch: cosine [^;]*; cosine up ", page)
    assert "Line chart of b by epoch" in page


def test_all_sections_and_headline_numbers_are_there(full_page: Path) -> None:
    outline = Outline(full_page.read_text("utf-8"))
    assert [name for name in outline.ids if name in SECTIONS] == SECTIONS
    for words in ("85.00\u202f%", "90.00\u202f%", "−5.00\u202fpp", "0.171", "1\u202f234\u202f567"):
        assert words in outline.words
    for words in ("3\u202fmin\u202f12\u202fs", "finished", "seed 0", "epoch 10", "0123abc"):
        assert words in outline.words


def test_the_interval_of_the_accuracy_is_wilsons(full_page: Path) -> None:
    # p = 170 / 200, z = 1.959964: (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n)
    assert "200 samples: 79.39\u202f% to 89.29\u202f%" in full_page.read_text("utf-8")


def test_every_logged_number_has_a_curve(full_page: Path) -> None:
    text = full_page.read_text("utf-8")
    for name in ("loss", "accuracy", "grad_norm", "learning rate"):
        assert f'aria-label="Line chart of {name} by epoch:' in text


def test_ids_are_unique_and_every_figure_is_described(full_page: Path) -> None:
    text = full_page.read_text("utf-8")
    ids = Outline(text).ids
    assert len(ids) == len(set(ids))
    figures = re.findall(r"<svg[^>]*>", text)
    assert len(figures) == 12
    assert all('role="img"' in figure and "aria-label=" in figure for figure in figures)
    assert text.count("<figcaption>") == len(figures)


def test_nothing_is_loaded_from_outside(full_page: Path) -> None:
    text = full_page.read_text("utf-8")
    outside = re.findall(r"""(?:src|href|action|data)=["'](?!data:|#)([^"']+)""", text)
    assert outside == ["https://doi.org/10.3389/fnins.2018.00331"]
    assert "<script" not in text
    assert "@import" not in text
    assert "url(http" not in text
    assert "default-src 'none'" in text


def test_text_of_the_run_is_never_markup(write_run: Write) -> None:
    bad = "<img src=x onerror=alert(1)>"
    papers = [{"method": bad, "bibtex": bad + "url = {javascript:alert(1)}"}]
    text = page_of(
        write_run(
            epochs=1,
            sample=False,
            result={"recipe": bad, "title": "", "papers": papers, "model": bad},
        )
    )
    assert "<script>" not in text
    assert "<img" not in text
    assert 'href="javascript' not in text
    assert "&lt;script&gt;alert(&#39;config&#39;)" in text


def test_an_unfinished_run_has_a_page_that_says_so(write_run: Write) -> None:
    outline = Outline(page_of(write_run(finished=False, sample=False, epochs=2)))
    assert "This run has not finished" in outline.words
    assert "Validation accuracy" in outline.words
    assert "classes" not in outline.ids


def test_a_run_that_has_just_begun_has_a_page(write_run: Write) -> None:
    run = write_run(finished=False, sample=False, epochs=0)
    assert "No epoch has been logged yet." in page_of(run)


def test_a_result_of_recipe_and_seed_alone_has_a_page(write_run: Write) -> None:
    run = write_run(sample=False, epochs=1)
    (run / "result.json").write_text('{"recipe": "stdp/tiny", "seed": 3}')
    outline = Outline(page_of(run))
    assert "stdp/tiny" in outline.words
    assert "seed 3" in outline.words


def test_notes_and_broken_values_are_told(write_run: Write) -> None:
    run = write_run(sample=False)
    lines = ['{"epoch": 1, "train": {"loss": 1.5}}', '{"epoch": 2, "train": {"loss": NaN}}', '{"ep']
    (run / "metrics.jsonl").write_text("\n".join(lines))
    text = page_of(run)
    assert "is half-written and was left out" in text
    assert "1 value is not finite and left out" in text


def test_a_new_phase_is_marked(write_run: Write) -> None:
    assert "start of a new phase" in page_of(write_run("two", epochs=9, sample=False))
    assert "start of a new phase" not in page_of(write_run("one", epochs=8, sample=False))


def test_the_worst_mistakes_come_first_and_only_if_made(write_run: Write) -> None:
    names = ["cat", "dog", "fox"]
    confusion = [[5, 2, 0], [0, 5, 0], [7, 0, 5]]
    words = Outline(
        page_of(
            write_run(epochs=0, sample=False, result={"confusion": confusion, "class_names": names})
        )
    ).words
    listed = re.findall(r"(\w+) taken for (\w+): (\d+) times", words)
    assert listed == [("fox", "cat", "7"), ("cat", "dog", "2")]


def test_of_many_layers_some_potentials_are_shown_and_counted(write_run: Write) -> None:
    run = write_run(epochs=0)
    layers = {f"potential/layer{at}": np.zeros((4, 2), np.float32) for at in range(19)}
    save_file(layers, run / "sample.safetensors")
    text = page_of(run)
    assert "in 8 of 19 layers" in text
    (said,) = re.findall(r'aria-label="(Membrane[^"]*)"', text)
    assert said.startswith("Membrane potentials: layer0 ")
    assert "layer18 " in said


def test_the_same_files_give_the_same_page(write_run: Write) -> None:
    run = write_run(sample=False, epochs=1)
    assert page_of(run) == page_of(run)


def test_config_and_environment_open_without_a_script(full_page: Path) -> None:
    outline = Outline(full_page.read_text("utf-8"))
    assert outline.tags.count("details") == outline.tags.count("summary") == 3


def test_a_failed_write_leaves_the_old_page(
    write_run: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(epochs=0, sample=False)
    old = page_of(run)
    names = {path.name for path in run.iterdir()}

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        write_report(run)
    assert (run / "report.html").read_text("utf-8") == old
    assert {path.name for path in run.iterdir()} == names


def test_the_best_epoch_comes_with_its_phase_if_there_are_several(write_run: Write) -> None:
    best = {"phase": 1, "epoch": 2, "val": {"accuracy": 0.9}}
    assert "phase 1, epoch 2" in page_of(write_run("two", result={"best": best}))
    only = page_of(write_run("one", epochs=3, result={"best": best}))
    assert "phase 1, epoch 2" not in only
    assert "epoch 2" in only


def test_firing_rates_say_what_they_were_measured_on(write_run: Write) -> None:
    text = page_of(write_run(result={"firing_rate_images": 256}))
    said = "spikes per neuron and step, the mean over the layer and over 256 test images"
    assert said in text
    assert "spikes per neuron and step, mean over layers, on 256 test images" in text
    assert "over some test images" in page_of(write_run("early"))


def test_later_sessions_are_rows_of_the_environment(write_run: Write) -> None:
    run = write_run()
    machine = json.loads((run / "environment.json").read_text())
    machine["sessions"] = [{"started": "2026-01-01", "git": "abc"}, {"started": "2026-01-02"}]
    (run / "environment.json").write_text(json.dumps(machine))
    text = page_of(run)
    assert re.search(r"sessions\.2\.started</th><td>2026-01-02<", text)


def test_the_page_of_a_foreign_result_keeps_unknown_keys(write_run: Write) -> None:
    run = write_run(
        epochs=0,
        sample=False,
        result={"energy": {"joule": 0.5}, "test": {"psnr": 31.5, "accuracy": None}},
    )
    result = read_run(run).result
    assert result is not None
    assert result.flat()["energy.joule"] == 0.5
    assert "Test psnr" in Outline(page_of(run)).words
    assert json.loads((run / "result.json").read_text())["energy"]
