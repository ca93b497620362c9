"""Sleep between updates: when, what noise and STDP do, and the map of the weights."""

import pytest
import torch

from spikeloom.callbacks import SleepBetween
from spikeloom.functional import spike_trace, totals, toward
from spikeloom.learning import Progress, Unsupported
from spikeloom.models import RecurrentEI
from spikeloom.run import session
from spikeloom.run.config import ConfigError
from tests.run.recipe import tiny
from tests.run.test_resume import same_end
from tests.small import small

MLP = {
    "name": "spiking_mlp", "hidden": [20], "T": 3, "norm": "none", "readout": "spikes",
    "neuron": {"name": "lif", "tau": 20.0, "decay_input": False},
}  # fmt: skip


def mlp(**arguments):
    torch.manual_seed(0)
    return small("spiking_mlp", norms="none", hidden=(128,), **arguments)


def weights(model):
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.dim() > 1}


def slept(model, callback, updates):
    times = []
    for update in range(updates):
        before = weights(model)
        callback.updated(model, Progress(0, 1, update, updates))
        if any(not torch.equal(p, before[name]) for name, p in weights(model).items()):
            times.append(update)
    return times


@pytest.mark.parametrize(("ratio", "times"), [(0.0, []), (0.3, [2, 5, 8]), (0.4, [1, 3, 5, 7, 9])])
def test_it_sleeps_after_every_so_many_updates(ratio, times):
    assert slept(mlp(), SleepBetween(ratio=ratio, steps=0), 10) == times


def test_without_a_run_all_weights_take_one_step_of_the_map():
    model = mlp()
    before = weights(model)
    slept(model, SleepBetween(ratio=1.0, steps=0, decay=0.9), 2)
    for name, weight in weights(model).items():
        wanted = toward(toward(before[name], 0.2, decay=0.9), 0.2, decay=0.9)
        assert torch.equal(weight, wanted), name


def test_only_the_weights_that_are_named_are_mapped():
    model = mlp()
    before = weights(model)
    slept(model, SleepBetween(ratio=1.0, steps=0, weights=["readout.*"]), 1)
    for name, weight in weights(model).items():
        assert torch.equal(weight, before[name]) != name.startswith("readout"), name


@pytest.mark.parametrize("mode", ["layer", "neuron"])
def test_sums_go_back_to_what_they_were_at_first(mode):
    model = mlp()
    callback = SleepBetween(ratio=1.0, steps=0, mode=mode)
    callback.apply(model)
    first = {name: totals(weight) for name, weight in weights(model).items()}
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(3 * torch.rand_like(p))
    restored = SleepBetween(ratio=1.0, steps=0, mode=mode)
    restored.restore(callback.state())
    slept(model, restored, 1)
    which = "groups" if mode == "layer" else "rows"
    for name, weight in weights(model).items():
        found = getattr(totals(weight), which)
        assert torch.allclose(found, getattr(first[name], which), rtol=1e-6)


def test_noise_makes_neurons_fire_and_linear_maps_learn_from_it(monkeypatch):
    model = mlp(readout=lambda shape: spiking(shape))
    seen = []
    for module in (model.stages[0], model.readout):
        module[-1].register_forward_hook(lambda _m, _x, out: seen.append(out.detach()))
    before = weights(model)
    callback = SleepBetween(ratio=1.0, steps=50, noise=1.0, rate=0.5, decay=1.0)
    slept(model, callback, 1)
    pre, post = (seq.flatten(2) for seq in seen)
    assert pre.any()
    grown = torch.einsum("tno,tni->oi", post, spike_trace(pre, tau=20.0))
    shrunk = torch.einsum("tno,tni->oi", spike_trace(post, tau=20.0), pre)
    wanted = before["readout.0.module.weight"] + 0.5 * (0.01 * grown - 0.012 * shrunk)
    after = weights(model)
    assert torch.allclose(after["readout.0.module.weight"], wanted, atol=1e-5)
    first = next(name for name in before if name.startswith("stages"))
    assert torch.equal(after[first], before[first]), "no input, so nothing to learn from"


def spiking(shape):
    from spikeloom.layers import LIF

    return LIF(shape, v_threshold=0.5)


def test_what_cannot_sleep_so_is_refused():
    with pytest.raises(Unsupported, match="convolution"):
        SleepBetween(ratio=1.0).updated(small("spiking_vgg5"), Progress(0, 1, 0, 1))
    with pytest.raises(Unsupported, match="has none called nothing"):
        SleepBetween(weights=["nothing"]).apply(mlp())
    with pytest.raises(ValueError, match="ratio in"):
        SleepBetween(ratio=1.5)
    with pytest.raises(ConfigError, match="convolution"):
        session.train(tiny(phase__0__callback=["sleep"]), None)


def test_a_network_of_any_learner_may_have_its_weights_mapped():
    torch.manual_seed(0)
    model = RecurrentEI(24, 6, in_shape=(1, 4, 4), num_classes=3)
    before = model.network.weight.clone()
    callback = SleepBetween(ratio=1.0, steps=0, weights=["network.*"], target=0.01, decay=0.9)
    callback.updated(model, Progress(0, 1, 0, 1))
    assert torch.equal(model.network.weight, toward(before, 0.01, decay=0.9))


def test_a_run_with_a_ratio_of_0_is_the_run_without(tmp_path):
    for name, callback in {"plain": [], "none": [{"name": "sleep", "ratio": 0.0}]}.items():
        session.train(tiny(model=MLP, phase__0__callback=callback), tmp_path / name)
    weights = [tmp_path / name / "best.safetensors" for name in ("plain", "none")]
    from safetensors.torch import load_file

    plain, none = (load_file(path) for path in weights)
    assert all(torch.equal(plain[key], none[key]) for key in plain if key.startswith("model"))


def test_a_run_goes_on_exactly(tmp_path, monkeypatch):
    from spikeloom.run.loop import Training

    config = tiny(
        model=MLP, phase__0__callback=[{"name": "sleep", "ratio": 0.3, "steps": 10, "noise": 1.0}]
    )
    session.train(config, tmp_path / "whole")
    update = Training._update

    def once(self, *args):
        if self.state.update == 4:
            self._save()
            raise KeyboardInterrupt
        return update(self, *args)

    monkeypatch.setattr(Training, "_update", once)
    with pytest.raises(KeyboardInterrupt):
        session.train(config, tmp_path / "cut")
    monkeypatch.undo()
    session.train(config, tmp_path / "cut", resume=True)
    same_end(tmp_path / "whole", tmp_path / "cut")
