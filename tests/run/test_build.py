"""Parts are found by the type of an argument, checked strictly, and fitted to each other."""

from pathlib import Path
from typing import Any, Literal, Unpack

import pytest
import torch
from torch import nn

from spikeloom import registry
from spikeloom.functional import Decay, Triangle, euler, exponential
from spikeloom.layers import IF, LI, LIF, Leaking, Neuron, ThresholdBatchNorm
from spikeloom.losses import CountMSE
from spikeloom.registry import register
from spikeloom.run.build import bind, build, kind_of
from spikeloom.run.catalogue import arguments
from spikeloom.run.config import Config, ConfigError, Part, load
from spikeloom.run.inspect import describe
from spikeloom.run.session import train, twin_of
from spikeloom.run.task import network
from tests.run.recipe import tiny


def part(name: str, **arguments: Any) -> Part:
    return Part.model_validate({"name": name, **arguments})


def net(*overrides: str) -> nn.Module:
    config = load("digits_vgg", ["model.width=0.05", "model.T=2", *overrides])
    return network(config, (1, 8, 8), 10)


def scales(model: nn.Module) -> set[float]:
    return {m.scale for m in model.modules() if isinstance(m, ThresholdBatchNorm)}


# ---- parts by type


@pytest.mark.parametrize(
    ("neuron", "key"), [("cuba_lif", "synapse"), ("alif", "adaptation_decay"), ("lif", "decay")]
)
def test_decays_are_parts_whatever_the_argument_is_called(neuron: str, key: str) -> None:
    made = build(part(neuron, **{key: {"name": "exponential", "tau": 5}}), "neuron")
    assert made.arguments()[key] == exponential(5.0)
    with pytest.raises(ConfigError, match=r"unknown decay 'exponentail'\. Did you mean 'expon"):
        build(part(neuron, **{key: {"name": "exponentail"}}), "neuron")
    with pytest.raises(ConfigError, match=f"{key} = 3: expected a name, or a table"):
        build(part(neuron, **{key: 3}), "neuron")


@pytest.mark.parametrize(
    ("key", "hint", "kind"),
    [
        ("synapse", Decay, "decay"),
        ("synapse", Decay | None, "decay"),
        ("neuron", None, "neuron"),
        ("neuron", Literal["a", "b"], None),
        ("loss", str, None),
        ("tau", float | None, None),
    ],
)
def test_kind_follows_the_type_then_the_name(key: str, hint: Any, kind: str | None) -> None:
    assert kind_of(key, hint) == kind


# ---- strict values


@pytest.mark.parametrize(
    ("kind", "name", "given", "want"),
    [
        ("neuron", "lif", {"tau": "3"}, "valid number"),
        ("neuron", "lif", {"tau": True}, "valid number"),
        ("neuron", "lif", {"detach_reset": 1}, "valid boolean"),
        ("neuron", "lif", {"detach_reset": "true"}, "valid boolean"),
        ("neuron", "lif", {"per": {"decay": "image"}}, "'layer', 'channel' or 'neuron'"),
        ("norm", "bn", {"eps": "1e-5"}, "valid number"),
        ("loss", "rate_ce", {"label_smoothing": True}, "valid number"),
        ("schedule", "steps", {"at": 0.5}, ""),
        ("optimizer", "sgd", {"lr": True}, "valid number"),
        ("optimizer", "sgd", {"lr": "0.01"}, "valid number"),
    ],
)
def test_no_type_is_taken_for_another(
    kind: str, name: str, given: dict[str, Any], want: str
) -> None:
    (key,) = given
    with pytest.raises(ConfigError, match=f"{key} = .*{want}"):
        bind(part(name, **given), kind)


def test_whole_numbers_lists_and_words_stand_for_what_toml_cannot_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry, "_entries", {k: dict(v) for k, v in registry._entries.items()})

    @register("loss", "typed")
    def typed(*, share: float, ends: tuple[float, float], file: Path, word: Literal["a", "b"]):
        return share, ends, file, word

    given = part("typed", share=1, ends=[0, 1], file="a/b", word="b")
    share, ends, file, word = build(given, "loss")
    assert (share, ends, file, word) == (1.0, (0.0, 1.0), Path("a/b"), "b")
    assert isinstance(share, float)


def test_values_may_be_learnt_each_in_its_own_way() -> None:
    model = net('model.neuron.learn=["decay","v_threshold"]', "model.neuron.per.decay=neuron")
    first = next(m for m in model.modules() if isinstance(m, LIF))
    assert first.decay.keep.raw.dim() == 3
    assert first.v_threshold.raw.dim() == 0


@pytest.mark.parametrize("neuron", ["if", "alif", "cuba_lif"])
def test_options_that_neurons_share_are_checked_as_their_own(neuron: str) -> None:
    made = build(part(neuron, v_threshold=2, surrogate="triangle", reset="soft"), "neuron")
    assert made.arguments()["v_threshold"] == 2.0
    assert made.surrogate == Triangle()
    with pytest.raises(ConfigError, match=r"'v_treshold'\. Did you mean 'v_threshold'"):
        build(part(neuron, v_treshold=2), "neuron")
    with pytest.raises(ConfigError, match="v_reset = '0': Input should be a valid number"):
        build(part(neuron, v_reset="0"), "neuron")
    with pytest.raises(ConfigError, match="unknown argument 'options'"):
        build(part(neuron, options={}), "neuron")


