"""The search for Dspike's temperature: what it measures, where it walks, what it leaves alone."""

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikeloom.callbacks import DspikeSearch
from spikeloom.callbacks.dspike import (
    _best,
    batched_differences,
    finite_differences,
    first_weight,
    in_float64,
    repeatable,
    separable,
)
from spikeloom.functional import Dspike, Smooth, factor, lif
from spikeloom.layers import LIF, LTMD, Dropout, ModerateDropout, OverTime
from spikeloom.layers.base import Temporal, ruled
from spikeloom.layers.weights import Standardised, transform_weights
from spikeloom.learning import Batch, Progress, Unsupported
from spikeloom.losses.rate import RateCrossEntropy
from spikeloom.run import checkpoint, session
from spikeloom.run.aside import aside, untouched
from spikeloom.run.record import LAST
from tests.run.recipe import tiny
from tests.small import small

LOSS = RateCrossEntropy()
START = Progress(epoch=0, epochs=5, update=0, updates=5)


def network() -> nn.Module:
    torch.manual_seed(3)
    neuron: dict[str, Any] = {"decay": factor(0.25), "v_threshold": 0.5}
    net = nn.Sequential(
        OverTime(nn.Linear(6, 8)), LIF(**neuron), OverTime(nn.Linear(8, 8)), LIF(**neuron),
        OverTime(nn.Linear(8, 3)),
    )  # fmt: skip
    return net.double()


def batch(n: int = 16) -> Batch:
    return Batch(2 * torch.rand(4, n, 6, dtype=torch.float64), torch.randint(3, (n,)))


def smooth(b: float) -> Any:
    """A rule that emits the curve of one temperature, with the slope of the neuron's own."""

    class Curve(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, u: Tensor, surrogate: Any) -> Tensor:
            ctx.save_for_backward(u)
            ctx.surrogate = surrogate
            return Dspike(b=b).primitive(u)

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> Any:
            return grads[0] * ctx.surrogate.grad(ctx.saved_tensors[0]), None

    def rule(neuron: Temporal, x_seq: Tensor, state: Any) -> Any:
        v, out = torch.zeros_like(x_seq[0]), []
        for x in x_seq.unbind(0):
            h = 0.25 * v + x
            s = Curve.apply(h - 0.5, neuron.surrogate)
            v = h * (1 - s)
            out.append(s)
        return torch.stack(out), v

    return rule


def test_in_a_smooth_network_finite_differences_are_the_gradient() -> None:
    net, given = network(), batch()
    for module in net.modules():
        if isinstance(module, LIF):
            module.surrogate = Smooth(Dspike(b=3.0))  # type: ignore[assignment]
    _, weight = first_weight(net)

    def objective() -> Tensor:
        return LOSS(net(given.x_seq), given.y)

    (slope,) = torch.autograd.grad(objective(), weight)
    found = finite_differences(objective, weight, torch.arange(weight.numel()), 1e-4)
    assert torch.cosine_similarity(slope.flatten(), found, dim=0) > 0.999


def test_differences_side_by_side_are_those_one_by_one() -> None:
    net, given = network(), batch()
    name, weight = first_weight(net)
    chosen, size = torch.arange(48), 0.1
    before = weight.clone()

    def objective() -> Tensor:
        return LOSS(net(given.x_seq), given.y)

    one_by_one = finite_differences(objective, weight, chosen, size)
    together = batched_differences(net, name, given, LOSS, chosen, size, 2)
    assert one_by_one.any()
    torch.testing.assert_close(together, one_by_one, rtol=1e-9, atol=1e-12)
    assert torch.equal(weight, before)


@pytest.mark.parametrize("dropout", [Dropout, ModerateDropout])
def test_dropout_does_not_change_what_is_measured(dropout: type[nn.Module]) -> None:
    net, given = network(), batch()
    net.insert(2, dropout(0.5))
    name, weight = first_weight(net)
    objective = repeatable(net, given, LOSS)
    chosen = torch.arange(weight.numel())
    once = finite_differences(objective, weight, chosen, 0.1)
    torch.rand(3)  # whatever else draws meanwhile
    assert torch.equal(once, finite_differences(objective, weight, chosen, 0.1))
    assert once.any()
    assert not separable(net, name)
    assert separable(net.eval(), name)


