"""Sequences that come in pieces give what whole ones give, in every family that allows it."""

import doctest
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikeloom.deploy import Live, Unsupported, live
from spikeloom.layers import LIF, OverTime, carry, whole_only
from spikeloom.models import HetSynMLP
from spikeloom.registry import entries
from tests.small import IMAGE, small

T = 7
# A file is no family, rays are no images, and some are shown one picture for all steps.
OTHERS = ("nir", "nerf", "diehl_cook", "first_spike")
MODELS = [e.name for e in entries("model") if e.name not in OTHERS]
CELLS = ("hetsyn", "het_neu", "hom_neu", "hom_neu_alif")
WHOLE = {"graded_mlp", "ei_network"}  # stacks kept in lists, and one picture for all steps


def pieces(net: nn.Module, x_seq: Tensor) -> Tensor:
    states, found = None, []
    for piece in x_seq.split([1, 3, 2, 1]):
        y, states = carry(net, piece, states)
        found.append(y)
    return torch.cat(found)


@pytest.mark.parametrize("name", MODELS)
def test_every_family_is_carried_on_or_says_why_not(name: str) -> None:
    net, x_seq = small(name).eval(), torch.rand(T, 2, *IMAGE)
    if name in WHOLE:
        assert whole_only(net)
        return
    assert whole_only(net) is None
    with torch.no_grad():
        torch.testing.assert_close(pieces(net, x_seq), net(x_seq), rtol=0, atol=1e-5)


def hetsyn(**options: Any) -> HetSynMLP:
    torch.manual_seed(0)
    given = {"in_shape": (5, 1, 1), "num_classes": 4, "tau": (2.0, 8.0), "draw": "uniform"}
    return HetSynMLP((16, 8), **given | options).eval()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("decision", ["last", "softmax", "spikes"])
def test_all_cells_of_hetsyn_are_carried_on(cell: Any, recurrent: bool, decision: Any) -> None:
    net = hetsyn(cell=cell, recurrent=recurrent, decision=decision, v_threshold=0.3)
    x_seq = (torch.rand(T, 3, 5, 1, 1) < 0.6).float()
    with torch.no_grad():
        torch.testing.assert_close(pieces(net, x_seq), net(x_seq), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"recurrent": True},
        {"decision": "softmax", "skip": 2},
        {"levels": 3},
        {"decision": "spikes"},
    ],
)
def test_decisions_are_those_of_the_sequence_so_far(options: dict[str, Any]) -> None:
    net = hetsyn(v_threshold=0.3, **options)
    x_seq = (torch.rand(T, 1, 5, 1, 1) < 0.6).float()
    reader = Live(net)
    decisions = [one for piece in x_seq.split([2, 1, 4]) for one in reader.feed(piece)]
    with torch.no_grad():
        means = net(x_seq)[:, 0].double().cumsum(0) / torch.arange(1, T + 1)[:, None]
    for at, (one, mean) in enumerate(zip(decisions, means, strict=True), start=1):
        assert one.steps == at
        if mean.max() == mean.min():
            assert one.label is None
            continue
        assert one.label == int(mean.argmax())
        shared = options.get("decision") is not None
        share = mean / mean.sum() if shared else mean.softmax(0)
        assert one.confidence == pytest.approx(float(share.max()), abs=1e-5)


class Averaged(nn.Module):
    def forward(self, x_seq: Tensor) -> Tensor:
        return x_seq - x_seq.mean(0)


def test_networks_that_need_the_whole_are_refused() -> None:
    with pytest.raises(Unsupported, match=r"as it comes: .*Averaged"):
        Live(nn.Sequential(OverTime(nn.Linear(3, 3)), LIF(), Averaged()))


def test_several_sequences_are_refused() -> None:
    with pytest.raises(ValueError, match="one sequence"):
        Live(hetsyn()).feed(torch.zeros(2, 3, 5, 1, 1))


def test_the_page_and_the_docstring_run(capsys: pytest.CaptureFixture[str]) -> None:
    page = Path(__file__).parents[2] / "docs" / "streaming.md"
    for snippet in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(snippet, "streaming.md", "exec"), {})
    assert "Decision(steps=" in capsys.readouterr().out
    results = doctest.testmod(live)
    assert results.attempted > 0
    assert results.failed == 0
