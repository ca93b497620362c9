"""The rules of first spikes as training methods; numbered items as in the specification."""

import pytest
import torch

from spikeloom.functional.first_spike import FirstSpikeLayer, Groups, Rule, first_spike_learn
from spikeloom.kernels import use
from spikeloom.layers import Intensities
from spikeloom.learning import (
    BPTT,
    RSTDP,
    S2STDP,
    SSTDP,
    Batch,
    CsnnSTDP,
    EventBP,
    Progress,
    RateBP,
    SoftHebbian,
    Unsupported,
)
from spikeloom.losses import RateCrossEntropy
from spikeloom.models import FirstSpike
from tests.small import small

LOSS = RateCrossEntropy()
PCN = {"compete": True, "spared": 1}
NCG = {**PCN, "regulation": "competition", "eta": 0.5, "eta_decay": 0.7}


def network(size=1, inputs=20, classes=3, **options):
    torch.manual_seed(1)
    given = {"v_threshold": 2.0} | options
    return FirstSpike(size, in_shape=(inputs,), num_classes=classes, **given)


def batch(count=12, inputs=20, classes=3):
    return Batch(torch.rand(1, count, inputs), torch.randint(classes, (count,)))


def at(epoch, epochs=9):
    return Progress(epoch, epochs, epoch, epochs)


def step(learner, net, given, epochs=(0,)):
    model = learner.prepare(net).train()
    seen = [learner.step(model, given, LOSS, at(epoch)) for epoch in epochs]
    return model, seen[-1]


def test_a_step_is_the_truth_at_the_rates_of_its_epoch():
    given, net = batch(), network(5)
    weight, limit = net.weight.data.clone(), net.threshold.clone()
    learner = S2STDP(a_plus=0.1, a_minus=-0.05, gap=0.1, **NCG)
    model = learner.prepare(net).train()
    learner.step(model, given, LOSS, at(3))
    rate = 0.98**3
    rule = Rule(
        "s2_stdp", 0.1 * rate, -0.05 * rate, gap=0.1, compete=True, regulation="competition",
        eta=0.5 * 0.7**3,
    )  # fmt: skip
    layer = FirstSpikeLayer(weight, limit, limit.clone(), weight.double().sum(1).float())
    first_spike_learn(1 - given.x_seq[0], given.y, layer, groups=Groups(3, 5, 1), rule=rule)
    torch.testing.assert_close(net.weight.data, layer.weight, rtol=0, atol=0)
    torch.testing.assert_close(model.own, layer.own, rtol=0, atol=0)
    assert torch.equal(net.threshold, limit), "what the test uses stays as it is"


def test_thresholds_in_training_start_anew_at_every_epoch():
    learner, net = S2STDP(**NCG), network(5)
    model, _ = step(learner, net, batch(40))
    assert not torch.equal(model.own, net.threshold)
    model.turn(1)
    assert torch.equal(model.own, net.threshold)


def test_one_threshold_a_neuron_is_that_of_the_test():
    net = network(5)
    step(S2STDP(compete=True, regulation="neuron", eta=0.5), net, batch(40))
    assert net.threshold.unique().numel() > 1


def test_rewards_are_scaled_by_wrong_answers_and_punishments_by_right_ones():
    learner = RSTDP(a_plus=0.1, a_minus=-0.2, anti_plus=-0.3, anti_minus=0.4)
    model = learner.prepare(network(2))
    assert float(model.accuracy) == pytest.approx(1 / 3)
    rule = learner._rule(2, 0.75)
    rates = (rule.a_plus, rule.a_minus, rule.anti_plus, rule.anti_minus)
    scale = 0.98**2
    assert rates == pytest.approx(
        (0.1 * scale / 4, -0.2 * scale / 4, -0.3 * scale * 0.75, 0.4 * scale * 0.75)
    )
    given = batch(30)
    learner.step(model.train(), given, LOSS, at(0))
    right = int(model.right)
    learner.step(model, given, LOSS, at(1))
    assert float(model.accuracy) == pytest.approx(right / 30)
    assert int(model.seen) == 30


