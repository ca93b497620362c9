"""Neuron layers are their functions, with parameters."""

import copy
import inspect
import math
from functools import partial

import pytest
import torch
from torch import nn

from spikeloom.functional import (
    NO_DECAY,
    Arctan,
    Decay,
    Triangle,
    alif,
    cuba_lif,
    euler,
    exponential,
    factor,
    if_,
    li,
    lif,
    ternary_lif,
    ternary_spike,
)
from spikeloom.layers import (
    ALIF,
    IF,
    LI,
    LIF,
    LTMD,
    CubaLIF,
    DoubleExponential,
    Neuron,
    OverTime,
    ParametricLIF,
    TernaryLIF,
    TernarySpike,
    neuron_values,
)
from spikeloom.registry import entries, find

# Recurrent neurons need a shape and have a weight: test_recurrent.py.
SPIKING = [
    entry
    for entry in entries("neuron")
    if issubclass(entry.build, Neuron) and entry.name != "recurrent_lif"
]
SHAPE = (3, 4, 4)
PER_CHANNEL = torch.tensor([0.25, 0.5, 0.75]).view(3, 1, 1)


@pytest.fixture(params=SPIKING, ids=lambda entry: entry.name)
def build(request):
    return request.param.build


def input_seq(T=6):
    return 2 * torch.rand(T, 2, *SHAPE)


@pytest.mark.parametrize(
    ("layer", "function", "arguments"),
    [
        (LIF(), lif, {"decay": euler(2.0)}),
        (LIF(tau=4.0, decay_input=False), lif, {"decay": euler(4.0, decay_input=False)}),
        (IF(v_threshold=1.5), if_, {"v_threshold": 1.5}),
        (IF(), lif, {"decay": NO_DECAY}),
        (LIF(reset="soft", strict=True), lif, {"reset": "soft", "strict": True}),
        (LIF(v_reset=-0.5), lif, {"v_reset": -0.5}),
        (ALIF(beta=1.5), alif, {"beta": 1.5, "adaptation_decay": exponential(200.0)}),
        (ALIF(tau_adaptation=9.0), alif, {"adaptation_decay": exponential(9.0)}),
        (ALIF(adaptation_decay=factor(0.5)), alif, {"adaptation_decay": factor(0.5)}),
        (CubaLIF(), cuba_lif, {"synapse": euler(2.0)}),
        (
            CubaLIF(tau_syn=4.0, decay_input=False),
            cuba_lif,
            {
                "synapse": euler(4.0, decay_input=False),
                "decay": euler(2.0, decay_input=False),
            },
        ),
        (CubaLIF(synapse=factor(0.9)), cuba_lif, {"synapse": factor(0.9)}),
        (LI(tau=3.0), li, {"decay": euler(3.0)}),
    ],
    ids=lambda value: str(value) if isinstance(value, nn.Module) else "",
)
def test_layers_compute_their_functions(layer, function, arguments):
    x_seq = input_seq()
    assert torch.equal(layer(x_seq), function(x_seq, **arguments)[0])


@pytest.mark.parametrize(
    "arguments",
    [{"surrogate": Triangle()}, {"detach_reset": True}, {"surrogate": Arctan(alpha=5.0)}],
)
def test_options_of_the_gradient_reach_the_function(arguments):
    x = input_seq().requires_grad_()
    grads = [
        torch.autograd.grad(run(x).square().sum(), x)[0]
        for run in (LIF(**arguments), lambda x_seq: lif(x_seq, **arguments)[0], LIF())
    ]
    assert torch.equal(grads[0], grads[1])
    assert not torch.equal(grads[0], grads[2])


def test_strict_neurons_fire_only_above_the_threshold():
    x_seq = torch.ones(1, 1, 1)
    assert IF()(x_seq).item() == 1
    assert IF(strict=True)(x_seq).item() == 0


def test_scanning_two_chunks_equals_one_forward(build):
    neuron, x_seq = build(), input_seq(7)
    first, state = neuron.scan(x_seq[:3])
    second, _ = neuron.scan(x_seq[3:], state)
    assert torch.equal(torch.cat([first, second]), neuron(x_seq))


def test_reading_out_two_chunks_equals_one_forward():
    layer, x_seq = LI(tau=3.0), input_seq(7)
    first, v = layer.scan(x_seq[:3])
    assert torch.equal(torch.cat([first, layer.scan(x_seq[3:], v)[0]]), layer(x_seq))


