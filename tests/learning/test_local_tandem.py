"""Local tandem learning: the identities of its specification."""

import copy
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spikeloom.callbacks import IMLoss, TandemFit
from spikeloom.callbacks.tandem_fit import mismatches
from spikeloom.functional import Rectangle, exponential, factor, lif
from spikeloom.layers import LIF, BatchNorm, Dropout, OverTime, ReLU
from spikeloom.learning import (
    BPTT,
    Batch,
    LocalTandem,
    Metrics,
    Objective,
    Progress,
    Tandem,
    Unsupported,
)
from spikeloom.losses.rate import RateCrossEntropy
from tests.small import CLASSES, IMAGE, small

LOSS = RateCrossEntropy()
START = Progress(epoch=0, epochs=1, update=0, updates=1)
BOX = Rectangle(alpha=2.5, scale=0.4)
THETA, HALF = 0.6, 0.2


def neurons(keep: float | None = None) -> LIF:
    decay = exponential(10.0) if keep is None else factor(keep)
    return LIF(decay=decay, v_threshold=THETA, strict=True, surrogate=BOX)


def student(depth: int = 2, width: int = 12, **how: Any) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [OverTime(nn.Linear(width, width)), neurons(**how)]
    return nn.Sequential(*layers, OverTime(nn.Linear(width, 3)))


def teacher(depth: int = 2, width: int = 12) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [OverTime(nn.Linear(width, width)), BatchNorm(width), ReLU(clip=2.0)]
    return nn.Sequential(*layers, OverTime(nn.Linear(width, 3)))


def batch(T: int = 6, n: int = 8, width: int = 12) -> Batch:
    return Batch(torch.randn(n, width).expand(T, n, width), torch.randint(3, (n,)))


def gradients(
    model: nn.Module, given: Batch, loss: Any = LOSS, taught: nn.Module | None = None, **how: Any
) -> tuple[dict[str, Tensor], Metrics]:
    learner = LocalTandem(teacher=taught or TEACHER[0], **how)
    trained = learner.prepare(copy.deepcopy(model))
    seen = learner.step(trained, given, loss, START)
    found = learner.finish(trained).named_parameters()
    return {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in found}, seen


TEACHER: list[nn.Module] = []


@pytest.fixture(autouse=True)
def taught() -> nn.Module:
    torch.manual_seed(7)
    TEACHER[:] = [teacher()]
    return TEACHER[0]


@pytest.mark.parametrize("variant", ["offline", "online"])
def test_a_hidden_layer_hears_neither_the_loss_of_logits_nor_other_layers(variant: str) -> None:
    """Item 1: exactly zero, by taking one term of the sum at a time."""
    model, given, how = student(), batch(), {"variant": variant, "warm_up": 2}
    all_terms, _ = gradients(model, given, **how)

    def nothing(logits_seq: Tensor, y: Tensor) -> Tensor:
        return 0 * LOSS(logits_seq, y)

    without, _ = gradients(model, given, nothing, **how)
    hidden = [name for name in all_terms if not name.startswith("4")]
    assert all(torch.equal(all_terms[name], without[name]) for name in hidden)
    assert all(all_terms[name].any() for name in all_terms)
    assert not without["4.module.weight"].any(), "the output hears the logits' loss alone"
    other = copy.deepcopy(TEACHER[0])
    nn.init.normal_(other[3].module.weight)  # another target for the second layer
    shifted, _ = gradients(model, given, taught=other, **how)
    assert torch.equal(shifted["0.module.weight"], all_terms["0.module.weight"])
    assert not torch.equal(shifted["2.module.weight"], all_terms["2.module.weight"])


def test_offline_and_online_agree_at_one_step() -> None:
    """Item 2."""
    model, given = student(), batch(T=1)
    offline, _ = gradients(model, given, percentile=99)
    online, _ = gradients(model, given, variant="online", percentile=99, warm_up=0)
    for name in offline:
        torch.testing.assert_close(online[name], offline[name])
    assert offline["0.module.weight"].any()


