"""Callbacks with a teacher: potentials, answers and rates that are followed."""

from contextlib import ExitStack
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikeloom.callbacks import MPFD, Callback, DistilLogits, DistilRates
from spikeloom.callbacks.potentials import potentials
from spikeloom.callbacks.taught import last_of_stages
from spikeloom.functional import Rectangle
from spikeloom.functional.distil import logit_mismatch
from spikeloom.functional.gram import gram_mismatch
from spikeloom.layers import LIF, OverTime, Stack, set_surrogate, unrolled
from spikeloom.learning import Batch, Unsupported
from tests.small import CLASSES, IMAGE, small


def batch(steps: int = 2) -> Batch:
    torch.manual_seed(1)
    return Batch(torch.rand(4, *IMAGE).expand(steps, 4, *IMAGE), torch.arange(4) % CLASSES)


def value(callback: Callback, model: nn.Module, given: Batch) -> Tensor:
    callback.apply(model)
    with ExitStack() as stack:
        term = stack.enter_context(callback.term(model))
        found = term(given, unrolled(model, given.x_seq))
        assert found is not None
        return found


def nets(*names: str) -> list[Any]:
    torch.manual_seed(0)
    return [small(name).eval() for name in names]


@pytest.mark.parametrize("build", [MPFD, DistilRates, DistilLogits])
def test_a_network_is_at_no_distance_from_itself(build: Any) -> None:
    (net,) = nets("spiking_vgg9")
    assert value(build(teacher=net), net, batch()).abs() < 1e-9


def test_the_last_neurons_of_every_stage_are_paired() -> None:
    vgg, resnet = nets("spiking_vgg9", "spiking_resnet20")
    assert last_of_stages(vgg) == ["features.5", "features.12", "features.22"]
    assert last_of_stages(resnet) == ["stages.0.2.after", "stages.1.2.after", "stages.2.2.after"]
    pairs = MPFD(teacher=resnet).paired(nn.Sequential(vgg))
    assert pairs[0] == ("0.features.5", "stages.0.2.after"), "also of a model inside another"


def test_only_neurons_that_are_compared_leave_their_kernels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net, teacher = nets("spiking_vgg9", "spiking_vgg9")
    traced, trace = [], LIF.trace
    monkeypatch.setattr(
        LIF, "trace", lambda self, *given: traced.append(self) or trace(self, *given)
    )
    value(MPFD(teacher=teacher), net, batch())
    want = [model.get_submodule(name) for model in (net, teacher) for name in last_of_stages(model)]
    assert set(traced) == set(want)


def test_a_teacher_of_another_architecture_is_followed() -> None:
    vgg, resnet = nets("spiking_vgg9", "spiking_resnet20")
    given = batch()
    with potentials(vgg) as seen:
        vgg(given.x_seq)
        ours = {layer.name: layer.h_seq for layer in seen()}
    with potentials(resnet) as seen:
        resnet(given.x_seq)
        theirs = {layer.name: layer.h_seq for layer in seen()}
    pairs = list(zip(last_of_stages(vgg), last_of_stages(resnet), strict=True))
    want = sum(gram_mismatch(ours[a], theirs[b]) for a, b in pairs)
    found = value(MPFD(weight=0.5, teacher=resnet), vgg, given)
    torch.testing.assert_close(found, 0.5 * want)
    found.backward()
    assert vgg.features[0].module.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in resnet.parameters())


def test_named_pairs_and_other_steps() -> None:
    vgg, resnet = nets("spiking_vgg5", "spiking_resnet20")
    pair = [("features.2", "stages.1.2.after*")]
    found = value(MPFD(pairs=pair, steps=5, teacher=resnet), vgg, batch())
    assert found > 0
    with pytest.raises(Unsupported, match="stages with neurons, the teacher 3"):
        MPFD(teacher=resnet).apply(vgg)
    with pytest.raises(Unsupported, match="matches 9 layers of neurons of the teacher"):
        MPFD(pairs=[("features.2", "stages.*.after")], teacher=resnet).apply(vgg)
    moving = batch()._replace(x_seq=torch.rand(2, 4, *IMAGE))
    with pytest.raises(Unsupported, match="different steps"):
        value(MPFD(pairs=pair, steps=5, teacher=resnet), vgg, moving)


def test_answers_are_followed_by_each_answer_of_a_head() -> None:
    net, teacher = nets("spiking_vgg5", "spiking_vgg5")
    given = batch()
    callback = DistilLogits(weight=2.0, temperature=3.0, teacher=teacher)
    found = value(callback, net, given)
    want = 2 * logit_mismatch(net(given.x_seq), teacher(given.x_seq), 3.0)
    torch.testing.assert_close(found, want)
    with callback.term(net) as term:
        twice = term(given, net(given.x_seq).repeat(1, 2, 1))
    torch.testing.assert_close(twice, want)


def test_rates_of_layers_that_differ_in_shape_are_refused() -> None:
    vgg, resnet = nets("spiking_vgg9", "spiking_resnet20")
    with pytest.raises(Unsupported, match="or use mpfd"):
        value(DistilRates(teacher=resnet), vgg, batch())


class Row(Stack):
    """One stage: a map and neurons of width 1 around the threshold."""

    def __init__(self) -> None:
        super().__init__(OverTime(nn.Linear(6, 5)), LIF(v_threshold=1.0))
        set_surrogate(self, Rectangle())

    @property
    def stages(self) -> list[nn.Module]:
        return [self]


def test_potentials_far_from_the_threshold_learn_by_mpfd_alone() -> None:
    torch.manual_seed(0)
    net, teacher = Row(), Row()
    x_seq = torch.randn(2, 4, 6)
    with torch.no_grad():
        net[0].module.bias.fill_(-50.0)  # every potential lies far below
    given = Batch(x_seq, torch.zeros(4))
    value(DistilRates(teacher=teacher), net, given).backward()
    assert (net[0].module.weight.grad == 0).all()
    value(MPFD(teacher=teacher), net, given).backward()
    assert (net[0].module.weight.grad.abs() > 0).any()


@pytest.mark.parametrize("name", [MPFD, DistilLogits, DistilRates])
def test_without_a_teacher_nothing_is_taught(name: Any) -> None:
    (net,) = nets("spiking_vgg5")
    with pytest.raises(Unsupported, match=r"needs a teacher.*\[teacher\]"):
        name().apply(net)


@pytest.mark.parametrize(
    ("build", "given"),
    [
        (MPFD, {"weight": 0.0}), (MPFD, {"steps": 0}), (DistilRates, {"pairs": []}),
        (DistilLogits, {"temperature": 0.0}),
    ],
)  # fmt: skip
def test_what_is_out_of_range_is_refused(build: Any, given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(given)).removesuffix("s")):
        build(**given)
