"""Rate-based back-propagation: the identities of its specification, most of them in float64."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from spikeloom.callbacks.esg import EvolutionarySurrogate
from spikeloom.callbacks.im_loss import IMLoss
from spikeloom.functional import Sigmoid, batch_norm, batch_statistics, encode, factor, lif_rate
from spikeloom.kernels import use
from spikeloom.layers import (
    ALIF,
    LI,
    LIF,
    BatchNorm,
    CubaLIF,
    Dropout,
    MaxPool2d,
    OverTime,
    ParametricLIF,
    RecurrentLIF,
    Stack,
    StepBatchNorm,
    TemporalEffectiveBatchNorm,
    ThresholdBatchNorm,
    norms,
)
from spikeloom.layers.base import dynamics
from spikeloom.learning import Batch, Progress, Unsupported
from spikeloom.learning.bptt import BPTT
from spikeloom.learning.rate_bp import RateBP
from spikeloom.learning.rate_passes import Simulation
from spikeloom.losses.rate import RateCrossEntropy, TemporalEfficientTraining
from tests.small import CLASSES, IMAGE, small

LOSS = RateCrossEntropy()
START = Progress(epoch=0, epochs=1, update=0, updates=100)
NEURON = {
    "decay": factor(0.2),
    "reset": "soft",
    "detach_reset": True,
    "surrogate": Sigmoid(4.0),
}
N, WIDTH, INPUTS = 32, 64, 32


def mlp(depth: int, norm: Any = None, **neuron: Any) -> nn.Module:
    """``depth`` linear maps with neurons between them."""
    layers: list[nn.Module] = []
    n = INPUTS
    for _ in range(depth - 1):
        layers += [OverTime(nn.Linear(n, WIDTH)), *([norm(WIDTH)] if norm else [])]
        layers.append(LIF(**NEURON | neuron))
        n = WIDTH
    model = nn.Sequential(*layers, OverTime(nn.Linear(n, CLASSES))).double()
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=(4 / module.in_features) ** 0.5)
    return model


def static(T: int) -> Batch:
    x = torch.randn(N, INPUTS, dtype=torch.float64)
    return Batch(encode.constant(x, T), torch.randint(CLASSES, (N,)))


def gradients(learner: Any, model: nn.Module, batch: Batch, loss: Any = LOSS) -> dict[str, Tensor]:
    trained = learner.prepare(copy.deepcopy(model))
    learner.step(trained, batch, loss, START)
    return {name: p.grad for name, p in trained.named_parameters()}


def close(found: dict[str, Tensor], want: dict[str, Tensor], by: float = 1.0) -> None:
    assert found.keys() == want.keys()
    scaled = {name: by * grad for name, grad in found.items()}
    torch.testing.assert_close(scaled, want, rtol=1e-9, atol=1e-13)


BOTH = pytest.mark.parametrize("steps", ["multi", "single"])
NORMS = pytest.mark.parametrize("norm", [None, BatchNorm, ThresholdBatchNorm])


@BOTH
@NORMS
@pytest.mark.parametrize("depth", [2, 3, 5])
def test_one_step_gives_the_gradient_of_bptt(depth, norm, steps) -> None:
    """Item 2."""
    model, batch = mlp(depth, norm), static(1)
    close(gradients(RateBP(steps=steps), model, batch), gradients(BPTT(), model, batch))


@BOTH
@NORMS
@pytest.mark.parametrize("T", [2, 4, 7])
@pytest.mark.parametrize("neuron", [{}, {"reset": "hard", "detach_reset": False}])
def test_one_spiking_layer_gives_the_gradient_of_bptt(neuron, T, norm, steps) -> None:
    """Item 3: T times it is BPTT's, at all T; a static input has the same statistics each step."""
    model, batch = mlp(2, norm, **neuron), static(T)
    close(gradients(RateBP(steps=steps), model, batch), gradients(BPTT(), model, batch), by=T)


@NORMS
@pytest.mark.parametrize("depth", [3, 5])
def test_the_last_map_gets_the_gradient_of_bptt(depth, norm) -> None:
    """Item 4: at any depth, for inputs that change with time too."""
    T, model = 4, mlp(depth, norm)
    frames = torch.randn(T, N, INPUTS, dtype=torch.float64)
    for batch in (static(T), Batch(frames, torch.randint(CLASSES, (N,)))):
        ours, theirs = gradients(RateBP(), model, batch), gradients(BPTT(), model, batch)
        last = list(ours)[-2:]
        close({k: ours[k] for k in last}, {k: theirs[k] for k in last}, by=T)