def test_without_normalisation_sums_are_free():
    for learner, same in ((S2STDP(), True), (SSTDP(gap=0.3), False), (RSTDP(), False)):
        net = network()
        before = net.weight.sum(1)
        step(learner, net, batch(30))
        assert torch.allclose(net.weight.sum(1), before, rtol=1e-5) is same


@pytest.mark.parametrize("learner", [S2STDP(**NCG), SSTDP(), RSTDP(dropout=0.3)], ids=str)
def test_truth_and_kernel_train_alike(learner):
    given, found = batch(25), []
    for name in ("truth", None):
        net = network(5)
        torch.manual_seed(3)
        with use(name):
            _, seen = step(learner, net, given, epochs=(0, 1))
        found.append((net.weight.data, seen.logits_seq))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


def test_a_training_set_that_can_be_told_apart_is_learnt():
    torch.manual_seed(0)
    y = torch.arange(60) % 3
    x = (torch.rand(60, 30) * 0.3 + 0.7 * (torch.arange(30) // 10 == y[:, None])).clamp(0, 1)
    net = network(2, inputs=30)
    learner = S2STDP(a_plus=0.05, a_minus=-0.05, gap=0.2, **PCN)
    model = learner.prepare(net).train()
    for epoch in range(5):
        learner.step(model, Batch(x[None], y), LOSS, at(epoch))
    assert (learner.finish(model).eval()(x[None])[0].argmax(1) == y).all()


def test_only_the_network_that_is_handed_back_answers():
    learner, net = S2STDP(), network()
    model = learner.prepare(net)
    assert learner.finish(model) is net
    assert {name for name, _ in model.named_buffers() if not name.startswith("model.")} == {
        "own", "total", "epoch", "right", "seen", "accuracy",
    }  # fmt: skip


@pytest.mark.parametrize("learner", [BPTT(), RateBP(), EventBP()], ids=str)
def test_methods_of_gradients_are_refused(learner):
    with pytest.raises(Unsupported):
        learner.step(learner.prepare(network().train()), batch(), LOSS, at(0))


@pytest.mark.parametrize(
    "learner", [S2STDP(), SSTDP(), RSTDP(), CsnnSTDP(), SoftHebbian()], ids=str
)
def test_networks_without_first_spikes_are_refused(learner):
    with pytest.raises(Unsupported, match="first_spike"):
        learner.prepare(small("spiking_vgg5"))


@pytest.mark.parametrize("learner", [CsnnSTDP(), SoftHebbian()], ids=str)
def test_extractors_that_learn_nothing_are_refused(learner):
    with pytest.raises(Unsupported, match="extractor"):
        learner.prepare(network(extractor=Intensities(in_shape=(20,))))


def test_groups_without_a_target_are_refused():
    with pytest.raises(Unsupported, match="set spared = 0"):
        S2STDP(spared=1).prepare(network(1))


def test_mixed_labels_are_refused():
    with pytest.raises(Unsupported, match="mixes labels"):
        step(S2STDP(), network(), Batch(torch.rand(1, 2, 20), torch.rand(2, 3)))


@pytest.mark.parametrize(
    ("given", "reason"),
    [(torch.rand(2, 3, 20), "set model.T = 1"), (torch.randn(1, 9, 20), "intensity")],
)
def test_what_times_cannot_be_read_from_is_refused(given, reason):
    with pytest.raises(ValueError, match=reason):
        network().eval()(given)


@pytest.mark.parametrize(
    "wrong",
    [{"regulation": "competition"}, {"eta": 1.0}, {"dropout": 1.0}, {"w_min": 1.0}],
    ids=str,
)
def test_settings_that_contradict_each_other_are_refused(wrong):
    with pytest.raises(ValueError, match=r"give both|share|w_min"):
        S2STDP(**wrong)
