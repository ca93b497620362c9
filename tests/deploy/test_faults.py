"""Faulty chips: what belongs to a chip, what to a strength, and that the network stays as it is."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikeloom.deploy import Faults, faulty, lost_share
from spikeloom.layers import (
    ALIF,
    LIF,
    LTMD,
    BatchNorm,
    CubaLIF,
    DoubleExponential,
    OverTime,
    RecurrentLIF,
    TokenMixing,
)
from spikeloom.learning import BPTT, Batch, Progress
from spikeloom.losses.rate import RateCrossEntropy
from spikeloom.registry import Unsupported
from tests.small import IMAGE, small

EAGER = LIF(tau=4.0, v_threshold=0.01)
ALL = Faults(threshold=0.2, decay=0.1, noise=0.1, bits=4, dead=0.1, delay=0.2)


def network(neuron: nn.Module | None = None) -> nn.Sequential:
    return nn.Sequential(
        OverTime(nn.Linear(40, 500)), BatchNorm(500), neuron or LIF(tau=4.0),
        OverTime(nn.Linear(500, 3)),
    ).eval()  # fmt: skip


def images(T: int = 4) -> Tensor:
    return torch.randn(T, 6, 40)


def threshold(chip: Any, at: int = 2) -> Tensor:
    found: Tensor = chip[at].arguments()["v_threshold"]
    return found


def test_a_network_stays_as_it_is_and_no_fault_changes_nothing() -> None:
    model, x_seq = network(), images()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    want = model(x_seq)
    faulty(model, ALL, x_seq)(x_seq)
    assert all(torch.equal(before[name], now) for name, now in model.state_dict().items())
    assert torch.equal(model(x_seq), want)
    assert torch.equal(faulty(model, Faults(), x_seq)(x_seq), want)


def test_thresholds_and_decays_scatter_as_told_and_belong_to_the_chip() -> None:
    model, x_seq = network(), images()
    chips = [faulty(model, Faults(threshold=0.1, decay=0.05), x_seq, chip=c) for c in (0, 0, 1)]
    assert torch.equal(threshold(chips[0]), threshold(chips[1]))
    assert not torch.equal(threshold(chips[0]), threshold(chips[2]))
    assert threshold(chips[0]).shape == (500,)
    assert float(threshold(chips[0]).std()) == pytest.approx(0.1, rel=0.15)
    keep = torch.as_tensor(chips[0][2].arguments()["decay"].keep)
    assert float(keep.std()) == pytest.approx(0.05 * 0.75, rel=0.15)
    assert float(keep.max()) <= 1


def test_a_stronger_mismatch_is_the_same_pattern_stretched() -> None:
    model, x_seq = network(), images()
    weak, strong = (threshold(faulty(model, Faults(threshold=s), x_seq)) for s in (0.05, 0.1))
    torch.testing.assert_close(strong - 1, 2 * (weak - 1))


def test_no_mismatch_leaves_a_threshold_of_zero_or_less() -> None:
    chip = faulty(network(), Faults(threshold=3.0), images())
    assert float(threshold(chip).min()) == pytest.approx(0.01)


@pytest.mark.parametrize("reset", ["hard", "soft", "none"])
def test_dead_neurons_never_fire_and_are_as_many_as_told(reset: Any) -> None:
    model = network(LIF(tau=4.0, reset=reset))
    chip = faulty(model, Faults(dead=0.3), images())
    spikes = chip[2](torch.full((5, 2, 500), 50.0))
    assert spikes.isfinite().all()
    silent = (spikes.sum((0, 1)) == 0).float().mean()
    assert float(silent) == pytest.approx(0.3, abs=0.08)
    assert not faulty(model, Faults(dead=1.0), images())[2](torch.ones(3, 1, 500)).any()


def test_noise_has_its_deviation_on_the_membrane_and_is_new_each_step() -> None:
    model = network(LIF(tau=4.0, v_threshold=1e6))
    chip = faulty(model, Faults(noise=0.3), images())
    seen: list[Tensor] = []
    chip[2].register_forward_pre_hook(lambda layer, x: seen.append(x[0]))
    chip[2](torch.zeros(2, 50, 500))
    membrane = chip[2].trace(seen[0]).h_seq
    assert float(membrane[0].std()) == pytest.approx(0.3, rel=0.05)
    assert not torch.equal(seen[0][0], seen[0][1])


def sent(chip: nn.Module, x_seq: Tensor) -> Tensor:
    """What arrives from the neurons of a chip."""
    found: Tensor = chip[:3](x_seq)  # type: ignore[index]
    return found.detach()


def test_with_certain_delay_everything_is_one_step_late_and_the_last_step_is_lost() -> None:
    model, x_seq = network(EAGER), images(6)
    chip = faulty(model, Faults(delay=1.0), x_seq)
    on_time, late = sent(model, x_seq), sent(chip, x_seq)
    assert on_time.any()
    assert torch.equal(late[1:], on_time[:-1])
    assert not late[0].any()
    assert lost_share(chip) == pytest.approx(float(on_time[-1].sum() / on_time.sum()))


def test_spikes_are_late_as_told_and_conserved() -> None:
    model, x_seq = network(EAGER), images(6)
    chip = faulty(model, Faults(delay=0.3), x_seq, chip=1)
    on_time, late = sent(model, x_seq), sent(chip, x_seq)
    lost = lost_share(chip) * float(on_time.sum())
    assert float(late.sum()) + lost == pytest.approx(float(on_time.sum()))
    share = 1 - float(late[0].sum() / on_time[0].sum())
    assert share == pytest.approx(0.3, abs=0.05)
    again = faulty(model, Faults(delay=0.3), x_seq, chip=1)
    assert torch.equal(sent(again, x_seq), late)
    assert not torch.equal(sent(faulty(model, Faults(delay=0.3), x_seq, chip=2), x_seq), late)


def test_what_is_late_at_some_probability_is_late_at_a_larger_one() -> None:
    model, x_seq = network(EAGER), images(1)
    on_time = sent(model, x_seq)
    some, more = (on_time - sent(faulty(model, Faults(delay=p), x_seq), x_seq) for p in (0.2, 0.5))
    assert some.any()
    assert bool((more >= some).all())


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_weights_have_so_many_levels(bits: int) -> None:
    model = network()
    chip = faulty(model, Faults(bits=bits), images())
    weight = chip[0].module.weight.detach()
    assert len(weight.unique()) <= 2**bits - 1
    largest = model[0].module.weight.detach().abs().max()
    torch.testing.assert_close(weight.abs().max(), largest)
    assert float((weight - model[0].module.weight.detach()).abs().max()) <= float(largest) / (
        2 ** (bits - 1) - 1
    ) / 2 + 1e-6  # fmt: skip


@pytest.mark.parametrize(
    "layer",
    [OverTime(TokenMixing(4, 9, 2)), OverTime(nn.Conv1d(4, 5, 3)), RecurrentLIF((4, 9), tau=2.0)],
)
def test_weights_of_all_kinds_of_layers_are_rounded(layer: nn.Module) -> None:
    model = nn.Sequential(layer, LIF()).eval()
    chip = faulty(model, Faults(bits=2), torch.randn(3, 2, 4, 9))
    inner: Any = chip[0].module if isinstance(layer, OverTime) else chip[0]
    assert len(inner.weight.detach().unique()) <= 3


def test_a_chip_is_trained_on_through_its_rounded_weights() -> None:
    model, x_seq = network(), images()
    chip = faulty(model, ALL, x_seq).train()
    given = Batch(x_seq, torch.tensor([0, 1, 2, 0, 1, 2]))
    BPTT().step(chip, given, RateCrossEntropy(), Progress(0, 1, 0, 1))
    grads = {name: p.grad for name, p in chip.named_parameters()}
    assert all(grad is not None and grad.isfinite().all() for grad in grads.values())
    assert any(name.endswith("original") and grad.any() for name, grad in grads.items())


@pytest.mark.parametrize(
    "neuron",
    [
        LIF(tau=2.0, learn=("decay", "v_threshold")), ALIF(tau=2.0), CubaLIF(tau=2.0),
        RecurrentLIF((500,), tau=2.0), LTMD(),
    ],
    ids=lambda neuron: type(neuron).__name__,
)  # fmt: skip
def test_every_neuron_with_a_membrane_can_be_faulty(neuron: nn.Module) -> None:
    chip = faulty(network(neuron), ALL, images())
    assert chip(images()).isfinite().all()
    assert threshold(chip).shape == (500,)


@pytest.mark.parametrize("name", ["spiking_vgg5", "spiking_resnet20"])
def test_whole_models_can_be_faulty(name: str) -> None:
    model, x_seq = small(name), torch.rand(2, 3, *IMAGE)
    for _ in range(30):
        model(x_seq)  # so that running averages let neurons fire in evaluation
    model.eval()
    chip = faulty(model, ALL, x_seq)
    assert chip(x_seq).isfinite().all()
    assert not torch.equal(chip(x_seq), model(x_seq))


def test_decays_that_a_neuron_has_not_are_refused() -> None:
    net = network(DoubleExponential())
    assert faulty(net, Faults(threshold=0.1), images())(images()).isfinite().all()
    with pytest.raises(Unsupported, match="DoubleExponential neurons have none"):
        faulty(net, Faults(decay=0.1), images())


def test_networks_without_spikes_are_refused() -> None:
    with pytest.raises(Unsupported, match="no spiking neurons"):
        faulty(small("spiking_vgg5", neurons="relu"), ALL, torch.rand(2, 1, *IMAGE))


@pytest.mark.parametrize(
    "how",
    [{"threshold": -1.0}, {"dead": 1.5}, {"bits": 1}, {"noise": float("nan")}, {"delay": -0.1}],
    ids=str,
)
def test_strengths_out_of_range_are_refused(how: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(how))):
        Faults(**how)


def test_copies_of_a_chip_are_chips() -> None:
    chip = copy.deepcopy(faulty(network(), Faults(threshold=0.2, noise=0.1), images()))
    assert chip(images()).isfinite().all()