@BOTH
@NORMS
@pytest.mark.parametrize("depth", [2, 5])
def test_the_rate_pass_has_the_value_of_the_mean_output(depth, norm, steps) -> None:
    """Item 5."""
    T, model = 5, mlp(depth, norm)
    x_seq = torch.randn(T, N, INPUTS, dtype=torch.float64)
    simulation = Simulation(model)
    logits_seq = simulation.run(x_seq, T if steps == "multi" else 1)
    torch.testing.assert_close(simulation.rates(x_seq), logits_seq.mean(0), rtol=0, atol=1e-14)


def test_a_mixer_of_tokens_has_the_value_of_the_mean_output() -> None:
    """In evaluation mode: the shares of several norms' statistics do not come in."""
    model = small("stmixer", width=1.0, depth=2, dim=32, heads=4).double().eval()
    x_seq = torch.rand(4, 2, *IMAGE, dtype=torch.float64)
    simulation = Simulation(model)
    logits_seq = simulation.run(x_seq, 4)
    torch.testing.assert_close(simulation.rates(x_seq), logits_seq.mean(0), rtol=0, atol=1e-13)


@pytest.mark.parametrize("residual", ["standard", "sew", "membrane"])
@pytest.mark.parametrize("steps", [1, 4])
def test_residual_networks_have_the_value_of_the_mean_output(residual, steps) -> None:
    model = small("spiking_resnet20", residual=residual).double()
    x_seq = torch.rand(4, 2, *IMAGE, dtype=torch.float64)
    simulation = Simulation(model)
    logits_seq = simulation.run(x_seq, steps)
    torch.testing.assert_close(simulation.rates(x_seq), logits_seq.mean(0), rtol=0, atol=1e-13)


@pytest.mark.parametrize("depth", [2, 4])
@pytest.mark.parametrize("T", [2, 6])
def test_single_and_multi_agree_without_norm(T, depth) -> None:
    """Item 7."""
    model, batch = mlp(depth), static(T)
    close(gradients(RateBP(steps="single"), model, batch), gradients(RateBP(), model, batch))


@pytest.mark.parametrize("T", [2, 4, 6, 16])
@pytest.mark.parametrize(("depth", "least"), [(2, 0.999), (3, 0.97), (5, 0.85)])
def test_the_gradient_points_where_that_of_bptt_does(depth, least, T) -> None:
    """Item 8: references 0.999 (depth 2), 0.98 to 0.99 (3), 0.88 to 0.96 (5); norms 0.87 to 1.02.

    Other random weights than those of the references: the bounds are a little wider.
    """
    model, batch = mlp(depth), static(T)
    ours, theirs = gradients(RateBP(), model, batch), gradients(BPTT(), model, batch)
    first = next(iter(ours))
    assert F.cosine_similarity(ours[first].flatten(), theirs[first].flatten(), dim=0) > least
    assert 0.8 < T * ours[first].norm() / theirs[first].norm() < 1.1


class Largest(TorchDispatchMode):
    """Bytes of the largest tensor that an operator makes, views of the input left out."""

    def __init__(self, inputs: Tensor) -> None:
        super().__init__()
        self.inputs, self.bytes = inputs.untyped_storage().data_ptr(), 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **kwargs or {})
        for part in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(part, Tensor) and part.untyped_storage().data_ptr() != self.inputs:
                self.bytes = max(self.bytes, part.untyped_storage().nbytes())
        return out


def kept_and_largest(learner: Any, T: int) -> tuple[int, int]:
    """Bytes that graphs keep for the backward, and the largest tensor of a step."""
    torch.manual_seed(0)
    model, batch = small("spiking_vgg5"), Batch(torch.rand(T, 4, *IMAGE), torch.arange(4))
    kept: dict[int, int] = {}
    largest = Largest(batch.x_seq)

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() != largest.inputs:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    learner.prepare(model)
    with use("truth"), largest, torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        learner.step(model, batch, LOSS, START)
    return sum(kept.values()), largest.bytes


