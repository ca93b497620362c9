"""Trained networks run event by event: the clocked network's spikes, and refusals with reasons."""

import copy
import doctest
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from spikeloom.deploy import EventNetwork, Unsupported, compile_events, differing_spikes
from spikeloom.deploy.events import Clocked, differing, network
from spikeloom.functional import Events, Late, encode, events_of
from spikeloom.kernels import use
from spikeloom.layers import (
    ALIF,
    IF,
    LI,
    LIF,
    BatchNorm,
    Conv2d,
    Linear,
    OverTime,
    RecurrentLIF,
    ReLU,
    TemporalEffectiveBatchNorm,
    late_spikes,
    ruled,
    spikes,
)
from spikeloom.layers.norms import StepBatchNorm, ThresholdBatchNorm
from spikeloom.models import SpikingMLP, SpikingResNet, SpikingVGG, STMixer

SHAPE = (2, 8, 8)
PAGE = Path(__file__).parents[2] / "docs" / "events.md"


def lif(shape=None, **options):
    return LIF(v_threshold=0.4, **options)


def lively(model):
    """Random statistics, as training leaves them, so that neurons fire."""
    generator = torch.Generator().manual_seed(3)
    for module in model.modules():
        if isinstance(module, BatchNorm):
            nn.init.uniform_(module.weight, 0.8, 2.0, generator=generator)
            if module.bias is not None:
                nn.init.uniform_(module.bias, -0.2, 0.5, generator=generator)
            module.running_mean.normal_(0, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    return model.eval()


def built(kind, *args, **options):
    torch.manual_seed(0)
    given = {"in_shape": SHAPE, "num_classes": 5, "neuron": lif, "norm": BatchNorm} | options
    return lively(kind(*args, **given))


def sparse(T=4, N=2, shape=SHAPE):
    generator = torch.Generator().manual_seed(1)
    x_seq = 3 * torch.rand(T, N, *shape, generator=generator, dtype=torch.float64)
    return x_seq * (torch.rand(T, N, *shape, generator=generator) < 0.3)


MODELS = {
    "stmixer": lambda: built(STMixer, 2, 16, 4),
    "stmixer, convolutions": lambda: built(STMixer, 2, 16, 4, mixer=("conv", "stm")),
    "stmixer, read-out li": lambda: built(STMixer, 1, 16, 4, readout=lambda s: LI(tau=3.0)),
    "stmixer, read-out spikes": lambda: built(
        STMixer, 1, 16, 4, readout=lambda s: spikes(s, neuron=lif)
    ),
    "standard": lambda: built(SpikingResNet, (4, 8), (1, 1), (6,)),
    "sew": lambda: built(SpikingResNet, (4, 8), (1, 1), residual="sew", norm=ThresholdBatchNorm),
    "membrane": lambda: built(SpikingResNet, (4, 8), (2, 1), residual="membrane"),
    "vgg": lambda: built(SpikingVGG, (4, "P", 6), (9,)),
    "vgg, strided": lambda: built(SpikingVGG, (4, "P", 6), (9,), pool="strided"),
    "mlp": lambda: built(SpikingMLP, (20, 9), in_shape=(128,)),
    "soft reset": lambda: built(
        SpikingVGG, (4, "P"), (9,), neuron=lambda s: IF(v_threshold=0.3, reset="soft")
    ),
    "no reset": lambda: built(SpikingVGG, (4,), (9,), neuron=lambda s: lif(reset="none")),
    "strict, v_reset": lambda: built(
        SpikingVGG, (4,), (9,), neuron=lambda s: lif(strict=True, v_reset=-0.3)
    ),
    "per channel": lambda: built(
        SpikingVGG, (4,), (9,),
        neuron=lambda s: LIF(s, v_threshold=0.4, learn=("v_threshold", "decay"), per="channel"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("T", [1, 4])
def test_without_delay_every_spike_is_that_of_the_clocked_network(name, T):
    model = MODELS[name]()
    net = compile_events(model, model.in_shape, constants="fold")
    x_seq = sparse(T).reshape(T, 2, *model.in_shape)
    run = net.run(x_seq)
    logits_seq, clocked = Clocked(model)(x_seq)
    ours = net.spike_seqs(run)
    assert set(ours) == set(clocked)
    assert sum(run.counts.spikes) > 5 * T
    assert not any(differing(ours, clocked).values())
    assert torch.allclose(run.logits_seq, logits_seq, atol=1e-12)
    assert torch.equal(run.decisions, logits_seq.mean(0).argmax(-1))


@pytest.mark.parametrize("name", ["stmixer", "standard", "vgg"])
def test_heap_and_compiled_queue_give_the_same_network(name):
    model = MODELS[name]()
    x_seq = sparse(2, 1)
    net = compile_events(model, SHAPE, constants="fold")
    fast = net.run(x_seq)
    with use("truth"):
        truth = net.run(x_seq)
    assert torch.equal(fast.logits_seq, truth.logits_seq)
    assert fast.counts == truth.counts
    assert torch.equal(fast.spikes[0], truth.spikes[0])


def test_a_static_image_is_graded_events_in_every_step():
    model = built(SpikingVGG, (4, "P"), (9,))
    x_seq = encode.constant(torch.rand(2, *SHAPE), 3)
    net = compile_events(model, SHAPE, constants="fold")
    assert not any(differing_spikes(model, net, x_seq).values())
    counts = net.run(x_seq).counts
    assert counts.inputs == x_seq.numel()
    inside = 8 * 8 * 9 - 4 * 8 * 3 + 4  # taps of a 3 x 3 kernel on 8 x 8, less those on the margin
    assert counts.multiply_accumulates == 3 * 2 * 2 * 4 * inside


def test_in_float32_potentials_the_answer_stays():
    model = built(STMixer, 2, 16, 4)
    x_seq = sparse()
    net = compile_events(model, SHAPE, constants="fold", dtype=torch.float32)
    with torch.no_grad():
        assert torch.allclose(net.run(x_seq).logits_seq, model(x_seq.float()), atol=1e-4)


def test_the_head_of_an_stmixer_costs_a_spike_one_operation_a_class():
    model = built(STMixer, 1, 16, 4)
    net = compile_events(model, SHAPE, constants="fold")
    last = [c for c in net.program.connections if c.target == len(net.program.populations)]
    assert {len(c.hops) for c in last} == {1}
    assert {c.hops[0].out_shape for c in last} == {(5, 1, 1)}


def test_a_residual_stream_is_heard_by_all_its_readers_and_sent_by_nobody():
    net = compile_events(built(STMixer, 2, 16, 4), SHAPE, constants="fold")
    names = ["input", *(p.name for p in net.program.populations)]
    heard = {
        name: [names[c.source] for c in net.program.connections if names[c.target] == name]
        for name in names
    }
    stream = ["input", "stem.main.11", "stages.0.0.body.5", "stages.0.1.body.3"]
    assert sorted(heard["stages.1.0.body.0"]) == sorted(stream)
    assert sorted(heard["stages.0.0.body.0"]) == sorted(stream[:2])


def test_every_spike_late_by_one_is_the_late_rule_of_the_clocked_network():
    model = built(SpikingVGG, (4, "P", 6), (9,), norm=lambda c: BatchNorm(c, bias=False))
    x_seq = sparse(6)
    clocked = Clocked(model)
    with ruled(clocked.model, late_spikes(1.0)):
        want, _ = clocked(x_seq)
    run = compile_events(model, SHAPE, constants="fold").run(x_seq, late=Late(1.0))
    assert torch.allclose(run.logits_seq, want, atol=1e-12)
    assert run.counts.late > 0
    assert run.counts.dropped > 0
    assert run.counts.late >= run.counts.arrivals - run.counts.inputs


def test_few_late_spikes_change_spikes_but_not_all():
    model = built(STMixer, 2, 16, 4)
    x_seq = sparse()
    net = compile_events(model, SHAPE, constants="fold")
    on_time, late = net.run(x_seq), net.run(x_seq, late=Late(0.05, most=2, seed=1))
    assert torch.equal(late.logits_seq, net.run(x_seq, late=Late(0.05, 2, 1)).logits_seq)
    same = sum(
        float((a == b).double().mean())
        for a, b in zip(
            net.spike_seqs(on_time).values(), net.spike_seqs(late).values(), strict=True
        )
    ) / len(net.spike_seqs(late))
    assert 0.8 < same < 1


def test_delays_on_synapses_are_convolutions_in_time():
    model = nn.Sequential(OverTime(Conv2d(2, 3, 3, padding=1, bias=False)), lif())
    weight = model[0].module.weight
    table = torch.randint(0, 3, weight.shape)
    x_seq = sparse(6)
    current = torch.zeros(6, 2, 3, 8, 8, dtype=torch.float64)
    for delay in range(3):
        part = copy.deepcopy(model[0]).double()
        part.module.weight.data *= table == delay
        with torch.no_grad():
            current[delay:] += part(x_seq)[: 6 - delay]
    want = lif()(current)
    net = compile_events(model, SHAPE, delays={"0": table})
    run = net.run(x_seq)
    assert torch.equal(net.spike_seqs(run)["1"].double(), want)
    assert run.counts.dropped > 0
    plain = compile_events(model, SHAPE).run(x_seq).counts
    assert run.counts.synaptic_operations < plain.synaptic_operations  # less what was dropped


def test_in_drawn_order_with_one_event_a_step_nothing_changes_in_one_layer():
    model = nn.Sequential(OverTime(Linear(9, 20, bias=False)), lif())
    events = Events(torch.arange(12), torch.randint(9, (12,)), torch.full((12,), 2.0))
    net = compile_events(model, (9,))
    drawn, turns = net.run(events, steps=12, seed=4), net.run(events, steps=12)
    assert turns.counts.spikes[0] > 0
    assert torch.equal(drawn.spikes[0], turns.spikes[0])


def test_in_drawn_order_a_network_still_answers():
    net = compile_events(built(STMixer, 2, 16, 4), SHAPE, constants="fold")
    one, other = (net.run(sparse(), seed=seed) for seed in (0, 1))
    assert one.logits_seq.isfinite().all()
    assert not torch.equal(one.logits_seq, other.logits_seq)
    assert torch.equal(one.logits_seq, net.run(sparse(), seed=0).logits_seq)


def test_constants_are_refused_folded_or_dropped():
    model = built(SpikingVGG, (4, "P"), (9,))
    with pytest.raises(Unsupported, match=r"features.2: its neurons get a constant current .*fold"):
        compile_events(model, SHAPE)
    dropped = compile_events(model, SHAPE, constants="drop").run(sparse())
    for module in model.modules():
        if isinstance(module, BatchNorm):
            module.bias.data = (
                module.running_mean * module.weight / (module.running_var + module.eps).sqrt()
            )
    without = compile_events(model, SHAPE, constants="fold").run(sparse())
    assert torch.allclose(dropped.logits_seq, without.logits_seq, atol=1e-4)
    with pytest.raises(ValueError, match="constants must be"):
        compile_events(model, SHAPE, constants="keep")


def test_the_bias_of_the_read_out_is_no_constant_of_neurons():
    model = nn.Sequential(OverTime(Linear(9, 8, bias=False)), lif(), OverTime(Linear(8, 3)))
    nn.init.constant_(model[2].module.bias, 0.5)
    compile_events(model, (9,))


REFUSED = {
    r"features.3: max pooling .* order of spikes": lambda: built(
        SpikingVGG, (4, "P"), (9,), pool="max"
    ),
    r"stem.9: max pooling": lambda: built(STMixer, 1, 16, 4, patch="sps"),
    r"stages.0.0.body: SpikingSelfAttention multiplies spikes with spikes": lambda: built(
        STMixer, 1, 16, 4, mixer="attention"
    ),
    r"features.1: StepBatchNorm scales each step differently": lambda: built(
        SpikingVGG, (4,), (9,), norm=lambda c: StepBatchNorm(c, T=4)
    ),
    r"features.1: Temporal.* scales each step differently": lambda: built(
        SpikingVGG, (4,), (9,), norm=lambda c: TemporalEffectiveBatchNorm(c, T=4)
    ),
    r"features.2: ALIF neurons are not built for events": lambda: built(
        SpikingVGG, (4,), (9,), neuron=lambda s: ALIF()
    ),
    r"features.2: RecurrentLIF neurons are not built": lambda: built(
        SpikingVGG, (4,), (9,), neuron=RecurrentLIF
    ),
    r"features.2: ReLU puts out numbers at every step": lambda: built(
        SpikingVGG, (4,), (9,), neuron=lambda s: ReLU()
    ),
    r"1: leaky integrators send numbers": lambda: nn.Sequential(
        OverTime(Conv2d(2, 3, 1, bias=False)), LI(), lif()
    ),
    r"the model calls relu": lambda: Calling(torch.relu),
    r"0: averages over windows that are not all alike": lambda: nn.Sequential(
        OverTime(nn.AvgPool2d(3, ceil_mode=True)), lif()
    ),
}


class Calling(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.conv, self.function, self.neuron = OverTime(Conv2d(2, 3, 1)), function, lif()

    def forward(self, x_seq):
        return self.neuron(self.function(self.conv(x_seq)))


@pytest.mark.parametrize("reason", REFUSED)
def test_what_needs_a_clock_is_refused_by_name_and_reason(reason):
    with pytest.raises(Unsupported, match=f"cannot run event by event: .*{reason}"):
        compile_events(REFUSED[reason](), SHAPE, constants="fold")


def test_delays_that_fit_nothing_are_refused():
    model = nn.Sequential(OverTime(Conv2d(2, 3, 1, bias=False)), lif())
    with pytest.raises(ValueError, match="no weights to delay are those of 7"):
        compile_events(model, SHAPE, delays={"7": torch.zeros(3, 2, 1, 1).long()})
    for table in (torch.zeros(3, 2), torch.zeros(3, 3).long(), torch.full((3, 2), -1)):
        with pytest.raises(ValueError, match="0: delays are whole steps"):
            compile_events(model, SHAPE, delays={"0": table})


def test_runs_refuse_what_does_not_fit():
    net = compile_events(nn.Sequential(OverTime(Linear(9, 4, bias=False)), lif()), (9,))
    with pytest.raises(ValueError, match=r"sequences \[T, N, 9\]"):
        net.run(torch.rand(3, 2, 8))
    with pytest.raises(ValueError, match="give steps"):
        net.run(events_of(torch.rand(3, 9)))


def test_the_model_stays_as_it_is_and_is_not_followed():
    model = built(SpikingMLP, (20,), in_shape=(9,), norm=BatchNorm).train()
    before = copy.deepcopy(model.state_dict())
    net = compile_events(model, (9,), constants="fold")
    assert model.training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    x_seq = sparse(3, 1, (9,))
    want = net.run(x_seq).logits_seq
    with torch.no_grad():
        for value in model.parameters():
            value.zero_()
    assert torch.equal(net.run(x_seq).logits_seq, want)
    assert "stages.0.2" in str(net)
    assert isinstance(net, EventNetwork)


def test_the_page_about_events_runs():
    for snippet in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL):
        exec(compile(snippet, "events.md", "exec"), {})


def test_the_docstring_runs():
    results = doctest.testmod(network)
    assert results.attempted > 0
    assert results.failed == 0