def test_a_neuron_of_ones_own_may_pass_options_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_entries", {k: dict(v) for k, v in registry._entries.items()})

    @register("neuron", "noisy")
    class Noisy(LIF):
        def __init__(
            self, shape: Any = None, *, sigma: float = 0.1, **options: Unpack[Leaking]
        ) -> None:
            super().__init__(shape, **options)
            self.sigma = sigma

    made = build(part("noisy", sigma=1, tau=4, decay_input=False), "neuron")
    assert made.arguments()["decay"] == euler(4.0, decay_input=False)
    assert arguments("neuron", "noisy")["sigma"] == 0.1
    assert arguments("neuron", "noisy")["decay_input"] is True


# ---- one threshold


def test_threshold_norms_follow_the_neurons() -> None:
    assert scales(net("model.norm=tdbn", "model.neuron.v_threshold=0.5")) == {0.5}
    assert scales(net("model.norm=tdbn")) == {1.0}
    same = "model.norm={name='tdbn',v_threshold=0.5,alpha=0.5}"
    assert scales(net(same, "model.neuron.v_threshold=0.5")) == {0.25}


@pytest.mark.parametrize("neuron", ["lif", "{name='lif',v_threshold=2}"])
def test_a_norm_for_another_threshold_is_refused(neuron: str) -> None:
    with pytest.raises(ConfigError, match=r"v_threshold = 0\.5, but the neurons fire at [12]"):
        net("model.norm={name='tdbn',v_threshold=0.5}", f"model.neuron={neuron}")


def test_the_twin_keeps_the_norm_of_its_model() -> None:
    assert scales(net("model.norm={name='tdbn',v_threshold=0.5}", "model.neuron=relu")) == {0.5}


# ---- read-outs

FAMILIES = ("spiking_vgg5", "spiking_resnet20", "spiking_mlp")


def with_readout(name: str, readout: Any, **others: Any) -> tuple[Config, nn.Module]:
    config = tiny(model={"name": name, "width": 0.25, "T": 2, "readout": readout, **others})
    return config, network(config, (1, 8, 8), 10)


@pytest.mark.parametrize("name", FAMILIES)
def test_models_may_end_in_spikes_that_losses_count(name: str) -> None:
    config, model = with_readout(name, "spikes", neuron={"name": "lif", "v_threshold": 0.1})
    out = model(3 * torch.randn(2, 4, 1, 8, 8))
    assert out.shape == (2, 4, 10)
    assert set(out.unique().tolist()) == {0.0, 1.0}
    CountMSE()(out, torch.arange(4)).backward()
    assert all(p.grad is not None for p in model.parameters())
    last = [m for m in model.modules() if isinstance(m, LIF)][-1]
    assert last.arguments()["v_threshold"] == 0.1
    twin = network(twin_of(config), (1, 8, 8), 10)
    assert not any(isinstance(m, Neuron) for m in twin.modules())


@pytest.mark.parametrize("name", FAMILIES)
def test_models_may_end_in_leaky_integrators(name: str) -> None:
    _, plain = with_readout(name, "none")
    readout = {"name": "li", "tau": 4.0, "learn": ["decay"], "per": "channel"}
    _, model = with_readout(name, readout)
    last = [m for m in model.modules() if isinstance(m, LI)][-1]
    assert last.decay.keep.raw.shape == (10,)
    missing, _ = model.load_state_dict(plain.state_dict(), strict=False)
    assert len(missing) == 1  # its decays: nothing else is named otherwise
    x_seq = torch.randn(2, 4, 1, 8, 8)
    assert torch.equal(model.eval()(x_seq), last(plain.eval()(x_seq)))


def test_read_outs_may_have_neurons_of_their_own() -> None:
    readout = {"name": "spikes", "neuron": {"name": "if", "v_threshold": 2.0}}
    _, model = with_readout("spiking_mlp", readout)
    assert [type(m) for m in model.modules() if isinstance(m, Neuron)] == [LIF, IF]


def test_unknown_read_outs_are_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown readout 'spike'\. Did you mean 'spikes'"):
        with_readout("spiking_mlp", "spike")
    with pytest.raises(ConfigError, match="readout 'li': unknown argument 'taau'"):
        with_readout("spiking_mlp", {"name": "li", "taau": 3.0})
    with pytest.raises(ConfigError, match="tau must be > 1"):
        with_readout("spiking_mlp", {"name": "li", "tau": 0.5})


def test_a_run_with_spikes_for_an_answer_trains(tmp_path: Path) -> None:
    config = tiny(model__readout="spikes", phase__0__loss="count_mse", phase__0__epochs=1)
    assert train(config, tmp_path)["test"]["accuracy"] >= 0
    assert describe(config).layers[-1].neurons == 10