def test_what_is_kept_does_not_grow_with_T() -> None:
    """Item 9: at T = 2, 4, 8, 16 the graph of rate_bp stays, that of BPTT grows in proportion."""
    bptt, multi, single = (
        [kept_and_largest(learner, T) for T in (2, 4, 8, 16)]
        for learner in (BPTT(), RateBP(), RateBP(steps="single"))
    )
    spread = 4096  # logits of every step
    for found in (multi, single):
        assert max(kept for kept, _ in found) <= min(kept for kept, _ in found) + spread
    assert bptt[3][0] > 6 * bptt[0][0]
    assert single[3][1] == single[0][1]
    assert multi[3][1] == 8 * multi[0][1]


def test_shuffled_spike_trains_cost_little_on_digits() -> None:
    """Items 10 and, in short, 11: 8x8 digits, T = 4, as accurate as BPTT to two points."""
    pytest.importorskip("sklearn")
    from sklearn.datasets import load_digits

    x, y = map(torch.as_tensor, load_digits(return_X_y=True))
    mixed = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    x, y = x[mixed].float() / 16, y[mixed]
    found = {}
    for name, learner in (("bptt", BPTT()), ("rate", RateBP())):
        torch.manual_seed(0)
        layers: list[nn.Module] = []
        for n in (64, 128):
            layers += [OverTime(nn.Linear(n, 128)), BatchNorm(128), LIF(**NEURON)]
        model = nn.Sequential(*layers, OverTime(nn.Linear(128, 10)))
        optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)
        for _ in range(6):
            for index in torch.randperm(1300).split(64):
                optimizer.zero_grad()
                batch = Batch(encode.constant(x[index], 4), y[index])
                learner.step(model, batch, LOSS, START)
                optimizer.step()
        model.eval()
        found[name] = right(model, x[1300:], y[1300:])
    for layer in model.modules():
        if isinstance(layer, LIF):
            layer.rule = shuffled
    found["shuffled"] = right(model, x[1300:], y[1300:])
    assert found["rate"] > 0.93
    assert found["rate"] > found["bptt"] - 0.02
    assert found["shuffled"] > found["rate"] - 0.06


@torch.no_grad()
def right(model: nn.Module, x: Tensor, y: Tensor) -> float:
    return float((model(encode.constant(x, 4)).mean(0).argmax(-1) == y).float().mean())


def shuffled(layer: Any, x_seq: Tensor, state: Any) -> Any:
    spike_seq, v = dynamics(layer, x_seq, state)
    return spike_seq[torch.rand(spike_seq.shape).argsort(0), *indices(spike_seq)], v


def indices(spike_seq: Tensor) -> list[Tensor]:
    T, *step = spike_seq.shape
    grids = torch.meshgrid(*(torch.arange(n) for n in step), indexing="ij")
    return [grid.expand(T, *step) for grid in grids]


def test_frames_come_as_their_mean_and_the_gain_is_that_of_all() -> None:
    T, model = 6, mlp(2)
    batch = Batch(torch.randn(T, N, INPUTS, dtype=torch.float64), torch.randint(CLASSES, (N,)))
    found = gradients(RateBP(), model, batch)
    logits = model(batch.x_seq).mean(0).detach().requires_grad_()
    F.cross_entropy(logits, batch.y).backward()
    _, state = lif_rate(model[0](batch.x_seq), **model[1].arguments())
    delta = logits.grad / T @ model[2].module.weight * state.gain
    want = delta.T @ batch.x_seq.mean(0)
    torch.testing.assert_close(found["0.module.weight"], want.detach())


@BOTH
def test_statistics_of_changing_frames_are_those_of_all_steps(steps) -> None:
    """By hand: a norm before the neurons, whose batch statistics differ from step to step."""
    T, model = 5, mlp(2, BatchNorm)
    frames = torch.randn(T, N, INPUTS, dtype=torch.float64)
    frames *= torch.linspace(0.5, 3.0, T, dtype=torch.float64).view(-1, 1, 1)
    batch = Batch(frames, torch.randint(CLASSES, (N,)))
    found = gradients(RateBP(steps=steps), model, batch)

    linear, norm, neuron, last = model
    pieces = linear(frames).detach().split(T if steps == "multi" else 1)
    ones, zeros = torch.ones(WIDTH, dtype=torch.float64), torch.zeros(WIDTH, dtype=torch.float64)
    parts = [batch_statistics(piece, None, None, zeros.clone(), ones.clone()) for piece in pieces]
    y_seq, means, rstds = (list(part) for part in zip(*parts, strict=True))
    mean = sum(m * r for m, r in zip(means, rstds, strict=True)) / sum(rstds)
    rstd = sum(rstds) / len(rstds)
    spike_seq, state = lif_rate(torch.cat(y_seq) * norm.weight.detach(), **neuron.arguments())
    logits = last(spike_seq).mean(0).detach().requires_grad_()
    F.cross_entropy(logits, batch.y).backward()
    error = (logits.grad / T @ last.module.weight * state.gain).detach()
    c = linear(frames.mean(0)[None])[0].detach()
    x = (c - mean) * rstd
    torch.testing.assert_close(found["1.weight"], (error * x).sum(0))
    torch.testing.assert_close(found["1.bias"], error.sum(0))
    delta = norm.weight * rstd * (error - error.mean(0) - x * (error * x).mean(0))
    torch.testing.assert_close(found["0.module.weight"], (delta.T @ frames.mean(0)).detach())


