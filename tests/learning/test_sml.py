"""Surrogate module learning: branches, loss and what is left of them."""

import copy
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spikeloom.functional import factor
from spikeloom.layers import LIF, BatchNorm, Neuron, TokenMixing
from spikeloom.learning import BPTT, Batch, Progress, SurrogateModules, Unsupported
from spikeloom.learning.base import Objective
from spikeloom.learning.sml import Surrogates, divergence
from spikeloom.losses import RateCrossEntropy
from spikeloom.models import STMixer
from tests.small import CLASSES, IMAGE, small

LOSS = RateCrossEntropy()
START = Progress(epoch=0, epochs=1, update=0, updates=1)


def network(depth: int = 4, **arguments: Any) -> STMixer:
    neuron = partial(LIF, decay=factor(0.5))
    arguments = {"dim": 16, "heads": 2, "num_classes": CLASSES, "in_shape": IMAGE} | arguments
    return STMixer(depth, neuron=neuron, norm=BatchNorm, **arguments)


def batch(T: int = 2, n: int = 4) -> Batch:
    return Batch(torch.rand(T, n, *IMAGE), torch.randint(CLASSES, (n,)))


def prepared(learner: SurrogateModules, model: nn.Module) -> Surrogates:
    found = learner.prepare(model)
    assert isinstance(found, Surrogates)
    return found


@pytest.mark.parametrize(
    ("depth", "starts", "blocks"),
    [(2, (0,), [1]), (3, (0,), [1]), (4, (0, 2), [2, 1]), (5, (0, 2), [2, 1]),
     (6, (0, 2, 4), [3, 2, 1]), (8, (0, 2, 4, 6), [3, 2, 1, 1]),
     (10, (0, 2, 4, 6, 8), [3, 2, 1, 1, 1])],
)  # fmt: skip
def test_branches_sit_where_the_specification_has_them(
    depth: int, starts: tuple[int, ...], blocks: list[int]
) -> None:
    model = prepared(SurrogateModules(), network(depth))
    assert model.starts == starts
    mixers = [sum(isinstance(m, TokenMixing) for m in part.modules()) for part in model.branches]
    assert mixers == blocks


def test_branches_of_the_published_network_have_five_million_parameters() -> None:
    with torch.device("meta"):
        net = network(4, dim=384, heads=16, num_classes=100)
        model = prepared(SurrogateModules(), net)
    found = sum(p.numel() for p in model.branches.parameters())
    D, M = 384, 64
    block = 10 * D * D + 14 * D + 16 * M * M
    assert found == 3 * block + 2 * (D * D + 2 * D + D * 100 + 100) == 5_009_864
    assert round(found / 1e6, 1) == 5.0


def test_branches_have_neither_neurons_nor_the_weights_they_were_copied_from() -> None:
    net = network()
    model = prepared(SurrogateModules(), net)
    assert not any(isinstance(m, Neuron) for m in model.branches.modules())
    gelus = sum(isinstance(m, nn.GELU) for m in model.branches[0].modules())
    assert gelus == 1 + 2 * 5
    (copied, *_), (own, *_) = (
        [m.weight for m in part.modules() if isinstance(m, TokenMixing)]
        for part in (model.branches, net)
    )
    assert not torch.allclose(copied, own)
    assert copied.std().item() == pytest.approx(own.std().item(), rel=0.1)


def test_branches_average_over_the_steps_of_a_sample_and_not_over_samples() -> None:
    model = prepared(SurrogateModules(), network()).eval()
    given = batch(T=2, n=4)
    _, together = model.with_branches(given.x_seq)
    for sample in range(4):
        _, alone = model.with_branches(given.x_seq[:, sample : sample + 1])
        for all_of_them, one in zip(together, alone, strict=True):
            torch.testing.assert_close(all_of_them[:, sample], one[:, 0], rtol=1e-4, atol=1e-5)


def value(
    learner: SurrogateModules, q_seq: Tensor, branches: list[Tensor], y: Tensor, loss: Any = LOSS
) -> Tensor:
    """The loss for given logits."""
    model = prepared(learner, network(2))
    logits_seq = q_seq.clone().requires_grad_()
    model.with_branches = lambda _: (logits_seq, branches)  # type: ignore[method-assign,assignment]
    return learner.step(model, Batch(q_seq, y), loss, START).loss


def test_equal_answers_leave_a_tenth_of_the_cross_entropy() -> None:
    """Item 8: no divergence, and the rest is (1 - lam) CE(q, y)."""
    q, y = torch.randn(1, 6, CLASSES), torch.randint(CLASSES, (6,))
    assert float(divergence(q[0], q[0], 3.0)) == pytest.approx(0, abs=1e-7)
    expected = 0.1 * F.cross_entropy(q[0], y)
    torch.testing.assert_close(value(SurrogateModules(), q, [q, q, q], y), expected)