def test_every_call_starts_at_rest(build):
    neuron, x_seq = build(), input_seq()
    assert torch.equal(neuron(x_seq), neuron(x_seq))


def test_traces_show_the_spikes_and_the_potentials_before_reset(build):
    neuron, x_seq = build(v_threshold=0.7), input_seq()
    trace = neuron.trace(x_seq)
    assert torch.equal(trace.spike_seq, neuron(x_seq))
    assert trace.h_seq.shape == trace.v_seq.shape == x_seq.shape
    if build is not ALIF:
        assert torch.equal(trace.spike_seq, (trace.h_seq >= 0.7).float())


def test_traces_start_from_a_given_state(build):
    neuron, x_seq = build(), input_seq(7)
    _, state = neuron.scan(x_seq[:3])
    assert torch.equal(neuron.trace(x_seq[3:], state).h_seq, neuron.trace(x_seq).h_seq[3:])


@pytest.mark.parametrize(
    ("per", "shape"), [("layer", ()), ("channel", (3, 1, 1)), ("neuron", SHAPE)]
)
def test_every_learnable_number_gets_gradients(build, per, shape):
    neuron = build(SHAPE, learn=build.learnable, per=per)
    x_seq = 0.2 * input_seq(8)
    x_seq[[1, 4]] += 3.0  # every neuron fires twice and rests in between
    neuron(x_seq).sum().backward()
    parameters = dict(neuron.named_parameters())
    assert len(parameters) == len(build.learnable)
    for name, parameter in parameters.items():
        assert parameter.shape == shape, name
        assert (parameter.grad != 0).all(), name


@pytest.mark.parametrize("per", ["layer", "channel", "neuron"])
def test_learning_starts_from_the_fixed_neuron(build, per):
    x_seq = input_seq()
    learnt = build(SHAPE, learn=build.learnable, per=per)
    torch.testing.assert_close(learnt.trace(x_seq).h_seq, build().trace(x_seq).h_seq)


def test_fixed_neurons_have_no_state(build):
    fixed = partial(build, learn=()) if build in (LTMD, TernarySpike) else build
    assert bool(fixed().state_dict()) == (build is ParametricLIF)
    assert bool([*fixed(SHAPE, per="channel").parameters()]) == (build is ParametricLIF)


@pytest.mark.parametrize("tau", [1.5, 2.0, 10.0])
def test_parametric_lif_learns_the_w_of_one_over_tau_equals_sigmoid(tau):
    neuron, x_seq = ParametricLIF(tau=tau), input_seq()
    (raw,) = neuron.parameters()
    assert 1 / tau == pytest.approx(torch.sigmoid(-raw).item())

    w = torch.tensor(-math.log(tau - 1), requires_grad=True)
    lif(x_seq, decay=Decay(1 - torch.sigmoid(w), True))[0].square().sum().backward()
    neuron(x_seq).square().sum().backward()
    torch.testing.assert_close(raw.grad, -w.grad)