def test_any_loss_sends_the_sum_of_its_errors() -> None:
    T, model, loss = 4, mlp(2), TemporalEfficientTraining(lam=0.05)
    batch = static(T)
    logits_seq = model(batch.x_seq).detach().requires_grad_()
    loss(logits_seq, batch.y).backward()
    errors = logits_seq.grad.sum(0)

    def linear(outputs: Tensor, _: Tensor) -> Tensor:
        return (outputs * errors).sum() / T

    want = gradients(RateBP(), model, batch, linear)
    close(gradients(RateBP(), model, batch, loss), want)


@BOTH
def test_the_scale_by_T_may_be_left_out(steps) -> None:
    model, batch = mlp(3, BatchNorm), static(4)
    plain = gradients(RateBP(steps=steps, scale_loss_by_T=False), model, batch)
    close(gradients(RateBP(steps=steps), model, batch), plain, by=4)


def test_running_statistics_move_in_the_simulation_alone() -> None:
    model, batch = mlp(3, BatchNorm), static(4)
    others = [copy.deepcopy(model) for _ in range(3)]
    for other, learner in zip(others, (BPTT(), RateBP(), RateBP(steps="single")), strict=True):
        learner.step(other, batch, LOSS, START)
    for want, got in zip(others[0].buffers(), others[1].buffers(), strict=True):
        torch.testing.assert_close(got, want)
    mean, var = (torch.full((WIDTH,), v, dtype=torch.float64) for v in (0.0, 1.0))
    for x in model[0](batch.x_seq).detach().split(1):
        batch_norm(x, None, None, mean, var, training=True)
    torch.testing.assert_close(others[2][1].running_mean, mean)
    torch.testing.assert_close(others[2][1].running_var, var)


@BOTH
def test_nothing_stays_on_the_layers(steps) -> None:
    model = small("spiking_resnet20")
    before = {module: set(vars(module)) for module in model.modules()}
    batch = Batch(torch.rand(2, 4, *IMAGE), torch.randint(CLASSES, (4,)))
    with torch.enable_grad():
        RateBP(steps=steps).step(model, batch, LOSS, START)
        assert torch.is_grad_enabled()
    assert before == {module: set(vars(module)) for module in model.modules()}
    assert all(m.rule is dynamics for m in model.modules() if isinstance(m, LIF))


@BOTH
def test_a_mask_of_dropout_is_one_for_all_steps_and_both_passes(steps) -> None:
    model = nn.Sequential(*mlp(2), Dropout(0.5)).double()
    x_seq = torch.randn(5, N, INPUTS, dtype=torch.float64)
    simulation = Simulation(model)
    logits_seq = simulation.run(x_seq, 5 if steps == "multi" else 1)
    assert (logits_seq == 0).all(0).any()
    torch.testing.assert_close(simulation.rates(x_seq), logits_seq.mean(0))


@BOTH
@pytest.mark.parametrize("name", ["spiking_vgg5", "spiking_resnet20"])
def test_evaluation_is_the_plain_spiking_network(name, steps) -> None:
    model, learner = small(name), RateBP(steps=steps)
    prepared = learner.prepare(model).eval()
    assert learner.finish(prepared) is model
    x_seq = torch.rand(2, 4, *IMAGE)
    with torch.no_grad(), use("truth"):
        assert torch.equal(prepared(x_seq), model(x_seq))


