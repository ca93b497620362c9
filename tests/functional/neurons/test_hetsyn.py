"""HetSyn: the identities of its equations, with the numbers measured for them."""

from typing import Any

import pytest
import torch
from torch import Tensor

from spikeloom.functional import (
    Decay,
    HetSynState,
    MultiGaussian,
    hetsyn_lif,
    hetsyn_lif_trace,
    synapses,
)

T, N, IN, OUT = 40, 3, 7, 5
EXACT = 1e-12


def drawn(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    return low + (high - low) * torch.rand(*shape, dtype=torch.float64)


def spikes_in(rate: float = 0.3) -> Tensor:
    return (drawn(T, N, IN) < rate).double()


def cell(x_seq: Tensor, w: Tensor, r: Any, u: Tensor | None = None, q: Any = None, **options: Any):
    """Potentials and spikes of a layer of HetSyn."""
    y_seq, _ = synapses(x_seq, weight=w, decay=Decay(r))
    recurrent = {} if u is None else {"weight": u, "decay": Decay(q)}
    trace = hetsyn_lif_trace(y_seq, **recurrent, **options)
    return trace.h_seq, trace.spike_seq


def leaky(x_seq: Tensor, w: Tensor, rho: Any, u: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """V = rho V + W x + U z - z, written down anew: LIF whose reset comes a step later."""
    v = z = torch.zeros(x_seq.shape[1], w.shape[0], dtype=x_seq.dtype)
    potentials, fired = [], []
    for x in x_seq:
        v = rho * v + x @ w.T - z + (0 if u is None else z @ u.T)
        z = (v > 1).to(v.dtype)
        potentials.append(v)
        fired.append(z)
    return torch.stack(potentials), torch.stack(fired)


@pytest.mark.parametrize("recurrent", [False, True])
def test_equal_decays_are_a_leaky_neuron(recurrent: bool) -> None:
    x_seq, w, rho = spikes_in(), drawn(OUT, IN, low=-0.5), 0.9
    u = drawn(OUT, OUT, low=-0.3, high=0.3) if recurrent else None
    want = leaky(x_seq, w, rho, u)
    even = {"dtype": torch.float64}
    found = cell(
        x_seq, w, torch.full((OUT, IN), rho, **even), u, torch.full((OUT, OUT), rho, **even),
        reset_decay=Decay(rho),
    )  # fmt: skip
    assert (found[0] - want[0]).abs().max() < EXACT
    assert torch.equal(found[1], want[1])
    assert want[1].sum() > 20


@pytest.mark.parametrize("recurrent", [False, True])
def test_decays_equal_along_rows_are_a_leaky_neuron_each(recurrent: bool) -> None:
    x_seq, w, rho = spikes_in(), drawn(OUT, IN, low=-0.5), drawn(OUT, low=0.5)
    u = drawn(OUT, OUT, low=-0.3, high=0.3) if recurrent else None
    want = leaky(x_seq, w, rho, u)
    for r, q in (
        (rho[:, None].expand(OUT, IN), rho[:, None].expand(OUT, OUT)),
        (rho[:, None], rho[:, None]),  # shared: the state is one current a neuron
    ):
        found = cell(x_seq, w, r, u, q, reset_decay=Decay(rho))
        assert (found[0] - want[0]).abs().max() < EXACT
        assert torch.equal(found[1], want[1])


@pytest.mark.parametrize("recurrent", [False, True])
def test_a_leak_that_synapses_share_is_the_same_neuron(recurrent: bool) -> None:
    x_seq, w, rho = spikes_in(), drawn(OUT, IN, low=-0.5), drawn(OUT, low=0.5)
    u = drawn(OUT, OUT, low=-0.3, high=0.3) if recurrent else None
    want = leaky(x_seq, w, rho, u)
    found = hetsyn_lif_trace(x_seq @ w.T, weight=u, leak=Decay(rho), reset_decay=Decay(rho))
    assert (found.h_seq - want[0]).abs().max() < EXACT
    assert torch.equal(found.spike_seq, want[1])


def test_without_decay_it_has_no_memory_but_the_last_spike() -> None:
    x_seq, w = spikes_in().round(), drawn(OUT, IN, low=-0.5)
    h_seq, z_seq = cell(x_seq, w, torch.zeros(OUT, IN).double(), reset_decay=Decay(0.0))
    before = torch.cat([torch.zeros_like(z_seq[:1]), z_seq[:-1]])
    sums = torch.stack([(w * x[:, None]).sum(-1) for x in x_seq])
    assert torch.equal(h_seq, sums - before)


def test_with_decay_one_it_sums_up_all_inputs() -> None:
    x_seq, w = spikes_in(), drawn(OUT, IN, low=-0.5)
    y_seq, _ = synapses(x_seq, weight=w, decay=Decay(torch.ones(OUT, IN).double()))
    assert (y_seq - x_seq.cumsum(0) @ w.T).abs().max() < EXACT


def test_a_spike_leaves_the_powers_of_its_decay() -> None:
    x_seq = torch.zeros(T, 1, 2, dtype=torch.float64)
    x_seq[3] = 1
    w, r = torch.tensor([[0.7, -1.3]]).double(), torch.tensor([[0.9, 0.4]]).double()
    y_seq, _ = synapses(x_seq, weight=w, decay=Decay(r))
    n = torch.arange(T - 3)
    want = w[0, 0] * r[0, 0] ** n + w[0, 1] * r[0, 1] ** n
    assert (y_seq[3:, 0, 0] - want).abs().max() < EXACT
    assert not y_seq[:3].any()


def test_the_current_is_the_weight_times_a_trace_at_every_step() -> None:
    x_seq, w, r = spikes_in(), drawn(OUT, IN, low=-0.5), drawn(OUT, IN)
    trace = torch.zeros(N, OUT, IN, dtype=torch.float64)
    state = None
    for x in x_seq.split(1):
        y, state = synapses(x, state, weight=w, decay=Decay(r))
        trace = r * trace + x[0, :, None]
        assert (state - w * trace).abs().max() < EXACT
        assert (y[0] - (w * trace).sum(-1)).abs().max() < EXACT


def test_a_readout_is_linear_in_its_weights() -> None:
    x_seq, r, w, v = spikes_in(), Decay(drawn(OUT, IN)), *drawn(2, OUT, IN)
    both = synapses(x_seq, weight=2 * w - v, decay=r)[0]
    apart = 2 * synapses(x_seq, weight=w, decay=r)[0] - synapses(x_seq, weight=v, decay=r)[0]
    assert (both - apart).abs().max() < EXACT


def test_finite_differences_in_the_decay_of_a_readout() -> None:
    x_seq, w, r = spikes_in(), drawn(OUT, IN, low=-0.5), drawn(OUT, IN, low=0.1, high=0.95)
    g = drawn(T, N, OUT, low=-1)
    r.requires_grad_()
    value = (synapses(x_seq, weight=w, decay=Decay(r))[0] * g).sum()
    (grad,) = torch.autograd.grad(value, r)
    step = 1e-5
    for j, i in ((0, 0), (2, 5), (4, 3)):
        ends = []
        for sign in (1, -1):
            moved = r.detach().clone()
            moved[j, i] += sign * step
            ends.append((synapses(x_seq, weight=w, decay=Decay(moved))[0] * g).sum())
        slope = (ends[0] - ends[1]) / (2 * step)
        assert abs(slope - grad[j, i]) < 1e-6 * abs(slope)


def test_a_permuted_batch_permutes_the_output() -> None:
    x_seq, w, r = spikes_in(), drawn(OUT, IN, low=-0.5), drawn(OUT, IN)
    u, q, order = drawn(OUT, OUT, low=-0.5, high=0.5), drawn(OUT, OUT), torch.tensor([2, 0, 1])
    h_seq, z_seq = cell(x_seq, w, r, u, q)
    permuted = cell(x_seq[:, order], w, r, u, q)
    assert torch.equal(permuted[0], h_seq[:, order])
    assert torch.equal(permuted[1], z_seq[:, order])


SHAPES = {"synapse": (OUT, IN), "neuron": (OUT, 1), "input": (1, IN)}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cut", [1, 17, 39])
def test_two_parts_with_a_carried_state_are_one_run(shape: str, cut: int) -> None:
    x_seq, w, r = spikes_in(), drawn(OUT, IN, low=-0.5), Decay(drawn(*SHAPES[shape]))
    recurrent = {"weight": drawn(OUT, OUT, low=-0.3, high=0.3), "decay": Decay(drawn(OUT, OUT))}
    options: dict[str, Any] = {**recurrent, "adaptation_decay": Decay(0.99), "beta": 0.1}
    y_seq, end = synapses(x_seq, weight=w, decay=r)
    z_seq, last = hetsyn_lif(y_seq, **options)
    first, middle = synapses(x_seq[:cut], weight=w, decay=r)
    second, after = synapses(x_seq[cut:], middle, weight=w, decay=r)
    z_first, carried = hetsyn_lif(first, **options)
    z_second, finally_ = hetsyn_lif(second, carried, **options)
    assert torch.equal(torch.cat([first, second]), y_seq)
    assert torch.equal(torch.cat([z_first, z_second]), z_seq)
    assert torch.equal(after, end)
    for one, other in zip(finally_, last, strict=True):
        assert torch.equal(one, other)


def test_adaptation_is_the_recurrence_of_the_third_proposition() -> None:
    """h = rho (h + a) + W x - z - a' with the old and the new adaptation a and a'."""
    x_seq, w, rho, fade, beta = spikes_in(), drawn(OUT, IN, low=-0.3), 0.9, 0.98, 0.15
    h_seq, z_seq = cell(
        x_seq, w, rho, reset_decay=Decay(rho), adaptation_decay=Decay(fade), beta=beta
    )
    h = a = z = torch.zeros(N, OUT, dtype=torch.float64)
    for x, found, fired in zip(x_seq, h_seq, z_seq, strict=True):
        new = fade * a + beta * z
        h = rho * (h + a) + x @ w.T - z - new
        a, z = new, fired
        assert (found - h).abs().max() < EXACT


def test_without_reset_the_potential_is_the_drive() -> None:
    y_seq = drawn(T, N, OUT, high=3.0)
    trace = hetsyn_lif_trace(y_seq, reset_decay=None)
    assert torch.equal(trace.h_seq, y_seq)
    assert torch.equal(trace.v_seq, y_seq)
    assert torch.equal(trace.spike_seq, (y_seq > 1).double())


def test_a_neuron_at_the_threshold_does_not_fire_unless_told_to() -> None:
    y_seq = torch.ones(1, 1, 1)
    assert hetsyn_lif(y_seq)[0].item() == 0
    assert hetsyn_lif(y_seq, strict=False)[0].item() == 1


def test_the_reset_is_in_the_gradient_unless_detached() -> None:
    grads = []
    for detach in (False, True):
        y_seq = torch.full((3, 1, 1), 1.2, requires_grad=True)
        z_seq, _ = hetsyn_lif(y_seq, detach_reset=detach)
        (grad,) = torch.autograd.grad(z_seq[1:].sum(), y_seq)
        grads.append(grad[0].item())
    assert grads[0] < 0
    assert grads[1] == 0


@pytest.mark.parametrize(
    ("v", "slope"), [(0.0, 0.43911), (1.0, 0.04345), (2.0, -0.01570), (-2.0, -0.01570)]
)
def test_slope_of_several_gaussians(v: float, slope: float) -> None:
    surrogate = MultiGaussian(alpha=2.0, scale=0.5, side=0.15, stretch=6.0)
    assert surrogate.grad(torch.tensor(v)).item() == pytest.approx(slope, abs=1e-5)


def test_least_slope_of_several_gaussians() -> None:
    v = torch.linspace(0, 4, 4001)
    grad = MultiGaussian(alpha=2.0, scale=0.5).grad(v)
    assert grad.min().item() == pytest.approx(-0.01587, abs=1e-5)
    assert v[grad.argmin()].item() == pytest.approx(1.86, abs=0.01)


BAD: dict[str, tuple[Any, str]] = {
    "decay": (lambda: synapses(torch.ones(2, 1, 3), weight=torch.ones(2, 3),
              decay=Decay(torch.full((3, 2), 0.5))), r"\(3, 2\).*\(2, 3\)"),
    "width": (lambda: synapses(torch.ones(2, 1, 4), weight=torch.ones(2, 3), decay=Decay(0.5)),
              "flatten"),
    "state": (lambda: synapses(torch.ones(2, 1, 3), torch.ones(1, 3), weight=torch.ones(2, 3),
              decay=Decay(0.5)), r"\(1, 2\)"),
    "integers": (lambda: synapses(torch.ones(2, 1, 3, dtype=torch.int64), weight=torch.ones(2, 3),
                 decay=Decay(0.5)), "float"),
    "half": (lambda: hetsyn_lif(torch.ones(2, 1, 3), weight=torch.ones(3, 3)), "neither"),
    "square": (lambda: hetsyn_lif(torch.ones(2, 1, 3), weight=torch.ones(2, 3), decay=Decay(0.5)),
               r"\[O, O\]"),
    "spike": (lambda: hetsyn_lif(torch.ones(2, 1, 3), HetSynState(None, None, None,
              torch.ones(2, 3))), "carried spike"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_fit_is_refused(name: str) -> None:
    call, words = BAD[name]
    with pytest.raises(ValueError, match=words):
        call()