def test_parametric_lif_may_learn_its_threshold_too():
    assert len(list(ParametricLIF(learn=["v_threshold"]).parameters())) == 2


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: LIF(tau=2.0, decay=factor(0.5)), "not both"),
        (lambda: LIF(tau=1.0), "tau must be > 1"),
        (lambda: LIF(reset="sofft"), "reset must be"),
        (lambda: LIF(v_threshold=0.0), "above the reset"),
        (lambda: LIF(v_threshold=0.5, v_reset=0.5), "above the reset"),
        (lambda: LIF(learn=["tau"]), "learn may hold 'decay', 'v_threshold'; got 'tau'"),
        (lambda: IF(learn=["decay"]), "learn may hold 'v_threshold'"),
        (lambda: LIF(decay=NO_DECAY, learn=["decay"]), "between 0 and 1"),
        (lambda: LIF(per="channel"), "needs shape"),
        (lambda: LIF((3,), per="image"), "per must be"),
        (lambda: ALIF(tau_adaptation=9.0, adaptation_decay=factor(0.5)), "not both"),
        (lambda: CubaLIF(tau_syn=9.0, synapse=factor(0.5)), "not both"),
        (lambda: LI(learn=["v_threshold"]), "learn may hold 'decay'"),
        (lambda: LIF((3,), per={"treshold": "channel"}), "per may hold .* got 'treshold'"),
        (lambda: LIF((3,), per={"decay": "image"}), "per must be"),
        (lambda: LIF(v_threshold=torch.tensor([1.0, -0.1])), "above the reset"),
        (lambda: LIF(SHAPE, v_threshold=torch.ones(3)), "does not broadcast"),
        (lambda: LIF(SHAPE, decay=factor(torch.rand(2, 1, 1))), "decay .* does not broadcast"),
        (lambda: LIF(SHAPE, v_threshold=torch.ones(SHAPE), per="channel"), "does not broadcast"),
        (lambda: LIF(decay=factor(torch.tensor([0.5, 1.0])), learn=["decay"]), "between 0 and 1"),
        (lambda: ALIF(beta=-0.1), "beta must be >= 0"),
        (lambda: ALIF(beta=0.0, learn=["beta"]), "learnt beta must start above 0"),
    ],
)
def test_impossible_neurons_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_state_dict_names_stay():
    named = {"decay.keep.raw", "v_threshold.raw", "v_threshold.gap"}
    assert set(LIF(learn=["decay", "v_threshold"]).state_dict()) == named
    assert set(ParametricLIF().state_dict()) == {"decay.keep.raw"}


def test_learnt_values_survive_a_state_dict(build):
    neuron = build(SHAPE, learn=build.learnable, per="channel")
    with torch.no_grad():
        for parameter in neuron.parameters():
            parameter.add_(torch.randn_like(parameter))
    other = build(SHAPE, learn=build.learnable, per="channel")
    other.load_state_dict(neuron.state_dict())
    x_seq = input_seq()
    assert torch.equal(other(x_seq), neuron(x_seq))
    assert torch.equal(copy.deepcopy(neuron)(x_seq), neuron(x_seq))


def test_read_outs_learn_their_decay():
    layer = LI(SHAPE, learn=["decay"], per="channel")
    layer(input_seq()).sum().backward()
    (raw,) = layer.parameters()
    assert raw.shape == (3, 1, 1)
    assert (raw.grad != 0).all()


def test_relu_takes_a_shape_and_has_no_parameters():
    relu = find("neuron", "relu").build((3, 4, 4))
    x_seq = torch.randn(2, 1, 3)
    assert torch.equal(relu(x_seq), x_seq.clamp(min=0))
    assert not relu.state_dict()


def test_layers_chain():
    model = nn.Sequential(OverTime(nn.Linear(3, 4)), ALIF(), OverTime(nn.Linear(4, 2)), LI())
    assert model(torch.randn(5, 2, 3)).shape == (5, 2, 2)


def thresholds(neuron):
    return torch.as_tensor(neuron.arguments()["v_threshold"])


@pytest.mark.parametrize("v_reset", [0.0, -1.0, 0.25])
def test_learnt_thresholds_stay_above_the_reset(v_reset):
    neuron = LIF(SHAPE, v_threshold=0.75, v_reset=v_reset, learn=["v_threshold"], per="neuron")
    sgd = torch.optim.SGD(neuron.parameters(), lr=1.0)
    for _ in range(20):
        thresholds(neuron).sum().backward()  # straight down
        sgd.step()
        sgd.zero_grad()
    assert (thresholds(neuron) > v_reset).all()
    assert (thresholds(neuron) < 0.75).all()


def test_a_learnt_beta_stays_positive():
    neuron = ALIF(beta=0.2, learn=["beta"])
    with torch.no_grad():
        neuron.beta.raw.sub_(10.0)
    assert 0 < neuron.arguments()["beta"] < 1e-4


@pytest.mark.parametrize("value", [0.1, 0.7, 1.0, 3.3])
def test_learnt_thresholds_start_at_the_given_number(value):
    assert thresholds(LIF(v_threshold=value, learn=["v_threshold"])) == torch.tensor(value)
    (raw,) = LIF(v_threshold=value, learn=["v_threshold"]).parameters()
    assert raw.item() == 0  # so that weight decay pulls back to the start


