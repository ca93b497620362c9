"""Every learner with a small model of each family and every neuron, and with every loss: one step.

Not the product of all four: neurons and losses meet only through the network's output, so each
neuron is tried with one loss, a different one from case to case, and each loss with one neuron.
"""

from functools import partial
from itertools import product

import pytest
import torch

import spikeloom.learning
import spikeloom.losses  # noqa: F401 they register
from spikeloom.learning import Batch, Progress, Unsupported
from spikeloom.registry import entries, find
from tests.learning.headed import HeadedLearner
from tests.small import CLASSES, IMAGE, STEPS, small

# A small member of every family, and what it is built with.
FAMILIES = {
    "SpikingMLP": ("spiking_mlp", {}),
    "SpikingVGG": ("spiking_vgg5", {}),
    "SpikingResNet": ("spiking_resnet20", {"width": 1 / 4}),
    "GradedMLP": ("graded_mlp", {"grades": 2, "hidden": (64,)}),
    "STMixer": ("stmixer", {"depth": 2, "heads": 16}),
    "HetSynMLP": ("hetsyn_mlp", {"hidden": (256, 128), "v_threshold": 0.5}),
    "SpikingDenseNet": ("spiking_densenet_bc", {"width": 1 / 8, "blocks": (2, 1, 2)}),
}
HEADS = [entry.name for entry in entries("head")]
ENDS = [(model, None) for model in FAMILIES] + [
    (model, head) for model in ("SpikingVGG", "SpikingDenseNet") for head in HEADS
]
START = Progress(epoch=0, epochs=1, update=0, updates=1)
NEURONS, LOSSES = ([entry.name for entry in entries(kind)] for kind in ("neuron", "loss"))
# The second one adds modules in prepare, which the others will too.
LEARNERS = {entry.name: entry.build for entry in entries("learner")} | {"headed": HeadedLearner}
TRIED = [
    (*case, LOSSES[number % len(LOSSES)])
    for number, case in enumerate(product(LEARNERS, ENDS, NEURONS))
] + [(learner, end, "lif", loss) for learner, end, loss in product(LEARNERS, ENDS, LOSSES)]


def family(build):
    while isinstance(build, partial):
        build = build.func
    return build.__name__


def test_every_family_of_models_is_in_the_grid():
    found = {family(entry.build) for entry in entries("model")}
    # a file is no family; rays are no images: tests/models/test_nerf.py; what learns by a rule of
    # its own has no gradient: test_stdp.py, test_sleep_stdp.py, test_first_spike.py
    own = {"DiehlCook", "FirstSpike", "RecurrentEI"}
    assert found - {"nir_model", "NeRF"} - own == set(FAMILIES)


def test_every_neuron_meets_every_loss():
    met = {(neurons, loss) for _, _, neurons, loss in TRIED}
    assert met == set(product(NEURONS, LOSSES))


@pytest.mark.parametrize(("learner", "end", "neurons", "loss"), TRIED)
def test_one_step_leaves_finite_gradients_or_a_reason(learner, end, neurons, loss):
    model, head = end
    name, arguments = FAMILIES[model]
    end = {"head": find("head", head).build} if head else {}
    net = small(name, neurons=neurons, **arguments, **end)
    method = LEARNERS[learner]()
    batch = Batch(torch.rand(STEPS, 4, *IMAGE), torch.randint(CLASSES, (4,)))
    before = {key: value.clone() for key, value in net.named_parameters()}
    refusal = None
    try:
        trained = method.prepare(net)
        seen = method.step(trained, batch, find("loss", loss).build(), START)
    except Unsupported as error:
        refusal = str(error)
    if refusal is not None:
        assert len(refusal) > 20, "a refusal needs a reason"
        return
    assert seen.loss.isfinite()
    assert seen.logits_seq.shape == (STEPS, 4, CLASSES)
    grads = [p.grad for p in trained.parameters() if p.grad is not None]
    assert any(grad.any() for grad in grads)
    assert all(grad.isfinite().all() for grad in grads)
    finished = method.finish(trained)
    after = dict(finished.named_parameters())
    assert after.keys() == before.keys(), "finish takes out what prepare added"
    assert all(torch.equal(after[key], before[key]) for key in before), "step only fills .grad"