def closed(model: nn.Sequential, given: Batch, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Input, membrane and spike of the first layer at a step, without memory."""
    x = given.x_seq[0]
    u = model[0].module(x)
    return x, u.detach(), (u > THETA).float().detach()


def test_without_memory_both_variants_have_the_closed_form() -> None:
    """Item 3: offline (2/n)(s - y) box(u) x^T, online the same times the sum of 1/t."""
    T = 5
    model, given = student(keep=0.0), batch(T=T)
    trained = LocalTandem(teacher=TEACHER[0], percentile=99).prepare(model)
    assert isinstance(trained, Tandem)
    y = next(iter(trained.targets(given.x_seq).values()))
    x, u, s = closed(model, given, y)
    box = ((u - THETA).abs() < HALF).float()
    assert box.any()
    want = (2 / s.numel()) * ((s - y) * box).T @ x
    offline, _ = gradients(model, given, percentile=99)
    torch.testing.assert_close(offline["0.module.weight"], want, rtol=1e-5, atol=1e-7)
    online, _ = gradients(model, given, variant="online", percentile=99, warm_up=0)
    harmonic = sum(1 / t for t in range(1, T + 1))
    torch.testing.assert_close(online["0.module.weight"], harmonic * want, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("warm_up", [0, 3])
def test_online_is_rate_error_times_slope_times_input_spike(warm_up: int) -> None:
    """Item 4, for the second layer, whose input are spikes."""
    T = 7
    model, given = student(), batch(T=T)
    nn.init.normal_(model[2].module.weight, std=0.4)
    trained = LocalTandem(teacher=TEACHER[0], variant="online").prepare(copy.deepcopy(model))
    assert isinstance(trained, Tandem)
    y = list(trained.targets(given.x_seq).values())[1]
    spikes = model[:2](given.x_seq)
    trace = model[3].trace(model[2](spikes))
    want = torch.zeros_like(model[2].module.weight)
    for t in range(warm_up + 1, T + 1):
        rate = trace.spike_seq[:t].sum(0) / t
        box = ((trace.h_seq[t - 1] - THETA).abs() < HALF).float()
        want += (2 / rate.numel()) * ((rate - y) / t * box).T @ spikes[t - 1]
    found, _ = gradients(model, given, variant="online", warm_up=warm_up)
    assert want.any()
    torch.testing.assert_close(found["2.module.weight"], want.detach(), rtol=1e-4, atol=1e-7)


def test_the_output_layer_hears_the_mean_of_the_logits_so_far() -> None:
    """Online: sum over t > T_w of CE(O_t / t, label), for the weights behind the last spikes."""
    T, warm_up = 7, 3
    model, given = student(), batch(T=T)
    spikes, last = model[:4](given.x_seq).detach(), copy.deepcopy(model[4])
    value = torch.zeros(())
    for t in range(warm_up + 1, T + 1):  # what came before a step is a constant
        before = last(spikes[: t - 1]).sum(0).detach()
        value = value + F.cross_entropy((before + last(spikes[t - 1 : t])[0]) / t, given.y)
    value.backward()
    found, _ = gradients(model, given, variant="online", warm_up=warm_up)
    assert last.module.weight.grad.any()
    torch.testing.assert_close(found["4.module.weight"], last.module.weight.grad)


@pytest.mark.parametrize(("variant", "p"), [("offline", 99.9), ("online", 99.0)])
def test_the_percentile_is_that_of_the_variant_unless_given(variant: Any, p: float) -> None:
    assert LocalTandem(variant=variant).p == p
    assert LocalTandem(variant=variant, percentile=95.0).p == 95.0


def test_layers_are_paired_in_the_order_they_run() -> None:
    class Crossed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layers = student()
            self.second, self.first, self.last = layers[2:4], layers[:2], layers[4]

        def forward(self, x_seq: Tensor) -> Tensor:
            out: Tensor = self.last(self.second(self.first(x_seq)))
            return out

    model, given = Crossed(), batch()
    plain = nn.Sequential(*model.first, *model.second, model.last)
    pairs = [LocalTandem(teacher=TEACHER[0]).prepare(net) for net in (model, plain)]
    crossed, straight = (pair.targets(given.x_seq) for pair in pairs)
    assert torch.equal(crossed[model.first[1]], straight[plain[1]])
    assert torch.equal(crossed[model.second[1]], straight[plain[3]])
    assert model.training
    assert not torch.equal(*straight.values())


def test_a_rate_that_meets_its_target_leaves_no_gradient() -> None:
    """Item 6: a teacher whose activations are the student's own rates."""
    model, given = student(depth=1), batch()
    with torch.no_grad():
        model[0].module.bias[0] = 10.0  # one neuron fires at every step: the greatest activation
    rate = model[:2](given.x_seq).mean(0).detach()

    class Says(ReLU):
        def forward(self, x_seq: Tensor) -> Tensor:
            return rate[None]

    found, seen = gradients(
        model, given, lambda logits_seq, y: 0 * LOSS(logits_seq, y), percentile=100,
        taught=nn.Sequential(OverTime(nn.Linear(12, 12)), Says(), OverTime(nn.Linear(12, 3))),
    )  # fmt: skip
    assert 0 < float(rate.mean()) < float(rate.max()) == 1
    assert float(seen.loss) == 0
    assert not found["0.module.weight"].any()


@pytest.mark.parametrize(
    ("current", "rate"), [(0.601, 1.0), (0.0570, 0.0), (0.0572, None), (1.0, 1.0)]
)
def test_a_constant_current_fires_always_or_never(current: float, rate: float | None) -> None:
    """Item 7: above theta at every step; up to theta (1 - d) = 0.0571 never."""
    assert pytest.approx(0.904837, abs=1e-6) == exponential(10.0).keep
    spikes, _ = lif(
        torch.full((400, 1, 1), current), decay=exponential(10.0), v_threshold=THETA, strict=True
    )
    found = float(spikes.mean())
    assert 0 < found < 1 if rate is None else found == rate


def test_the_slope_of_the_recipes_is_one_within_the_half_width() -> None:
    u = torch.tensor([-0.2001, -0.1999, 0.0, 0.1999, 0.2001])
    torch.testing.assert_close(BOX.grad(u), torch.tensor([0.0, 1.0, 1.0, 1.0, 0.0]))


@pytest.mark.parametrize("variant", ["offline", "online"])
def test_rates_approach_their_targets_in_every_layer(variant: str) -> None:
    """Item 8, on made-up data; that first layers are fastest depends on data and teacher."""
    given, model = batch(T=16, n=64), student()
    learner = LocalTandem(teacher=TEACHER[0], variant=variant)
    trained = learner.prepare(model)
    assert isinstance(trained, Tandem)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    seen = [list(mismatches(trained, given).values())]
    for _ in range(4):
        for _ in range(25):
            optimizer.zero_grad()
            learner.step(trained, given, LOSS, START)
            optimizer.step()
        seen.append(list(mismatches(trained, given).values()))
    for layer in zip(*seen, strict=True):
        assert all(after < before for before, after in pairwise(layer)), seen


@contextmanager
def counted() -> Any:
    """The most tensors that were saved for a backward at any time."""
    now, most = [0], [0]

    class Held:
        def __init__(self, tensor: Tensor) -> None:
            self.tensor = tensor
            now[0] += 1
            most[0] = max(most[0], now[0])

        def __del__(self) -> None:
            now[0] -= 1

    with torch.autograd.graph.saved_tensors_hooks(Held, lambda held: held.tensor):
        yield most


def saved(learner: Any, depth: int) -> int:
    model, given = student(depth), batch()
    if learner is LocalTandem:
        learner = LocalTandem(teacher=teacher(depth))
    elif learner == "online":
        learner = LocalTandem(teacher=teacher(depth), variant="online", warm_up=2)
    else:
        learner = learner()
    trained = learner.prepare(model)
    with counted() as most:
        learner.step(trained, given, LOSS, START)
    return int(most[0])


@pytest.mark.parametrize("learner", [LocalTandem, "online"])
def test_memory_does_not_grow_with_depth(learner: Any) -> None:
    assert saved(learner, 2) == saved(learner, 4) == saved(learner, 8) > 0
    assert saved(BPTT, 8) > 2 * saved(BPTT, 2)


def test_steps_add_up_to_the_batch_where_nothing_is_updated_between() -> None:
    model, given = student(), batch()
    whole, _ = gradients(model, given, variant="online", warm_up=2)
    learner = LocalTandem(teacher=TEACHER[0], variant="online", warm_up=2, update="step")
    trained = learner.prepare(model)
    yields = list(learner.steps(trained, given, LOSS, START))
    assert len(yields) == 4
    assert [len(each.logits_seq) for each in yields] == [3, 4, 5, 6]
    for name, parameter in learner.finish(trained).named_parameters():
        assert parameter.grad is not None
        assert torch.equal(parameter.grad, whole[name])


def test_the_share_of_an_update_scales_local_terms_too() -> None:
    model, given = student(), batch()
    whole, _ = gradients(model, given)
    half, _ = gradients(model, given, Objective(LOSS, (), lambda value: value / 2))
    for name in whole:
        torch.testing.assert_close(half[name], whole[name] / 2)


def test_the_teacher_stays_in_evaluation_and_out_of_the_finished_model() -> None:
    model = student()
    learner = LocalTandem(teacher=TEACHER[0])
    trained = learner.prepare(model)
    before = {name: value.clone() for name, value in TEACHER[0].state_dict().items()}
    trained.train()
    learner.step(trained, batch(), LOSS, START)
    assert not any(module.training for module in TEACHER[0].modules())
    assert not any(parameter.requires_grad for parameter in TEACHER[0].parameters())
    assert all(torch.equal(before[name], now) for name, now in TEACHER[0].state_dict().items())
    assert {name.partition(".")[0] for name in trained.state_dict()} == {
        "model", "teacher", "scales"
    }  # fmt: skip
    assert learner.finish(trained) is model


def test_running_scales_start_at_the_first_batch_and_follow_slowly() -> None:
    learner = LocalTandem(teacher=TEACHER[0], scale="running", momentum=0.25)
    trained = learner.prepare(student())
    assert isinstance(trained, Tandem)
    first, second = batch(), batch()
    trained.targets(first.x_seq)
    one = trained.scales.clone()
    trained.targets(second.x_seq, learn=False)
    assert torch.equal(trained.scales, one)
    trained.targets(second.x_seq)
    fresh = LocalTandem(teacher=TEACHER[0], scale="running").prepare(student())
    assert isinstance(fresh, Tandem)
    fresh.targets(second.x_seq)
    torch.testing.assert_close(trained.scales, one.lerp(fresh.scales, 0.25))


def staged(name: str, neuron: str, **how: Any) -> nn.Module:
    return small(name, neurons=neuron, **how)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("spiking_mlp", {"hidden": (64, 64), "width": 1}),
        ("spiking_vgg9", {}),
        ("spiking_vgg", {"plan": (64, 128, "P", 256, "P"), "hidden": (128,), "pool": "strided"}),
        ("spiking_resnet18", {"residual": "standard"}),
        ("spiking_resnet18", {"residual": "sew"}),
    ],
)
def test_any_model_whose_neurons_hear_spikes_alone_is_trained(name: str, how: Any) -> None:
    model, taught = staged(name, "lif", **how), staged(name, "relu", **how)
    given = Batch(torch.rand(4, *IMAGE).expand(2, 4, *IMAGE), torch.randint(CLASSES, (4,)))
    learner = LocalTandem(teacher=taught)
    trained = learner.prepare(model)
    learner.step(trained, given, LOSS, START)
    assert all(p.grad is not None for p in model.parameters())
    assert any(p.grad.any() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", ["spiking_resnet18", "spiking_densenet_bc"])
def test_real_values_past_neurons_are_refused(name: str) -> None:
    how: Any = {"residual": "membrane"} if "resnet" in name else {"blocks": (2, 1, 2), "width": 0.1}
    learner = LocalTandem(teacher=staged(name, "relu", **how))
    trained = learner.prepare(staged(name, "lif", **how))
    given = Batch(torch.rand(4, *IMAGE).expand(2, 4, *IMAGE), torch.randint(CLASSES, (4,)))
    with pytest.raises(Unsupported, match=r"real values that .* without spikes between"):
        learner.step(trained, given, LOSS, START)


def refusal(model: nn.Module, given: Batch, loss: Any = LOSS, **how: Any) -> str:
    with pytest.raises(Unsupported) as error:
        gradients(model, given, loss, **how)
    return str(error.value)


def test_a_missing_or_other_teacher_is_refused() -> None:
    with pytest.raises(Unsupported, match=r"needs a teacher.*\[teacher\]"):
        LocalTandem().prepare(student())
    assert "2 layers of spiking neurons and the teacher 3" in refusal(
        student(), batch(), taught=teacher(3)
    )
    wide = teacher()
    wide[3] = OverTime(nn.Linear(12, 14))
    wide[4], wide[6] = BatchNorm(14), OverTime(nn.Linear(14, 3))
    said = refusal(student(), batch(), taught=wide)
    trained = LocalTandem(teacher=wide).prepare(student())
    with pytest.raises(Unsupported, match="cannot follow"):
        TandemFit().epoch(trained, lambda samples: batch(n=samples), LOSS, START)
    assert "neurons 3 of shape (12,) cannot follow rectifiers 5 of shape (14,)" in said


def test_sequences_of_several_images_are_refused() -> None:
    given = batch()
    moving = Batch(torch.rand_like(given.x_seq), given.y)
    assert 'encoder = "constant"' in refusal(student(), moving)


def test_terms_of_callbacks_are_refused() -> None:
    learner = LocalTandem(teacher=TEACHER[0])
    trained = learner.prepare(student())
    with (
        IMLoss().term(trained) as term,
        pytest.raises(Unsupported, match="a callback adds a term"),
    ):
        learner.step(trained, batch(), Objective(LOSS, [term]), START)


def test_norms_over_time_are_trained_offline_and_refused_online() -> None:
    model, given = student(), batch(T=16)
    model.insert(1, BatchNorm(12))
    found, _ = gradients(model, given)
    assert found["1.weight"].any()
    said = refusal(model.train(), given, variant="online")
    assert "BatchNorm" in said
    assert "bias = true" in said


def test_online_refuses_dropout_and_too_short_sequences() -> None:
    model = student()
    model.insert(2, Dropout(0.5))
    assert "Dropout" in refusal(model.train(), batch(T=16), variant="online")
    assert "T = 6; lower warm_up or raise T" in refusal(student(), batch(), variant="online")


@pytest.mark.parametrize(
    "how",
    [
        {"variant": "both"}, {"update": "step"}, {"percentile": 0.0}, {"weight": 0.0},
        {"warm_up": -1}, {"scale": "all"}, {"momentum": 0.0}, {"reduction": "max"},
    ],
    ids=str,
)  # fmt: skip
def test_arguments_out_of_range_are_refused(how: Any) -> None:
    with pytest.raises(ValueError, match=next(iter(how))):
        LocalTandem(**how)


def test_the_fit_is_noted_for_each_layer_and_not_without_a_teacher() -> None:
    trained = LocalTandem(teacher=TEACHER[0]).prepare(student())
    notes = TandemFit().epoch(trained, lambda samples: batch(n=samples), LOSS, START)
    assert list(notes) == ["1 1", "2 3"]
    assert all(0 < value < 1 for value in notes.values())
    assert TandemFit().epoch(student(), lambda samples: batch(n=samples), LOSS, START) == {}
    with pytest.raises(ValueError, match="samples"):
        TandemFit(samples=0)


def test_a_clipped_rectifier_stops_at_its_bound_and_passes_no_gradient_there() -> None:
    x = torch.tensor([[-1.0, 1.0, 3.0]], requires_grad=True)
    y = ReLU(clip=2.0)(x)
    assert y.tolist() == [[0.0, 1.0, 2.0]]
    y.sum().backward()
    assert x.grad.tolist() == [[0.0, 1.0, 0.0]]
    with pytest.raises(ValueError, match="clip must be > 0"):
        ReLU(clip=0.0)