def test_without_lam_and_alpha_it_is_the_cross_entropy() -> None:
    """Item 8."""
    q, y = torch.randn(2, 6, CLASSES), torch.randint(CLASSES, (6,))
    others = [torch.randn(1, 6, CLASSES) for _ in range(2)]
    learner = SurrogateModules(lam=0.0, alpha=0.0)
    torch.testing.assert_close(value(learner, q, others, y), F.cross_entropy(q.mean(0), y))


@pytest.mark.parametrize("soft", [False, True])
def test_the_loss_is_that_of_the_specification(soft: bool) -> None:
    q, y = torch.randn(3, 6, CLASSES), torch.randint(CLASSES, (6,))
    target = torch.rand(6, CLASSES).softmax(-1) if soft else y
    others = [torch.randn(1, 6, CLASSES) for _ in range(2)]
    mean = q.mean(0)
    own = F.cross_entropy(mean, target) + 0.5 * sum(F.cross_entropy(o[0], target) for o in others)
    expected = 0.1 / (1 + 2 * 0.5) * own
    p = (mean / 3).softmax(-1)
    for other in others:
        p_i = (other[0] / 3).softmax(-1)
        both = (p * (p / p_i).log()).sum(-1).mean() + (p_i * (p_i / p).log()).sum(-1).mean()
        expected = expected + 0.9 / (2 * 2) * both
    torch.testing.assert_close(value(SurrogateModules(), q, others, target), expected)


def test_each_side_is_a_teacher_that_gets_no_gradient_from_its_pupil() -> None:
    q, other = (torch.randn(4, CLASSES, requires_grad=True) for _ in range(2))
    (found,) = torch.autograd.grad(divergence(q, other, 3.0), q, retain_graph=True)
    p, p_i = ((z / 3).softmax(-1) for z in (q, other))
    torch.testing.assert_close(found, (p - p_i) / 3 / 4)


def test_the_whole_loss_takes_the_scale_of_the_loop() -> None:
    q, y = torch.randn(2, 6, CLASSES), torch.randint(CLASSES, (6,))
    others = [torch.randn(1, 6, CLASSES) for _ in range(2)]
    plain = value(SurrogateModules(), q, others, y)
    halved = value(SurrogateModules(), q, others, y, Objective(LOSS, scaled=lambda loss: loss / 2))
    torch.testing.assert_close(halved, plain / 2)


def test_without_lam_and_alpha_gradients_are_those_of_bptt() -> None:
    model, given, found = network(2), batch(), []
    for learner in (BPTT(), SurrogateModules(lam=0.0, alpha=0.0)):
        trained = learner.prepare(copy.deepcopy(model))
        learner.step(trained, given, LOSS, START)
        found.append({k: p.grad for k, p in learner.finish(trained).named_parameters()})
    for key, grad in found[0].items():
        torch.testing.assert_close(found[1][key], grad)


def test_branches_are_gone_from_the_finished_model() -> None:
    net = network()
    learner = SurrogateModules()
    trained = learner.prepare(net)
    x_seq = batch().x_seq
    assert torch.equal(trained.eval()(x_seq), net(x_seq))
    assert learner.finish(trained) is net


@pytest.mark.parametrize("norms", ["bn", "bntt", "tebn", "tdbn", "none"])
@pytest.mark.parametrize("name", ["stmixer", "spiking_vgg9", "spiking_resnet20", "spiking_mlp"])
def test_any_network_in_stages_learns(name: str, norms: str) -> None:
    more = {"hidden": (32, 16), "width": 1} if name == "spiking_mlp" else {}
    learner = SurrogateModules()
    trained = learner.prepare(small(name, norms=norms, **more))
    seen = learner.step(trained, batch(), LOSS, START)
    assert seen.loss.isfinite()
    assert all(p.grad is not None for p in trained.parameters())


def test_what_cannot_work_is_refused() -> None:
    for model in (nn.Linear(3, 2), small("spiking_mlp", hidden=(8,), width=1)):
        with pytest.raises(Unsupported, match="computes no such thing"):
            SurrogateModules().prepare(model)
    for wrong in ({"tau": 0.0}, {"alpha": -1.0}, {"lam": 1.5}):
        with pytest.raises(ValueError, match="sml needs tau > 0"):
            SurrogateModules(**wrong)
    for wrong in ({"every": 0}, {"blocks": 0}):
        with pytest.raises(ValueError, match="sml needs every >= 1"):
            SurrogateModules(**wrong)  # type: ignore[arg-type]
