"""NIR: every network that can be said comes back with the same spikes; the rest is refused."""

from collections import OrderedDict
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from spikeloom.deploy import (
    CONVENTIONS,
    PRIMITIVES,
    Graph,
    Unsupported,
    from_nir,
    graph_of,
    nir_graph,
    to_nir,
    verify,
)
from spikeloom.deploy.exchange import nir_file
from spikeloom.deploy.exchange.pieces import Delay, Heaviside, MultiSpike, Scale
from spikeloom.functional import NO_DECAY, exponential
from spikeloom.layers import (
    ALIF,
    IF,
    LI,
    LIF,
    LTMD,
    BatchNorm,
    CubaLIF,
    Linear,
    Neuron,
    OverTime,
    RecurrentLIF,
    TemporalEffectiveBatchNorm,
)
from spikeloom.layers.learnable import NeuronValue
from spikeloom.models import SpikingDenseNet, SpikingMLP, SpikingResNet, SpikingVGG, STMixer
from tests.deploy.golden_peers import currents

nir = pytest.importorskip("nir")
T, N, IMAGE = 4, 3, (3, 8, 8)


EAGER = partial(LIF, v_threshold=0.5)


def built(model, *arguments, neuron=EAGER, **options):
    """A model whose norms have seen data."""
    torch.manual_seed(0)
    options = {"in_shape": IMAGE, "num_classes": 5, "norm": BatchNorm} | options
    net = model(*arguments, neuron=neuron, **options)
    with torch.no_grad():
        for _ in range(5):
            net(3 * torch.rand(T, N, *IMAGE))
    return net.eval()