def test_the_layout_of_the_weights_in_memory_does_not_matter() -> None:
    net = small("spiking_vgg5", norms="none")
    for parameter in net.parameters():
        parameter.data.mul_(4)  # else deep layers are silent
    given = Batch(torch.rand(2, 4, 3, 32, 32), torch.randint(5, (4,)))
    found = []
    for layout in (torch.contiguous_format, torch.channels_last):
        net.to(memory_format=layout)
        name, weight = first_weight(net)
        assert weight.is_contiguous(memory_format=layout)
        chosen, size = torch.tensor([0, 5, 40, 100]), 0.5

        def objective() -> Tensor:
            return net(given.x_seq).square().mean()

        one_by_one = finite_differences(objective, weight, chosen, size)
        together = batched_differences(
            net, name, given, lambda out, _: out.square().mean(), chosen, size, 3
        )
        torch.testing.assert_close(together, one_by_one, rtol=1e-4, atol=1e-6)
        found.append(one_by_one)
    assert found[0].any()
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("start", "true"), [(1.0, 2.0), (3.0, 2.0), (2.0, 2.0)])
def test_the_temperature_walks_to_the_true_one_and_stays(start: float, true: float) -> None:
    net, given = network(), batch()
    search = DspikeSearch(b=start, step=0.25, epsilon=1e-4, weights=None, together=1)
    search.apply(net)
    walked = []
    with ruled(net, smooth(true)):
        for _ in range(8):
            notes = search.epoch(net, lambda n: given, LOSS, START)
            walked.append(search.state()["b"])
    assert walked[3:] == [true] * 5
    assert notes["cosine"] > 0.9999
    assert notes["ratio"] == pytest.approx(1, abs=1e-3)


def test_the_search_is_done_in_float32_under_autocast() -> None:
    net, given = network().float(), batch()
    given = Batch(given.x_seq.float(), given.y)
    found = []
    for half in (False, True):
        torch.manual_seed(0)
        search = DspikeSearch(epsilon=0.5, weights=None)
        search.apply(net)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            found.append(search.epoch(net, lambda n: given, LOSS, START))
    assert found[0] == found[1]
    assert found[0]["zeros"] < 1


def test_the_loss_is_reduced_in_float64() -> None:
    logits_seq, classes = torch.rand(2, 4, 3), torch.tensor([0, 1, 2, 0])
    exact = LOSS(logits_seq.double(), classes)
    shares = nn.functional.one_hot(classes).float()
    for y in (classes, shares):
        found = in_float64(LOSS)(logits_seq, y)
        assert found.dtype == torch.float64
        assert float(found) == pytest.approx(float(exact), rel=1e-14)


def test_the_search_leaves_weights_and_neurons_as_they_were() -> None:
    net, given = network(), batch()
    search = DspikeSearch(b=2.0, epsilon=0.5)
    search.apply(net)
    before, slope = copy.deepcopy(net.state_dict()), search.surrogate_now()
    search.epoch(net, lambda n: given, LOSS, START)
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert {m.surrogate for m in net.modules() if isinstance(m, LIF)} == {slope}
    assert search.surrogate_now() != slope, "set by the next apply"


def test_the_loop_puts_back_norms_and_random_numbers_after_a_search() -> None:
    net = small("spiking_mlp", dropout=0.2, hidden=(16, 16), width=1).train()
    given = Batch(torch.rand(2, 4, 3, 32, 32), torch.randint(5, (4,)))
    search = DspikeSearch(epsilon=0.5, weights=2)
    search.apply(net)
    before, random = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    with aside(torch.device("cpu")), untouched(net):
        search.epoch(net, lambda n: given, LOSS, START)
        assert not torch.equal(random, torch.get_rng_state())
        after = net.state_dict()
        assert any(not torch.equal(before[key], after[key]) for key in before), "statistics"
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())


def test_a_search_that_keeps_its_temperature_leaves_a_run_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights, norms' statistics, moments and random numbers are those without a search."""
    monkeypatch.setattr("spikeloom.callbacks.dspike._best", lambda cosines: next(iter(cosines)))
    ends = []
    for step in (0.0, 0.2):
        callback = {"name": "dspike", "step": step, "weights": 4, "samples": 8}
        config = tiny(
            phase__0__callback=[callback], data__augment=["crop"], model__dropout=0.2
        )  # fmt: skip
        session.train(config, tmp_path / str(step))
        ends.append(checkpoint.load_state(tmp_path / str(step) / LAST))
    (plain, _), (searched, about) = ends
    assert plain.keys() == searched.keys()
    assert all(torch.equal(plain[key], searched[key]) for key in plain)
    assert "dspike/cosine" in about["state"]["history"][0]["notes"], "it did search"


