"""Shortcut back-propagation: the identities of the paper's equations."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikeloom.functional import Rectangle
from spikeloom.layers import LIF, OverTime
from spikeloom.learning import Batch, Progress, Unsupported
from spikeloom.learning.bptt import BPTT
from spikeloom.learning.shortcut_bp import Branched, ShortcutBP
from spikeloom.losses.rate import RateCrossEntropy
from tests.small import CLASSES, IMAGE, small

LOSS = RateCrossEntropy()
START = Progress(epoch=0, epochs=1, update=0, updates=100)
MODELS = ["spiking_mlp", "spiking_vgg9", "spiking_resnet18"]


def batch(n: int = 4) -> Batch:
    return Batch(torch.rand(2, n, *IMAGE), torch.randint(CLASSES, (n,)))


def network(name: str) -> nn.Module:
    return small(name, **({"hidden": (64, 64, 64), "width": 1} if name == "spiking_mlp" else {}))


def gradients(learner: Any, model: nn.Module, given: Batch, at: Progress = START) -> Any:
    trained = learner.prepare(copy.deepcopy(model))
    learner.step(trained, given, LOSS, at)
    return trained, {name: p.grad for name, p in learner.finish(trained).named_parameters()}


@pytest.mark.parametrize("name", MODELS)
def test_weight_zero_is_bptt_to_the_bit(name: str) -> None:
    model, given = network(name), batch()
    _, plain = gradients(BPTT(), model, given)
    trained, found = gradients(ShortcutBP(weight=0.0), model, given)
    assert plain.keys() == found.keys()
    assert all(torch.equal(plain[key], found[key]) for key in plain)
    assert isinstance(trained, Branched)
    assert len(trained.branches) == len(model.stage_channels) - 1
    assert not any(p.grad.any() for p in trained.branches.parameters())


def test_branches_change_the_gradients_of_shallow_layers_only_through_their_own_stage() -> None:
    """Of losses, that is: logits that are added change the error of all layers."""
    model, given = network("spiking_vgg9"), batch()
    _, plain = gradients(BPTT(), model, given)
    trained, found = gradients(ShortcutBP(stages=[0], combine="losses"), model, given)
    shallow = {id(p) for p in model.stages[0].parameters()}
    for name, parameter in model.named_parameters():
        reached = id(parameter) in shallow
        assert torch.equal(plain[name], found[name]) != reached, name
    assert shallow
    assert all(p.grad.any() for p in trained.branches.parameters())


def test_the_gradient_is_linear_in_the_branches() -> None:
    model, given, share = network("spiking_vgg9"), batch(), 0.25
    trained = ShortcutBP().prepare(model)
    assert isinstance(trained, Branched)
    weight = next(model.parameters())
    logits, branches = trained.with_branches(given.x_seq)
    total = (logits + share * torch.stack(branches).sum(0)).mean(0)
    error = (total.softmax(-1) - nn.functional.one_hot(given.y, CLASSES)) / len(given.y)
    error = error.detach()

    def pulled(logits_seq: Tensor) -> Tensor:
        product = (logits_seq.mean(0) * error).sum()
        return torch.autograd.grad(product, weight, retain_graph=True)[0]

    want = pulled(logits) + share * sum(pulled(branch) for branch in branches)
    whole = nn.functional.cross_entropy(total, given.y)
    found = torch.autograd.grad(whole, weight)[0]
    torch.testing.assert_close(found, want, rtol=1e-4, atol=1e-7)


def test_every_branch_gets_the_same_error() -> None:
    model, given = network("spiking_vgg9"), batch()
    learner = ShortcutBP()
    trained = learner.prepare(model)
    assert isinstance(trained, Branched)
    logits, branches = trained.with_branches(given.x_seq)
    for seq in (logits, *branches):
        seq.retain_grad()
    trained.with_branches = lambda _: (logits, branches)  # type: ignore[method-assign]
    learner.step(trained, given, LOSS, START)
    for branch in branches:
        torch.testing.assert_close(branch.grad, 0.25 * logits.grad, rtol=1e-6, atol=0)


def test_a_model_of_one_stage_is_trained_as_ever() -> None:
    model, given = small("spiking_mlp"), batch()
    _, plain = gradients(BPTT(), model, given)
    trained, found = gradients(ShortcutBP(), model, given)
    assert not [*trained.branches]
    assert all(torch.equal(plain[key], found[key]) for key in plain)


@pytest.mark.parametrize("name", MODELS)
def test_evaluation_knows_no_branches(name: str) -> None:
    model = network(name)
    learner = ShortcutBP()
    trained = learner.prepare(model).eval()
    x_seq = batch().x_seq
    assert torch.equal(trained(x_seq), learner.finish(trained)(x_seq))
    assert learner.finish(trained) is model


@pytest.mark.parametrize(("update", "want"), [(0, 0.25), (50, 0.125), (100, 0.0)])
def test_the_coefficient_falls_in_a_line(update: int, want: float) -> None:
    at = Progress(epoch=0, epochs=1, update=update, updates=100)
    assert ShortcutBP().coefficient(at) == want
    assert ShortcutBP(evolve=False).coefficient(at) == 0.25


def test_losses_may_be_added_instead() -> None:
    model, given = network("spiking_vgg9"), batch()
    _, logits = gradients(ShortcutBP(), model, given)
    _, losses = gradients(ShortcutBP(combine="losses"), model, given)
    first, *_ = logits
    assert not torch.allclose(logits[first], losses[first])


class Deep(nn.Module):
    """A plain deep network in four stages; biases keep it alive, weights shrink gradients."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        neuron = {"tau": 2.0, "decay_input": False, "surrogate": Rectangle(alpha=1.0)}
        layers = [nn.Sequential(OverTime(nn.Linear(64, 64)), LIF(**neuron)) for _ in range(depth)]
        for linear, _ in layers:
            nn.init.normal_(linear.module.weight, std=0.1)
            nn.init.normal_(linear.module.bias, mean=1.0, std=0.5)
        quarter = depth // 4
        self.stages = nn.Sequential(
            *(nn.Sequential(*layers[i * quarter : (i + 1) * quarter]) for i in range(4))
        )
        self.stage_channels = (64,) * 4
        self.head = OverTime(nn.Linear(64, CLASSES))

    def forward(self, x_seq: Tensor) -> Tensor:
        return self.head(self.stages(x_seq))


def test_the_first_layer_of_a_deep_network_gets_a_larger_gradient() -> None:
    def reach(learner: Any, depth: int) -> float:
        torch.manual_seed(0)
        given = Batch(torch.rand(2, 8, 64), torch.randint(CLASSES, (8,)))
        _, found = gradients(learner, Deep(depth), given)
        first, *_ = found
        return float(found[first].abs().mean())

    ratio = {depth: reach(ShortcutBP(), depth) / reach(BPTT(), depth) for depth in (4, 16)}
    assert ratio[16] > 10 * ratio[4] > 0


def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(Unsupported, match="has none"):
        ShortcutBP().prepare(nn.Sequential(nn.Linear(3, 2)))
    with pytest.raises(Unsupported, match=r"stages 0 to \d, got \[9\]"):
        ShortcutBP(stages=[9]).prepare(network("spiking_vgg9"))
    with pytest.raises(ValueError, match="weight"):
        ShortcutBP(weight=-1)
    for stages in ([], [0, 0]):
        with pytest.raises(ValueError, match="at least one, each once"):
            ShortcutBP(stages=stages)
    with pytest.raises(ValueError, match="combine"):
        ShortcutBP(combine="both")  # type: ignore[arg-type]