NETWORKS = {
    "vgg, max-pooling": lambda: built(SpikingVGG, (8, "P", 8), (12,), pool="max"),
    "vgg, leaky read-out": lambda: built(SpikingVGG, (8, "P"), (12,), readout=LI),
    "densenet": lambda: built(SpikingDenseNet, (2, 1), growth=2, stem=4),
    "stmixer of convolutions": lambda: built(STMixer, 2, 8, 2, mixer="conv"),
    "resnet, standard": lambda: built(SpikingResNet, (4, 8), (1, 2), (6,)),
    "resnet, sew": lambda: built(SpikingResNet, (4, 8), (1, 2), residual="sew"),
    "resnet, membrane": lambda: built(SpikingResNet, (4, 8), (1, 2), residual="membrane"),
    "recurrent": lambda: built(SpikingMLP, (9, 9), neuron=partial(RecurrentLIF, v_threshold=0.5)),
    "recurrent images": lambda: built(SpikingVGG, (8, "P"), (), neuron=RecurrentLIF),
    "current-based": lambda: built(
        SpikingMLP, (9,), neuron=lambda s: CubaLIF(s, v_threshold=0.5, learn=["decay"])
    ),
    "soft reset": lambda: built(SpikingMLP, (9,), neuron=lambda s: IF(s, reset="soft")),
    "thresholds below rest": lambda: built(
        SpikingVGG, (8, "P"), (), neuron=lambda s: LTMD(s, kappa=-0.2)
    ),
    "per channel": lambda: built(
        SpikingVGG, (8, "P"), (), neuron=lambda s: LIF(s, v_threshold=0.5, per="channel")
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_comes_back_with_the_same_spikes(name, tmp_path):
    net, x_seq = NETWORKS[name](), 3 * torch.rand(T, N, *IMAGE)
    done = to_nir(net, tmp_path / "net.nir", x_seq)
    neurons = [module for module in net.modules() if isinstance(module, Neuron)]
    assert len(done.agreement) == len(neurons)  # none is left out of the comparison
    assert all(layer.differing == 0 for layer in done.agreement)
    again = from_nir(tmp_path / "net.nir")
    with torch.no_grad():
        assert torch.allclose(again(x_seq), net(x_seq), atol=1e-5)
    assert sum(layer.count for layer in done.agreement) > 0
    assert all(layer.differing == 0 for layer in verify(tmp_path / "net.nir"))


def test_layers_that_run_twice_or_have_taken_names_or_none_are_compared_one_by_one(tmp_path):
    x_seq = torch.rand(T, N, 3)
    shared = LIF(v_threshold=0.2)
    twice = nn.Sequential(OverTime(Linear(3, 3)), shared, OverTime(Linear(3, 3)), shared)
    taken = nn.Sequential(OrderedDict(input=OverTime(Linear(3, 3)), output=LIF(v_threshold=0.2)))
    for net, names in ((twice, ["1", "1_2"]), (taken, ["output_2"]), (LIF(), ["layer"])):
        done = to_nir(net, tmp_path / "net.nir", x_seq)
        assert [layer.layer for layer in done.agreement] == names
        assert all(layer.differing == 0 for layer in done.agreement)


@pytest.mark.parametrize("wrong", ["1", "2"])
def test_a_file_that_does_something_else_is_refused_and_not_kept(wrong, monkeypatch, tmp_path):
    def misread(path):
        net = from_nir(path)
        module = net.named()[wrong]
        if isinstance(module, Neuron):
            module.v_threshold = NeuronValue(0.6)
        else:
            module.module.weight.data *= 2
        return net

    net = nn.Sequential(Scale(torch.tensor(1.0)), LIF(v_threshold=0.3), OverTime(Linear(3, 2)))
    net = Graph(
        {str(i): layer for i, layer in enumerate(net)},
        [("input", "0"), ("0", "1"), ("1", "2"), ("2", "output")], in_shape=(3,),
    )  # fmt: skip
    path = tmp_path / "net.nir"
    path.write_bytes(b"what was there")
    monkeypatch.setattr(nir_file, "from_nir", misread)
    words = {"1": "of 36 spikes of 1 differ", "2": "what comes out is .* apart"}[wrong]
    with pytest.raises(Unsupported, match=f"does not do what the network does: .*{words}"):
        to_nir(net, path, torch.rand(T, N, 3))
    assert [each.name for each in tmp_path.iterdir()] == ["net.nir"]
    assert path.read_bytes() == b"what was there"


@pytest.mark.parametrize("dt", [0.0, -1.0, float("inf"), float("nan")])
def test_steps_have_a_length(dt, tmp_path):
    graph = nir_graph(Graph({"a": LIF()}, [("input", "a"), ("a", "output")], in_shape=(2,)))
    for named in (None, "euler"):
        with pytest.raises(ValueError, match="dt must be > 0 seconds"):
            from_nir(graph, convention=named, dt=dt)
    with pytest.raises(ValueError, match="dt must be > 0 seconds"):
        to_nir(LIF(), tmp_path / "net.nir", torch.rand(T, N, 3), dt=dt)


def test_an_empty_sample_is_refused(tmp_path):
    with pytest.raises(ValueError, match="the sample must hold something"):
        to_nir(LIF(), tmp_path / "net.nir", torch.rand(T, 0, 3))


@pytest.mark.parametrize("rule", ["euler", "exponential"])
def test_the_equations_alone_are_those_of_the_layer(rule, tmp_path):
    """With `>` and hard reset a file needs no metadata: the named rule gives the same spikes."""
    net = nn.Sequential(OverTime(Linear(6, 5)), LIF(decay=exponential(3.0), strict=True))
    x_seq = 4 * torch.rand(20, N, 6)
    to_nir(net, tmp_path / "net.nir", x_seq, dt=1e-3, rule=rule)
    other = from_nir(tmp_path / "net.nir", convention=rule, dt=1e-3)
    assert torch.equal(other(x_seq), net(x_seq))


def test_files_are_read_by_the_type_check_of_nir(tmp_path):
    to_nir(NETWORKS["resnet, standard"](), tmp_path / "net.nir", torch.rand(T, N, *IMAGE))
    assert isinstance(nir.read(str(tmp_path / "net.nir")), nir.NIRGraph)


@pytest.mark.parametrize(
    ("convention", "neuron", "how"),
    [
        ("spikingjelly", LIF(tau=3.0, v_threshold=0.2), {"dt": 1e-4}),
        ("spikingjelly", CubaLIF(tau=3.0, tau_syn=2.0, decay_input=False), {"dt": 1e-4}),
        ("snntorch", LIF(tau=3.0, decay_input=False, strict=True), {"dt": 1e-4}),
        ("norse", LIF(tau=3.0, v_threshold=0.2, strict=True), {"dt": 1e-3}),
        ("norse", IF(strict=True), {"dt": 1e-3}),
        (
            "sinabs",
            LIF(decay=exponential(1.5), reset="soft"),
            {"dt": 1.0, "rule": "exponential"},
        ),
    ],
)
def test_a_file_written_for_a_library_is_read_by_it_as_meant(convention, neuron, how, tmp_path):
    net = nn.Sequential(OverTime(Linear(6, 5)), neuron)
    with torch.no_grad():
        net[0].module.weight.uniform_(-0.2, 0.4)
    x_seq = torch.rand(30, N, 6)
    to_nir(net, tmp_path / "net.nir", x_seq, **how)
    spikes = net(x_seq)
    assert 0 < spikes.mean() < 1
    assert torch.equal(from_nir(tmp_path / "net.nir", convention=convention)(x_seq), spikes)


def every_primitive():
    """A graph with each kind of node that NIR has."""
    torch.manual_seed(1)
    layers = {
        "conv1d": OverTime(nn.Conv1d(2, 4, 3, padding=1)),
        "flatten1d": OverTime(nn.Flatten()),
        "linear": OverTime(Linear(32, 4 * 8 * 8, bias=False)),
        "scale": Scale(torch.rand(4 * 8 * 8)),
        "lif": LIF(v_threshold=0.1),
        "affine": OverTime(Linear(256, 6)),
        "delay": Delay(torch.tensor([0, 1, 2, 0, 3, 1])),
        "if": IF(v_threshold=0.3),
        "cuba": CubaLIF(v_threshold=0.1),
        "i": LI(decay=NO_DECAY),
        "step": Heaviside(torch.full((6,), 0.2)),
        "li": LI(tau=3.0),
    }
    names = ["input", *layers, "output"]
    return Graph(layers, list(pairwise(names)), in_shape=(2, 8))


def test_every_primitive_comes_back(tmp_path):
    graph, x_seq = every_primitive(), torch.rand(7, N, 2, 8)
    to_nir(graph, tmp_path / "net.nir", x_seq)
    kinds = {type(node).__name__ for node in nir.read(str(tmp_path / "net.nir")).nodes.values()}
    assert kinds == {
        "Input", "Output", "Conv1d", "Flatten", "Linear", "Scale", "LIF", "Affine", "Delay", "IF",
        "CubaLIF", "I", "Threshold", "LI",
    }  # fmt: skip  # Conv2d and pooling are in the networks above, CubaLI below
    with torch.no_grad():
        assert torch.equal(from_nir(tmp_path / "net.nir")(x_seq), graph(x_seq))


def primitives():
    """A node of every type that the package has, and the shape of its samples."""
    from nir.ir.graph import Identity

    one, image = np.ones(2), (2, 4, 4)
    mem = {"tau_mem": 4 * one, "tau_syn": 2 * one, "r": one, "v_leak": 0 * one}
    lif = {"tau": 2 * one, "r": one, "v_leak": 0 * one}
    window = {"kernel_size": 2, "stride": 2, "padding": 0}
    conv = {"stride": 1, "padding": 1, "dilation": 1, "groups": 1, "bias": one}
    weight = np.ones((2, 2, 3, 3), np.float32)
    nodes = {
        "Affine": (nir.Affine(np.ones((3, 2)), np.ones(3)), (2,)),
        "Linear": (nir.Linear(np.ones((3, 2))), (2,)),
        "Scale": (nir.Scale(2 * one), (2,)),
        "Conv1d": (nir.Conv1d(4, weight[..., 0], **conv), (2, 4)),
        "Conv2d": (nir.Conv2d((4, 4), weight, **conv), image),
        "AvgPool2d": (nir.AvgPool2d(**{key: np.full(2, n) for key, n in window.items()}), image),
        "SumPool2d": (nir.SumPool2d(**{key: np.full(2, n) for key, n in window.items()}), image),
        "Flatten": (nir.Flatten({"input": np.array(image)}, 0, -1), image),
        "Delay": (nir.Delay(2 * one), (2,)),
        "Threshold": (nir.Threshold(0.5 * one), (2,)),
        "I": (nir.I(one), (2,)),
        "LI": (nir.LI(**lif), (2,)),
        "IF": (nir.IF(one, one), (2,)),
        "LIF": (nir.LIF(**lif, v_threshold=one), (2,)),
        "CubaLI": (nir.CubaLI(**mem), (2,)),
        "CubaLIF": (nir.CubaLIF(**mem, v_threshold=one), (2,)),
        "Identity": (Identity({"input": np.array([2])}), (2,)),
    }
    ends = [nir.Input({"input": np.array([2])}), nir.Output({"output": np.array([2])})]
    nodes["NIRGraph"] = (nir.NIRGraph({"a": ends[0], "b": ends[1]}, [("a", "b")]), (2,))
    return nodes


def kinds_of_nodes(kind):
    for each in kind.__subclasses__():
        if each.__module__.startswith("nir"):
            yield each.__name__
        yield from kinds_of_nodes(each)


def test_the_table_of_primitives_is_that_of_the_package():
    assert set(PRIMITIVES) == set(kinds_of_nodes(nir.NIRNode))
    assert {*primitives(), "Input", "Output"} == set(PRIMITIVES)
    for name, each in PRIMITIVES.items():
        assert bool(each.why) != bool(each.read and each.written), name


@pytest.mark.parametrize("kind", [name for name in PRIMITIVES if not name.endswith("put")])
def test_a_primitive_is_read_and_written_as_the_table_says(kind):
    node, shape = primitives()[kind]
    ends = [nir.Input({"input": np.array(shape)}), nir.Output({"output": np.array(shape)})]
    graph = nir.NIRGraph(
        {"input": ends[0], "it": node, "output": ends[1]}, [("input", "it"), ("it", "output")],
        type_check=False,
    )  # fmt: skip
    x_seq = torch.rand(5, N, *shape)
    found = from_nir(graph, convention="euler", dt=1.0)
    y_seq = found(x_seq)
    assert y_seq.isfinite().all()
    if kind in ("NIRGraph", "Identity"):
        assert torch.equal(y_seq, x_seq)
        return
    again = nir_graph(found, dt=1.0)
    written = {type(each).__name__ for each in again.nodes.values()} - {"Input", "Output"}
    if kind.startswith("Cuba"):
        assert kind not in written
        assert "LI" in written
    else:
        assert kind in written
    torch.testing.assert_close(from_nir(again)(x_seq), y_seq)


def test_a_primitive_of_a_later_version_is_refused_by_name():
    later = type("Izhikevich", (nir.Threshold,), {})
    with pytest.raises(Unsupported, match="Izhikevich, which is not known here; known are Input"):
        from_nir(nir.NIRGraph.from_list(later(np.ones(2))))


def test_cuba_li_integrates_twice():
    one = np.ones(2)
    node = nir.CubaLI(tau_syn=2 * one, tau_mem=4 * one, r=one, v_leak=0 * one, w_in=3 * one)
    net = from_nir(nir.NIRGraph.from_list(node), convention="euler", dt=1.0)
    x_seq = torch.rand(5, 1, 2)
    i = v = torch.zeros(1, 2)
    for x, y in zip(x_seq, net(x_seq), strict=True):
        i = i + (3 * x - i) / 2
        v = v + (i - v) / 4
        torch.testing.assert_close(y, v)


def test_the_bias_of_a_map_that_leads_back_is_there_from_the_first_step_or_not(tmp_path):
    back = Linear(2, 2)
    layers = {"fire": LIF(tau=2.0, decay_input=False), "back": OverTime(back)}
    edges = [("input", "fire"), ("fire", "back"), ("back", "fire"), ("fire", "output")]
    x_seq = 2 * torch.rand(9, 1, 2)
    s, v, spikes = torch.zeros(1, 2), torch.zeros(1, 2), []
    with torch.no_grad():
        for x in x_seq:
            h = 0.5 * v + x + back(s)
            s = (h >= 1).float()
            v = h * (1 - s)
            spikes.append(s)
        found = Graph(layers, edges, in_shape=(2,))(x_seq)
        back.bias.fill_(3.0)
        late = Graph(layers, edges, in_shape=(2,), at_rest=False)
        to_nir(late, tmp_path / "net.nir", 0 * x_seq)
        readers = (None, "spikingjelly", "snntorch")
        fired = [from_nir(tmp_path / "net.nir", convention=c)(0 * x_seq) for c in readers]
    assert torch.equal(found, torch.stack(spikes))
    assert [spikes[0].any().item() for spikes in fired] == [False, False, True]


def test_a_cycle_runs_as_in_sinabs_step_by_step():
    one = np.ones(2)
    back = np.array([[0.25, -0.5], [0.5, 0.25]], np.float32)
    nodes = {
        "input": nir.Input({"input": np.array([2])}),
        "fire": nir.LIF(2 * one, one, 0 * one, one),
        "back": nir.Affine(back, np.array([1, -1], np.float32)),
        "output": nir.Output({"output": np.array([2])}),
    }
    edges = [("input", "fire"), ("fire", "back"), ("back", "fire"), ("fire", "output")]
    net = from_nir(nir.NIRGraph(nodes, edges, type_check=False), convention="sinabs")
    by_sinabs = "011030231111103123111110"  # 2.0.3, called with one step at a time and its state
    assert "".join(str(int(s)) for s in net(currents()).flatten()) == by_sinabs


def test_a_graph_within_a_graph_is_flattened():
    one = np.ones(2)
    lif = nir.LIF(tau=2 * one, r=one, v_leak=0 * one, v_threshold=0.5 * one)
    inner = nir.NIRGraph.from_list(lif)
    outer = nir.NIRGraph(
        {"in": nir.Input(np.array([2])), "rnn": inner, "out": nir.Output(np.array([2]))},
        [("in", "rnn"), ("rnn", "out")], type_check=False,
    )  # fmt: skip
    outer.nodes["in"].input_type = {"input": np.array([2])}
    x_seq = torch.rand(6, 1, 2)
    net = from_nir(outer, convention="euler", dt=1.0)
    assert torch.equal(net(x_seq), LIF(v_threshold=0.5, strict=True)(x_seq))


def test_a_file_that_does_not_say_how_needs_a_named_convention():
    one = np.ones(2)
    graph = nir.NIRGraph.from_list(nir.LIF(tau=one, r=one, v_leak=one, v_threshold=one))
    with pytest.raises(Unsupported, match="libraries differ") as refused:
        from_nir(graph)
    assert all(name in str(refused.value) for name in CONVENTIONS)
    with pytest.raises(Unsupported, match="Did you mean 'norse'"):
        from_nir(graph, convention="nrose")
    with pytest.raises(Unsupported, match="needs dt"):
        from_nir(graph, convention="euler")


@pytest.mark.parametrize(
    ("convention", "node", "words"),
    [
        ("snntorch", nir.IF(r=np.ones(2), v_threshold=np.ones(2)), "beta = 0.9"),
        ("sinabs", nir.I(r=np.ones(2)), "reads IF, LI, LIF"),
        ("spikingjelly", nir.IF(r=np.ones(2), v_threshold=np.ones(2)), "r must be 1 / dt"),
        (
            "norse",
            nir.LIF(np.full(2, 1e-5), np.ones(2), np.zeros(2), np.ones(2)),
            "does not work with the convention 'norse'",
        ),
    ],
)
def test_a_convention_refuses_what_its_library_would_not_run(convention, node, words):
    with pytest.raises(Unsupported, match=words):
        from_nir(nir.NIRGraph.from_list(node), convention=convention)


def test_neurons_of_sinabs_fire_several_times_a_step():
    net = MultiSpike(torch.tensor([0.5]), torch.tensor([1.0]))
    assert net(torch.tensor([2.5, 0.0, -9.0])[:, None, None]).flatten().tolist() == [2, 0, 0]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: built(SpikingMLP, (4,), neuron=ALIF), "stages.0.2: ALIF .* threshold that adapts"),
        (
            lambda: built(SpikingMLP, (4,), norm=lambda c: TemporalEffectiveBatchNorm(c, T=T)),
            "stages.0.1: .* differs from step to step",
        ),
        (lambda: built(STMixer, 1, 8, 2), r"stages.0.0.body.4: TokenMixing .* leave images"),
        (
            lambda: built(STMixer, 1, 8, 2, mixer="attention"),
            "calls flatten after stages.0.0.body.query.2",
        ),
        (
            lambda: built(SpikingResNet, (4,), (1,), residual="membrane", stem="imagenet"),
            "stem.2: MaxPool2d of real values",
        ),
    ],
)
def test_what_nir_cannot_say_is_refused_by_name(make, words):
    with pytest.raises(Unsupported, match=words):
        graph_of(make(), torch.rand(T, N, *IMAGE))