def test_norms_of_the_batch_are_perturbed_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr(
        "spikeloom.callbacks.dspike.batched_differences", lambda *a: called.append(a)
    )
    net = small("spiking_vgg5").train()
    given = Batch(torch.rand(2, 4, 3, 32, 32), torch.randint(5, (4,)))
    notes = DspikeSearch(weights=3).epoch(net, lambda n: given, LOSS, START)
    assert not called
    assert set(notes) == {"b", "cosine", "cosine up", "cosine down", "ratio", "zeros"}


def test_without_a_step_there_is_no_search() -> None:
    notes = DspikeSearch(b=5.0, step=0.0).epoch(
        network(), lambda n: pytest.fail("asked"), LOSS, START
    )
    assert notes == {"b": 5.0}


def test_a_silent_network_keeps_the_temperature() -> None:
    net, search = network(), DspikeSearch(b=2.0)
    search.apply(net)
    still = Batch(torch.zeros(4, 8, 6, dtype=torch.float64), torch.zeros(8, dtype=torch.long))
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
    notes = search.epoch(net, lambda n: still, LOSS, START)
    assert notes["zeros"] == 1
    assert search.state()["b"] == 2.0
    for parameter in net.parameters():
        nn.init.zeros_(parameter)
    assert search.epoch(net, lambda n: still, LOSS, START) == {"b": 2.0}


@pytest.mark.parametrize(
    ("cosines", "chosen"),
    [
        ({3.0: 0.1, 3.2: 0.2, 2.8: 0.3}, 2.8),
        ({3.0: 0.1, 3.2: 0.1, 2.8: 0.1}, 3.0),
        ({3.0: 0.0, 3.2: -0.5, 2.8: -0.9}, 3.0),
        ({3.0: math.nan, 3.2: 0.5}, 3.0),
        ({3.0: -0.1, 3.2: 0.0, 2.8: math.nan}, 3.0),
    ],
)
def test_the_largest_cosine_wins_unless_the_present_one_is_undefined(
    cosines: dict[float, float], chosen: float
) -> None:
    assert _best(cosines) == chosen


@pytest.mark.parametrize("threshold", [0.5, 1.0, 2.0])
def test_the_window_reaches_from_rest_to_twice_the_threshold(threshold: float) -> None:
    net, search = LIF(v_threshold=threshold, learn=["v_threshold"]), DspikeSearch(b=1.0)
    search.apply(net)
    around = threshold * torch.tensor([-1.01, -0.99, 0.99, 1.01])
    assert (net.surrogate.grad(around) > 0).tolist() == [False, True, True, False]
    with torch.no_grad():
        net.v_threshold.raw += 1
    again = DspikeSearch(b=1.0)
    again.apply(net)
    again.restore(search.state())
    assert again.surrogate_now() == search.surrogate_now(), "as it was when the phase began"


def test_a_window_without_a_width_is_refused() -> None:
    neuron = LTMD()
    with torch.no_grad():
        neuron.v_threshold.raw.fill_(-0.3)
    with pytest.raises(Unsupported, match="give alpha"):
        DspikeSearch().apply(neuron)
    DspikeSearch(alpha=1.0).apply(neuron)


def test_the_temperature_does_not_fall_below_its_bound() -> None:
    net, given = network(), batch()
    search = DspikeSearch(b=0.1, step=0.2)
    search.apply(net)
    for _ in range(3):
        notes = search.epoch(net, lambda n: given, LOSS, START)
        assert notes["b"] >= 0.1


def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(ValueError, match="lowest"):
        DspikeSearch(b=0.05)
    with pytest.raises(ValueError, match="samples"):
        DspikeSearch(samples=1)
    with pytest.raises(Unsupported, match="first convolution"):
        DspikeSearch().epoch(nn.Sequential(LIF()), lambda n: batch(), LOSS, START)


def test_the_neuron_still_emits_hard_spikes() -> None:
    x_seq = torch.rand(4, 2, 3)
    assert set(lif(x_seq, surrogate=Dspike())[0].unique().tolist()) <= {0.0, 1.0}


def test_transformed_weights_are_measured_where_they_are_trained() -> None:
    net = transform_weights(network(), Standardised)
    name, weight = first_weight(net)
    layer: Any = net.get_submodule(name)
    assert weight is layer.parametrizations.weight.original
    assert not separable(net, name)