@BOTH
def test_bfloat16_reaches_every_weight(steps) -> None:
    model = small("spiking_vgg5", norms="tdbn", width=1 / 4)
    batch = Batch(torch.rand(4, 8, *IMAGE), torch.randint(CLASSES, (8,)))
    want = gradients(RateBP(steps=steps), model, batch)
    with torch.autocast("cpu", torch.bfloat16):
        found = gradients(RateBP(steps=steps), model, batch)
    assert all(grad is not None and grad.dtype == torch.float32 for grad in found.values())
    # Rounded potentials turn spikes near the threshold, of which a fresh network has many.
    alike = [F.cosine_similarity(found[n].flatten(), want[n].flatten(), dim=0) for n in found]
    assert min(alike) > 0.6
    assert alike[-1] > 0.99, "the bias of the last layer hears the logits alone"


def test_the_kernels_and_the_readable_functions_agree() -> None:
    model = Stack(*mlp(3, BatchNorm)).float()
    batch = Batch(static(4).x_seq.float(), torch.randint(CLASSES, (N,)))
    ours = gradients(RateBP(), model, batch)
    with use("truth"):
        theirs = gradients(RateBP(), model, batch)
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-3, atol=1e-6)


def test_slopes_that_change_work_and_terms_of_the_simulation_are_refused() -> None:
    model, batch = small("spiking_vgg5"), Batch(torch.rand(2, 4, *IMAGE), torch.arange(4))
    before = gradients(RateBP(), model, batch)
    slope = EvolutionarySurrogate(lowest=5.0)
    slope.apply(model)
    after = gradients(RateBP(), model, batch)
    assert any(not torch.equal(before[name], after[name]) for name in before)
    with IMLoss().term(model), pytest.raises(Unsupported, match="could get no gradient"):
        RateBP().step(model, batch, LOSS, START)


class Own(nn.Module):
    def forward(self, x_seq: Tensor) -> Tensor:
        return x_seq.square()


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (OverTime(MaxPool2d(2)), "average pooling"),
        (ALIF(), "LIF neurons and their kin"),
        (CubaLIF(), "LIF neurons and their kin"),
        (RecurrentLIF((4,)), "LIF neurons and their kin"),
        (LI(), "no read-out that integrates"),
        (ParametricLIF(), r"decay.keep.raw would get no gradient.*learn = \[\]"),
        (LIF(learn=["v_threshold"]), r"v_threshold.raw would get no gradient"),
        (TemporalEffectiveBatchNorm(4, T=2), "scale of its own"),
        (StepBatchNorm(4, T=2), "scale of its own"),
        (OverTime(nn.Dropout(0.5)), "not known to be linear"),
        (nn.ReLU(), "not known to be linear"),
        (Own(), "not known to be linear"),
    ],
    ids=lambda part: type(part).__name__ if isinstance(part, nn.Module) else "",
)
def test_what_the_passes_cannot_go_through_is_refused(layer, reason) -> None:
    with pytest.raises(Unsupported, match=reason):
        RateBP().prepare(nn.Sequential(LIF(), layer))


def test_norms_that_several_processes_share_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(norms, "_processes", lambda: 2)
    with pytest.raises(Unsupported, match="several share them"):
        RateBP().step(mlp(2, BatchNorm), static(2), LOSS, START)


def test_a_network_without_neurons_is_refused() -> None:
    with pytest.raises(Unsupported, match="needs spiking neurons"):
        RateBP().prepare(nn.Sequential(OverTime(nn.Linear(3, 2))))


def test_a_norm_that_is_called_twice_is_refused() -> None:
    norm = BatchNorm(INPUTS)
    model = nn.Sequential(norm, between(), norm, LIF(**NEURON)).double()
    with pytest.raises(Unsupported, match=r"0 \(BatchNorm\) is called twice"):
        RateBP().step(model, static(3), LOSS, START)


@pytest.mark.parametrize("layer", [Dropout(0.5), LIF(**NEURON)], ids=["dropout", "neurons"])
def test_other_layers_that_are_called_twice_are_refused(layer) -> None:
    model = nn.Sequential(layer, between(), layer, LIF(**NEURON)).double()
    with pytest.raises(Unsupported, match=rf"0 \({type(layer).__name__}\) is called twice"):
        RateBP().step(model, static(3), LOSS, START)


def between() -> nn.Module:
    return OverTime(nn.Linear(INPUTS, INPUTS))


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="'multi' or 'single'"):
        RateBP(steps="both")  # type: ignore[arg-type]
