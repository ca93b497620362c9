"""EICIL: what each kind of epoch may change, and the cycle of kinds."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikeloom.functional import stdp_conv2d, stdp_linear
from spikeloom.kernels import use
from spikeloom.layers import IF, LIF, BatchNorm, OverTime
from spikeloom.learning import BPTT, EICIL, Batch, Metrics, Progress, Unsupported
from spikeloom.learning.eicil import PRESETS
from spikeloom.learning.plastic import recorded
from spikeloom.losses.rate import RateCrossEntropy
from spikeloom.run import checkpoint, session
from spikeloom.run.config import ConfigError
from spikeloom.run.record import LAST
from tests.run.recipe import tiny
from tests.run.test_resume import StopAfter, StopError, same_end
from tests.small import CLASSES, IMAGE, small

LOSS = RateCrossEntropy()
FAMILIES = ["spiking_mlp", "spiking_vgg9", "spiking_resnet20"]


def at(epoch: int) -> Progress:
    return Progress(epoch=epoch, epochs=10, update=epoch, updates=10)


def batch(n: int = 4, T: int = 2) -> Batch:
    return Batch(torch.rand(T, n, *IMAGE), torch.randint(CLASSES, (n,)))


def network(name: str = "spiking_vgg9", **how: Any) -> nn.Module:
    wide = {"hidden": (32, 32), "width": 1} if name == "spiking_mlp" else {"width": 1 / 8}
    return small(name, neurons="if", **wide, **how)


def stepped(learner: Any, model: nn.Module, given: Batch, epoch: int = 0) -> tuple[Metrics, Any]:
    model = learner.prepare(copy.deepcopy(model))
    model.train()
    seen = learner.step(model, given, LOSS, at(epoch))
    return seen, {name: p.grad for name, p in model.named_parameters()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("cycle", ["E", "EI"])
def test_an_excitatory_step_is_bptt_to_the_bit(name: str, cycle: str) -> None:
    """Identity 1, one step."""
    model, given = network(name), batch()
    want, plain = stepped(BPTT(), model, given)
    seen, found = stepped(EICIL(cycle=cycle), model, given)
    assert same(found, plain)
    assert torch.equal(seen.loss, want.loss)
    assert not seen.increments


@pytest.mark.parametrize(
    ("learner", "same_as_bptt"),
    [
        ({"name": "eicil", "cycle": "E"}, True),
        ({"name": "eicil", "cycle": "EJ", "eta": 0.0}, True),
        ({"name": "eicil", "cycle": "EJ", "eta": 0.1}, False),
        ({"name": "eicil", "cycle": "EI", "eta": 0.0}, False),
    ],
    ids=str,
)
def test_whole_runs_equal_bptt_where_they_should(
    tmp_path: Path, learner: dict[str, Any], same_as_bptt: bool
) -> None:
    """Identities 1 and 2: weights, moments and random numbers at the end of a run.

    By the readable functions: looking at spikes takes fused layers apart, which then round anew.
    """
    ends = []
    for name, given in (("bptt", "bptt"), ("eicil", learner)):
        with use("truth"):
            session.train(tiny(phase__0__learner=given), tmp_path / name)
        ends.append(checkpoint.load_state(tmp_path / name / LAST)[0])
    assert same(*ends) == same_as_bptt


def test_without_a_rate_nothing_moves_in_an_inhibitory_epoch(tmp_path: Path) -> None:
    """Identity 2, with the moments and the decay of Adam, which must rest as well."""
    adam = {"name": "adam", "lr": 0.01, "weight_decay": 0.1}
    ends = []
    for epochs in (1, 2):
        changes: dict[str, Any] = {"phase__0__optimizer": adam, "phase__0__epochs": epochs}
        changes["phase__0__schedule"] = "constant"
        changes["phase__0__learner"] = {"name": "eicil", "cycle": "EI", "eta": 0.0}
        session.train(tiny(**changes), tmp_path / str(epochs))
        tensors, _ = checkpoint.load_state(tmp_path / str(epochs) / LAST)
        ends.append({k: v for k, v in tensors.items() if not k.startswith("random")})
    assert same(*ends)
    assert any(name.startswith("optimizer") for name in ends[0])


def test_an_inhibitory_epoch_moves_the_chosen_weights_and_nothing_else(tmp_path: Path) -> None:
    ends = []
    for epochs in (1, 2):
        changes: dict[str, Any] = {"phase__0__epochs": epochs, "phase__0__schedule": "constant"}
        changes["model__neuron"] = {"name": "if", "v_threshold": 0.2}
        learner = {"name": "eicil", "cycle": "EI", "eta": 0.05}
        session.train(tiny(phase__0__learner=learner, **changes), tmp_path / str(epochs))
        ends.append(checkpoint.load_state(tmp_path / str(epochs) / LAST)[0])
    moved = {k for k in ends[0] if not torch.equal(ends[0][k], ends[1][k])}
    weights = {f"model/features.{i}.module.weight" for i in (4, 7)}
    weights |= {"model/classifier.1.module.weight"}
    assert {name for name in moved if not name.startswith("random")} == weights
    for name in weights:
        assert ends[1][name].norm() < ends[0][name].norm(), "weights shrink towards zero"


@pytest.mark.parametrize("name", FAMILIES)
def test_increments_are_the_rule_on_the_spikes_of_the_pass(name: str) -> None:
    model, given = network(name, norms="none"), batch()
    learner = EICIL(cycle="I", eta=0.5, tau_post=10.0)
    seen, grads = stepped(learner, model, given)
    assert all(grad is None for grad in grads.values())
    assert any(change.any() for change in seen.increments.values())
    with torch.no_grad(), recorded(model) as record:
        model(given.x_seq)
    assert record.first not in seen.increments
    assert {record.first, *seen.increments} == set(record.post)
    for weight, change in seen.increments.items():
        layer = model.get_submodule(weight.removesuffix(".weight"))
        (pre,), (post,) = record.pre[weight], record.post[weight]
        if isinstance(layer, nn.Linear):
            want = stdp_linear(pre, post, layer.weight, tau_post=10.0)
        else:
            how = {"stride": layer.stride, "padding": layer.padding}
            want = stdp_conv2d(pre, post, layer.weight, tau_post=10.0, **how)
        torch.testing.assert_close(change, 0.5 * want)


def test_every_layer_in_front_of_neurons_is_found_in_each_kind_of_block() -> None:
    for residual in ("standard", "sew", "membrane"):
        model = small("spiking_resnet20", neurons="if", width=1 / 4, residual=residual)
        seen, _ = stepped(EICIL(cycle="I"), model, batch())
        convs = {f"{name}.weight" for name, m in model.named_modules() if isinstance(m, nn.Conv2d)}
        assert set(seen.increments) == convs - {"stem.0.module.weight"}, residual


def test_a_joint_step_adds_increments_from_its_own_pass_to_bptt() -> None:
    model, given = network(norms="none"), batch()
    _, plain = stepped(BPTT(), model, given)
    joint, found = stepped(EICIL(cycle="J"), model, given)
    alone, _ = stepped(EICIL(cycle="I"), model, given)
    assert same(found, plain)
    assert same(dict(joint.increments), dict(alone.increments))
    assert any(change.any() for change in joint.increments.values())


def test_a_joint_step_in_pieces_sees_every_spike_once() -> None:
    """With little memory the backward runs the pieces of a long sequence anew."""
    net = nn.Sequential(
        OverTime(nn.Linear(6, 5)), LIF(), OverTime(nn.Linear(5, 5)), LIF(), nn.Linear(5, 3)
    )
    for i in (0, 2):
        nn.init.uniform_(net[i].module.weight, 0.1, 1.0)
    given = Batch(3 * torch.rand(40, 4, 6), torch.randint(3, (4,)))
    whole, _ = stepped(EICIL(cycle="J"), net, given)
    with use(memory="low"):
        pieces, _ = stepped(EICIL(cycle="J"), net, given)
    assert set(whole.increments) == {"2.module.weight"}
    torch.testing.assert_close(dict(pieces.increments), dict(whole.increments))
    assert whole.increments["2.module.weight"].any()


@pytest.mark.parametrize("frozen_norms", [True, False])
def test_norms_rest_in_an_inhibitory_step_unless_told_otherwise(frozen_norms: bool) -> None:
    model = network().train()
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    EICIL(cycle="I", frozen_norms=frozen_norms).step(model, batch(), LOSS, at(0))
    assert same(before, dict(model.named_buffers())) == frozen_norms
    assert all(m.training for m in model.modules() if isinstance(m, BatchNorm))


@pytest.mark.parametrize("frozen_norms", [True, False])
def test_dropout_is_off_in_an_inhibitory_step(frozen_norms: bool) -> None:
    learner, given = EICIL(cycle="I", frozen_norms=frozen_norms), batch()
    model = network("spiking_mlp", dropout=0.5)
    once, _ = stepped(learner, model, given)
    again, _ = stepped(learner, model, given)
    assert same(dict(once.increments), dict(again.increments))
    assert torch.equal(once.logits_seq, again.logits_seq)


def test_names_that_match_nothing_are_refused_without_plasticity_too() -> None:
    with pytest.raises(Unsupported, match="nope"):
        EICIL(cycle="E", layers=["nope"]).step(network(), batch(), LOSS, at(0))


@pytest.mark.parametrize("word", ["EI", "EEIEEJ", "J", "IEEEE"])
def test_the_cycle_is_the_word_repeated(word: str) -> None:
    """Identity 7."""
    learner = EICIL(cycle=word)
    assert "".join(map(learner.kind, range(2 * len(word)))) == 2 * word
    model, given = network("spiking_mlp"), batch()
    for epoch, kind in enumerate(2 * word):
        seen, grads = stepped(learner, model, given, epoch)
        assert bool(seen.increments) == (kind in "IJ")
        assert any(grad is not None for grad in grads.values()) == (kind in "EJ")


@pytest.mark.parametrize("updates", [3, 7, 10, 18])
def test_a_resumed_run_goes_on_in_its_cycle(tmp_path: Path, updates: int) -> None:
    """Identity 7: seven updates an epoch, stopped within and between epochs."""
    learner = {"name": "eicil", "cycle": "EIJ", "eta": 0.05}
    config = tiny(
        phase__0__learner=learner, phase__0__epochs=4, phase__0__ema=0.5,
        run__checkpoint_minutes=1e-9, model__neuron={"name": "if", "v_threshold": 0.2},
    )  # fmt: skip
    session.train(config, tmp_path / "whole")
    with pytest.raises(StopError):
        session.train(config, tmp_path / "broken", watch=lambda task: StopAfter(updates))
    session.train(config, tmp_path / "broken", resume=True)
    same_end(tmp_path / "whole", tmp_path / "broken")


def test_labels_do_not_matter_in_an_inhibitory_step_and_no_graph_is_built() -> None:
    """Identity 8."""
    model, given = network(), batch(8)
    one, _ = stepped(EICIL(cycle="I"), model, given)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(saved.append, lambda x: x):
        other, _ = stepped(EICIL(cycle="I"), model, given._replace(y=given.y.flip(0)))
    assert not torch.equal(one.loss, other.loss)
    assert same(dict(one.increments), dict(other.increments))
    assert saved == [], "nothing is kept for a backward"
    for tensor in (one.loss, one.logits_seq, *one.increments.values()):
        assert not tensor.requires_grad


def test_patterns_choose_layers_the_first_one_included() -> None:
    model, given = network("spiking_vgg9"), batch()
    learner = EICIL(cycle="I", layers=["features.0.*", "classifier.*"])
    seen, _ = stepped(learner, model, given)
    assert set(seen.increments) == {"features.0.module.weight", "classifier.1.module.weight"}
    with pytest.raises(Unsupported, match=r"'head\.\*' matches no weight.*features\.3"):
        stepped(EICIL(cycle="I", layers=["head.*"]), model, given)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_with_its_scaler_trains(tmp_path: Path, precision: str) -> None:
    learner = {"name": "eicil", "cycle": "EIJ"}
    result = session.train(
        tiny(phase__0__learner=learner, phase__0__epochs=3, run__precision=precision), tmp_path
    )
    assert result["train"]["loss"] < 3


def test_what_cannot_work_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Did you mean 'K6'"):
        EICIL(cycle="k6")
    with pytest.raises(ValueError, match="any word"):
        EICIL(cycle="")
    with pytest.raises(ValueError, match="eta >= 0"):
        EICIL(eta=-1.0)
    with pytest.raises(ValueError, match="reduction"):
        EICIL(reduction="max")  # type: ignore[arg-type]
    shared = nn.Linear(6, 6)
    twice = nn.Sequential(OverTime(nn.Linear(6, 6)), IF(), shared, IF(), shared, IF())
    with pytest.raises(Unsupported, match="more than once"):
        stepped(EICIL(), twice, Batch(torch.rand(2, 3, 6), torch.randint(6, (3,))))
    with pytest.raises(Unsupported, match=r"only the first layer, stages\.0\.0\.module\.weight"):
        stepped(EICIL(), small("spiking_mlp"), batch())
    with pytest.raises(ConfigError, match="no convolution or linear map drives spiking"):
        session.train(tiny(model__neuron="relu", phase__0__learner="eicil"), tmp_path / "run")


def test_presets_are_words() -> None:
    assert EICIL(cycle="K6").cycle == "EEIEEJ"
    assert all(EICIL(cycle=name).cycle == word for name, word in PRESETS.items())
    counts = {name: tuple(map(word.count, "IEJ")) for name, word in PRESETS.items()}
    assert counts["K6"] == (1, 4, 1)
    assert counts["K9"] == (2, 6, 1)
    assert all(len(word) == abs(int(name[1:])) for name, word in PRESETS.items() if "-" not in name)
