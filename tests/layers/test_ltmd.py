"""LTMD's neuron against the numbers of its specification and the LIF that it is."""

import math

import pytest
import torch

from spikeloom.functional import Rectangle, euler, factor, lif
from spikeloom.kernels import use
from spikeloom.layers import LIF, LTMD, LTMDHead, neuron_values

X = (0.3, 0.3, 0.6, 0.1, 0.7)
THETA = math.tanh(0.5)
AS_PUBLISHED = {"decay": factor(0.25), "strict": True, "surrogate": Rectangle()}


def column(values, dtype=torch.float32):
    return torch.tensor(values, dtype=dtype).view(-1, 1, 1)


def gradients(neuron, x_seq, upstream):
    x_seq = x_seq.clone().requires_grad_()
    spike_seq = neuron(x_seq)
    return spike_seq, torch.autograd.grad((spike_seq * upstream).sum(), x_seq)[0]


@pytest.mark.parametrize("implementation", [None, "truth"])
def test_the_worked_example(implementation):
    neuron, x_seq = LTMD(), column(X).requires_grad_()
    with use(implementation):
        spike_seq = neuron(x_seq)
        spike_seq.sum().backward()
    potentials = column((0.3, 0.375, 0.69375, 0.1, 0.725))
    torch.testing.assert_close(neuron.trace(x_seq).h_seq, potentials)
    assert spike_seq.flatten().tolist() == [0, 0, 1, 0, 1]
    want = column((1.196534, 1.123053, 0.787539, 1.225, 1.0))
    torch.testing.assert_close(x_seq.grad, want, rtol=0, atol=1e-6)
    assert neuron.v_threshold.raw.grad.item() == pytest.approx(-3.621182, abs=1e-6)


def test_the_gradient_of_the_threshold_in_the_worked_example():
    theta = torch.tensor(THETA, dtype=torch.float64, requires_grad=True)
    lif(column(X, torch.float64), v_threshold=theta, **AS_PUBLISHED)[0].sum().backward()
    assert theta.grad.item() == pytest.approx(-4.604478, abs=1e-6)
    assert theta.grad.item() * (1 - THETA**2) == pytest.approx(-3.621182, abs=1e-6)


@pytest.mark.parametrize("learn", [(), ("v_threshold",)])
@pytest.mark.parametrize("kappa", [0.5, -0.2, 1.2])
def test_a_frozen_parameter_is_plain_lif_to_the_bit(kappa, learn):
    x_seq, upstream = torch.randn(6, 8, 5), torch.randn(6, 8, 5)
    neuron = LTMD(kappa=kappa, learn=learn).requires_grad_(False)
    theta = torch.tanh(torch.tensor(kappa)) if learn else math.tanh(kappa)

    def plain(x):
        return lif(x, v_threshold=theta, **AS_PUBLISHED)[0]

    found, wanted = (gradients(each, x_seq, upstream) for each in (neuron, plain))
    assert found[0].any()
    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))


def test_a_fixed_threshold_is_that_of_lif():
    x_seq = torch.rand(4, 3, 7)
    fixed = LTMD(v_threshold=0.8, learn=())
    assert not fixed.state_dict()
    assert torch.equal(fixed(x_seq), LIF(v_threshold=0.8, **AS_PUBLISHED)(x_seq))


def test_raising_inputs_and_threshold_together_changes_no_spike_of_one_step():
    x_seq, d = torch.randn(1, 200, 5, dtype=torch.float64), 0.3
    raised = LTMD(v_threshold=THETA + d, learn=())(x_seq + d)
    assert torch.equal(LTMD()(x_seq), raised)
    assert not torch.equal(LTMD()(x_seq), LTMD()(x_seq + d))


def test_at_one_step_the_gradient_of_the_threshold_is_minus_that_of_all_inputs():
    neuron, upstream = LTMD().double(), torch.randn(1, 50, 5, dtype=torch.float64)
    x_seq = torch.randn(1, 50, 5, dtype=torch.float64, requires_grad=True)
    (neuron(x_seq) * upstream).sum().backward()
    want = -(1 - THETA**2) * x_seq.grad.sum()
    torch.testing.assert_close(neuron.v_threshold.raw.grad, want, rtol=1e-12, atol=0)
    assert want != 0


def test_the_published_start_is_exact_and_one_number_a_layer():
    (raw,) = LTMD((3, 4, 4)).parameters()
    assert raw.shape == ()
    assert raw.item() == 0.5
    assert LTMD().arguments()["v_threshold"].item() == pytest.approx(0.46212, abs=1e-5)
    assert neuron_values(LTMD()) == {"v_threshold.raw"}


def test_a_threshold_may_become_negative_and_then_fires_at_rest():
    neuron = LTMD(kappa=0.1)
    sgd = torch.optim.SGD(neuron.parameters(), lr=1.0)
    for _ in range(3):
        neuron.arguments()["v_threshold"].backward()
        sgd.step()
        sgd.zero_grad()
    assert -1 < neuron.arguments()["v_threshold"] < 0
    assert neuron(torch.zeros(4, 2, 3)).all()


def test_the_usual_options_take_the_place_of_the_published_ones():
    x_seq = torch.rand(5, 3, 7)
    for given, as_lif in (
        ({"tau": 2.0}, {"decay": euler(2.0, decay_input=False)}),
        ({"tau": 2.0, "decay_input": True}, {"decay": euler(2.0)}),
        ({"decay_input": True}, {"decay": factor(0.25, decay_input=True)}),
        ({"reset": "soft"}, {"reset": "soft"}),
        ({"detach_reset": True}, {"detach_reset": True}),
        ({"surrogate": Rectangle(alpha=2.0)}, {"surrogate": Rectangle(alpha=2.0)}),
    ):
        fixed = LTMD(v_threshold=0.4, learn=(), **given)
        plain = LIF(v_threshold=0.4, **AS_PUBLISHED | as_lif)
        for one, other in zip(
            *(gradients(each, x_seq, x_seq) for each in (fixed, plain)), strict=True
        ):
            assert torch.equal(one, other), given
    assert LTMD((3,), per="channel").v_threshold.raw.shape == (3,)
    assert len([*LTMD(learn=("decay", "v_threshold")).parameters()]) == 2
    assert LTMD(strict=False, v_threshold=0.5, learn=())(column([0.5])).item() == 1
    assert LTMD(v_threshold=0.5, learn=())(column([0.5])).item() == 0


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: LTMD(kappa=0.5, v_threshold=0.4), "kappa or v_threshold, not both"),
        (lambda: LTMD(v_threshold=1.0), "must start between -1 and 1, got 1.0"),
        (lambda: LTMD(kappa=50.0), "must start between -1 and 1"),
        (lambda: LTMD(tau=2.0, decay=factor(0.5)), "not both"),
        (lambda: LTMD(learn=["kappa"]), "learn may hold 'decay', 'v_threshold'"),
        (lambda: LTMDHead(4, num_classes=2, kappa=50.0), "must start between -1 and 1"),
    ],
)
def test_impossible_neurons_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
