"""Layers of HetSyn: how decays are drawn and kept in bounds, sharing, states carried on."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from spikeloom.functional import Decay, synapses
from spikeloom.layers import (
    GroupedSynapses,
    HetSynLIF,
    Latest,
    Softmax,
    Synapses,
    carry,
    neuron_values,
    whole_only,
)
from spikeloom.layers.synaptic_decay import SynapticDecay

T, N = 23, 3


@pytest.mark.parametrize("kept", ["clamped", "sigmoid", "timescale"])
def test_a_learnt_decay_starts_where_it_was_drawn(kept: Any) -> None:
    torch.manual_seed(1)
    fixed = SynapticDecay((40, 30), tau=(20.0, 5.0), learn=False).now().keep
    torch.manual_seed(1)
    learnt = SynapticDecay((40, 30), tau=(20.0, 5.0), kept=kept)
    torch.testing.assert_close(learnt.now().keep, fixed, rtol=1e-5, atol=1e-6)
    assert abs(learnt.tau().mean() - 20) < 1
    assert abs(learnt.tau().std() - 5) < 0.5


def test_uniform_time_constants_lie_between_their_ends() -> None:
    tau = SynapticDecay((50, 20), tau=(5.0, 20.0), draw="uniform").tau()
    assert 5 <= tau.min() < 5.5
    assert 19.5 < tau.max() <= 20.001


def test_a_drawn_time_constant_is_at_least_a_step() -> None:
    decay = SynapticDecay((200, 50), tau=(2.0, 5.0), dt=1.0)
    assert decay.tau().min() >= 1 - 1e-5


def test_a_clamped_decay_comes_back_after_an_update() -> None:
    layer = Synapses(3, 2)
    with torch.no_grad():
        layer.decay.keep.raw[0, 0], layer.decay.keep.raw[1, 1] = 1.3, -0.2
    layer.decay.keep.after_update()  # type: ignore[operator]  # which the loop calls
    keep = layer.arguments()["decay"].keep
    assert keep[0, 0] == 1
    assert keep[1, 1] == 0


@pytest.mark.parametrize("kept", ["sigmoid", "timescale"])
def test_safer_decays_stay_in_bounds_whatever_their_parameter(kept: Any) -> None:
    layer = Synapses(3, 2, kept=kept)
    for number in (-30.0, 30.0):
        with torch.no_grad():
            layer.decay.keep.raw.fill_(number)
        keep = layer.arguments()["decay"].keep
        assert keep.min() >= 0
        assert keep.max() <= 1


def test_learnt_decays_are_values_of_neurons() -> None:
    net = nn.Sequential(Synapses(3, 4), HetSynLIF((4,), recurrent=True))
    assert neuron_values(net) == {"0.decay.keep.raw", "1.decay.keep.raw"}


COUNTS = {  # of M = 7 inputs and 5 neurons
    "synapse": (2 * 7 * 5, 2 * 25),
    "neuron": (7 * 5 + 5, 25 + 5),
}


@pytest.mark.parametrize("own", COUNTS)
def test_numbers_of_parameters(own: Any) -> None:
    first, second = Synapses(7, 5, own=own), HetSynLIF((5,), recurrent=True, own=own)
    found = tuple(sum(p.numel() for p in layer.parameters()) for layer in (first, second))
    assert found == COUNTS[own]


def cells() -> dict[str, nn.Module]:
    common: dict[str, Any] = {"tau": 5.0, "v_threshold": 0.5}
    return {
        "feed-forward": HetSynLIF((6,), **common),
        "recurrent": HetSynLIF((6,), recurrent=True, **common),
        "shared leak": HetSynLIF((6,), own="neuron", recurrent=True, to_itself=False, **common),
        "tied": HetSynLIF((6,), own="layer", tie_reset=True, **common),
        "adaptive": HetSynLIF((6,), own="layer", learn=False, beta=0.2, **common),
        "without reset": HetSynLIF((6,), tau_reset=None, **common),
    }


@pytest.mark.parametrize("name", cells())
@pytest.mark.parametrize("synapse", ["own", "grouped"])
@pytest.mark.parametrize("cut", [1, 9, 22])
def test_pieces_give_the_whole(name: str, synapse: str, cut: int) -> None:
    kind: Any = {"own": Synapses, "grouped": GroupedSynapses}[synapse]
    end = Softmax(skip=4) if cut == 9 else Latest()
    net = nn.Sequential(kind(5, 6), cells()[name], kind(6, 4), end).eval()
    assert whole_only(net) is None
    x_seq = (torch.rand(T, N, 5) < 0.4).float()
    with torch.no_grad():
        first, states = carry(net, x_seq[:cut])
        second, _ = carry(net, x_seq[cut:], states)
        torch.testing.assert_close(torch.cat([first, second]), net(x_seq), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", cells())
def test_a_trace_is_what_the_layer_does(name: str) -> None:
    neuron = cells()[name]
    x_seq = torch.rand(T, N, 6)
    trace = neuron.trace(x_seq)  # type: ignore[operator]
    spike_seq, last = neuron.scan(x_seq)  # type: ignore[operator]
    assert torch.equal(trace.spike_seq, spike_seq)
    assert trace.spike_seq.any()
    for one, other in zip(trace.last, last, strict=True):
        assert (one is None) == (other is None)
        assert one is None or torch.allclose(one, other, atol=1e-5)
    assert torch.equal(trace.spike_seq, (trace.h_seq > neuron.threshold(trace)).float())  # type: ignore[operator]


def test_levels_that_are_kept_are_synapses_with_those_decays() -> None:
    layer = GroupedSynapses(
        5, 4, levels=3, span=(5.0, 60.0), tau=(5.0, 60.0), draw="uniform"
    ).double()
    x_seq = torch.rand(T, N, 5, dtype=torch.float64)
    keep = torch.as_tensor(layer.decay.keep.now())[layer.index]
    assert len(keep.unique()) > 1
    want, _ = synapses(x_seq, weight=layer.weight, decay=Decay(keep))
    assert (layer(x_seq) - want).abs().max() < 1e-12


def test_softly_mixed_levels_learn_their_shares() -> None:
    layer = GroupedSynapses(5, 4, levels=3, mix="soft", learn=True)
    layer(torch.rand(T, N, 5)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in layer.parameters())
    assert torch.allclose(layer.share().sum(-1), torch.ones(4, 5))
    near = layer.share().argmax(-1)
    assert near.shape == (4, 5)


def test_neurons_may_be_deaf_to_themselves() -> None:
    neuron = HetSynLIF((6,), recurrent=True, to_itself=False)
    assert not neuron.arguments()["weight"].diagonal().any()


def test_a_tied_reset_decays_as_the_synapses_do() -> None:
    neuron = HetSynLIF((6,), own="neuron", tau=(5.0, 20.0), draw="uniform", tie_reset=True)
    given = neuron.arguments()
    assert torch.equal(given["reset_decay"].keep, given["leak"].keep)
    free = HetSynLIF((6,), own="neuron", tau_reset=20.0).arguments()["reset_decay"].keep
    assert free == pytest.approx(math.exp(-1 / 20))


def test_the_mean_over_steps_is_the_last_value() -> None:
    x_seq = torch.randn(T, N, 4).requires_grad_()
    y_seq = Latest()(x_seq)
    so_far = y_seq.cumsum(0) / torch.arange(1, T + 1).view(-1, 1, 1)
    torch.testing.assert_close(so_far, x_seq, rtol=1e-4, atol=1e-4)
    (grad,) = torch.autograd.grad(y_seq.mean(0).sum(), x_seq)
    torch.testing.assert_close(grad[-1], torch.ones(N, 4))
    assert grad[:-1].abs().max() < 1e-6


def test_shares_do_not_count_at_the_first_steps() -> None:
    x_seq = torch.randn(T, N, 4)
    y_seq = Softmax(skip=11)(x_seq)
    assert not y_seq[:11].any()
    torch.testing.assert_close(y_seq[11:], x_seq[11:].softmax(-1))


BAD: dict[str, tuple[Any, str]] = {
    "tau": (lambda: Synapses(3, 2, tau=0.0), "tau must be > 0"),
    "deviation": (lambda: Synapses(3, 2, tau=(5.0, -1.0)), "deviation >= 0"),
    "ends": (lambda: Synapses(3, 2, tau=(5.0, 1.0), draw="uniform"), "least <= greatest"),
    "draw": (lambda: Synapses(3, 2, draw="lognormal"), "normal"),  # type: ignore[arg-type]
    "kept": (lambda: Synapses(3, 2, kept="raw"), "clamped"),  # type: ignore[arg-type]
    "dt": (lambda: Synapses(3, 2, dt=0.0), "dt is the length"),
    "own": (lambda: Synapses(3, 2, own="each"), "own must be"),  # type: ignore[arg-type]
    "size": (lambda: Synapses(0, 2), ">= 1"),
    "levels": (lambda: GroupedSynapses(3, 2, levels=1), "levels"),
    "mix": (lambda: GroupedSynapses(3, 2, mix="hard"), "mix"),  # type: ignore[arg-type]
    "shape": (lambda: HetSynLIF(recurrent=True), "shape"),
    "image": (lambda: HetSynLIF((3, 4, 4), recurrent=True), "in a row"),
    "tie": (lambda: HetSynLIF((3,), tie_reset=True), "own way"),
    "threshold": (lambda: HetSynLIF((3,), v_threshold=0.0), "v_threshold"),
    "reset": (lambda: HetSynLIF((3,), tau_reset=-1.0), "time constant"),
    "skip": (lambda: Softmax(skip=-1), "skip"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_is_refused(name: str) -> None:
    make, words = BAD[name]
    with pytest.raises(ValueError, match=words):
        make()