def test_fixed_tensors_are_buffers_and_the_neurons_own():
    given = PER_CHANNEL.clone()
    neuron = LIF(SHAPE, v_threshold=given, decay=exponential(4 * PER_CHANNEL))
    given.zero_()
    assert set(dict(neuron.named_buffers())) == {"v_threshold.start", "decay.keep.start"}
    assert not list(neuron.parameters())
    x_seq = input_seq()
    want, _ = lif(x_seq, v_threshold=PER_CHANNEL, decay=exponential(4 * PER_CHANNEL))
    assert torch.equal(neuron(x_seq), want)
    assert next(neuron.to("meta").buffers()).is_meta
    assert "keep of shape (3, 1, 1)" in repr(neuron)


def test_tensors_are_where_learning_starts(build):
    arguments = {"v_threshold": PER_CHANNEL}
    if build not in (IF, DoubleExponential):
        arguments["tau"] = 1 + PER_CHANNEL
    neuron = build(SHAPE, learn=["v_threshold"], **arguments)
    x_seq = input_seq()
    torch.testing.assert_close(
        neuron.trace(x_seq).h_seq, build(SHAPE, **arguments).trace(x_seq).h_seq
    )
    assert neuron.v_threshold.raw.shape == (3, 1, 1)


def test_one_value_may_be_per_neuron_and_another_per_channel():
    neuron = ALIF(
        SHAPE, learn=["decay", "v_threshold", "beta"],
        per={"decay": "neuron", "v_threshold": "channel"},
    )  # fmt: skip
    assert neuron.decay.keep.raw.shape == SHAPE
    assert neuron.v_threshold.raw.shape == (3, 1, 1)
    assert neuron.beta.raw.shape == ()


def test_a_tensor_per_channel_is_repeated_where_every_neuron_learns():
    neuron = LIF(SHAPE, v_threshold=PER_CHANNEL, learn=["v_threshold"], per="neuron")
    assert neuron.v_threshold.raw.shape == SHAPE
    assert torch.equal(thresholds(neuron), PER_CHANNEL.expand(SHAPE))


def test_neuron_values_are_found_by_name_whatever_their_shape():
    model = nn.Sequential(
        OverTime(nn.Linear(3, 4)), LIF((4,), learn=["decay", "v_threshold"], per="neuron"),
        OverTime(nn.Linear(4, 2)), LI(learn=["decay"]),
    )  # fmt: skip
    named = {"1.decay.keep.raw", "1.v_threshold.raw", "3.decay.keep.raw"}
    assert neuron_values(model) == named
    assert neuron_values(model[3]) == {"decay.keep.raw"}
    assert named < dict(model.named_parameters()).keys()


def test_signatures_tell_every_option():
    shared = list(inspect.signature(LIF).parameters)
    for build, own in ((ALIF, ["tau_adaptation", "adaptation_decay", "beta"]), (IF, [])):
        leak = [] if build is IF else ["tau", "decay_input", "decay"]
        named = list(inspect.signature(build).parameters)
        assert named == ["shape", *own, *leak, *shared[4:]]
    assert inspect.signature(ALIF).parameters["v_threshold"].default == 1.0


@pytest.mark.parametrize(
    ("build", "arguments"),
    [(IF, {"tau": 2.0}), (IF, {"decay_input": False}), (ALIF, {"v_treshold": 1.0})],
)
def test_options_that_a_neuron_has_not_are_refused(build, arguments):
    (name,) = arguments
    with pytest.raises(TypeError, match=name):
        build(**arguments)


def test_ternary_layers_compute_their_functions():
    x_seq = 2 * input_seq()
    options = {"v_threshold": 0.5, "tau": 4.0, "decay_input": False}
    given = {"v_threshold": 0.5, "decay": euler(4.0, decay_input=False)}
    assert torch.equal(
        TernaryLIF(gap=0.5, **options)(x_seq), ternary_lif(x_seq, gap=0.5, **given)[0]
    )
    spikes = TernarySpike(amplitude=2.0, **options)(x_seq)
    assert torch.equal(spikes, ternary_spike(x_seq, amplitude=2.0, **given)[0])


def test_what_ternary_neurons_cannot_be_is_refused():
    with pytest.raises(ValueError, match="gap must be > 0"):
        TernaryLIF(gap=0.0)
    with pytest.raises(ValueError, match="amplitude must be > 0"):
        TernarySpike(amplitude=-1.0)
    with pytest.raises(ValueError, match="v_reset must be 0"):
        TernarySpike(v_reset=0.5)
