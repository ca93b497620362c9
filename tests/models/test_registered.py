"""What holds for every registered model, as a spiking network and as its ReLU twin."""

import pytest
import torch

from spikeloom.layers import Neuron
from spikeloom.registry import entries
from tests.small import CLASSES, IMAGE, STEPS, small

# A file is no family; rays are no images (test_nerf.py), nor are spike trains (test_hetsyn_mlp.py);
# and some have no gradients (test_stdp.py, test_sleep_stdp.py, test_first_spike.py).
OTHERS = ("nir", "nerf", "hetsyn_mlp", "first_spike", "ei_network", "diehl_cook")
MODELS = [e.name for e in entries("model") if e.name not in OTHERS]
RESNETS = [name for name in MODELS if "resnet" in name]
KINDS = [(name, {}) for name in MODELS] + [
    (name, {"residual": kind}) for name in RESNETS for kind in ("sew", "membrane")
]
STAGED = [(name, more) for name, more in KINDS if name != "graded_mlp"]  # grades are no stages


def images():
    return torch.rand(STEPS, 3, *IMAGE)


@pytest.mark.parametrize("neurons", ["lif", "plif", "relu"])
@pytest.mark.parametrize(("name", "arguments"), KINDS, ids=str)
def test_outputs_are_finite_and_every_parameter_gets_a_gradient(name, arguments, neurons):
    model = small(name, neurons=neurons, **arguments)
    logits_seq = model(images())
    assert logits_seq.shape == (STEPS, 3, CLASSES)
    (logits_seq * torch.randn(CLASSES)).sum().backward()
    assert logits_seq.isfinite().all()
    for parameter, p in model.named_parameters():
        assert p.grad is not None, parameter
        assert p.grad.isfinite().all(), parameter
        assert p.grad.any(), parameter


@pytest.mark.parametrize("name", MODELS)
def test_state_dicts_survive_a_round_trip(name):
    model, other = small(name), small(name)
    model(images())  # moves the running averages
    other.load_state_dict(model.state_dict())
    x_seq = images()
    assert torch.equal(other.eval()(x_seq), model.eval()(x_seq))


@pytest.mark.parametrize(("name", "arguments"), KINDS, ids=str)
def test_the_relu_twin_has_the_same_parameters(name, arguments):
    spiking, twin = (small(name, neurons=kind, **arguments) for kind in ("lif", "relu"))
    shapes = [{key: p.shape for key, p in model.state_dict().items()} for model in (spiking, twin)]
    assert shapes[0] == shapes[1]
    assert any(isinstance(module, Neuron) for module in spiking.modules())
    assert not any(isinstance(module, Neuron) for module in twin.modules())


@pytest.mark.parametrize("name", MODELS)
def test_the_relu_twin_answers_a_repeated_image_the_same_at_every_step(name):
    twin = small(name, neurons="relu").eval()
    logits_seq = twin(torch.rand(3, *IMAGE).expand(STEPS, 3, *IMAGE))
    torch.testing.assert_close(logits_seq[1], logits_seq[0])


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    "shape", [(2, 3, 1, 32, 32), (2, 3, 3, 28, 28), (2, 3, 3, 32, 31), (3, 3, 32, 32)], ids=str
)
def test_images_that_do_not_fit_are_refused_before_any_work(name, shape):
    model = small(name)
    for module in model.children():
        module.register_forward_pre_hook(lambda *_: pytest.fail("worked before it checked"))
    with pytest.raises(ValueError, match=r"in_shape = \(3, 32, 32\).*got \(") as error:
        model(torch.rand(shape))
    assert str(tuple(shape)) in str(error.value)


@pytest.mark.parametrize(("name", "arguments"), STAGED, ids=str)
def test_stages_can_be_tapped_and_tell_their_channels(name, arguments):
    model, seen = small(name, **arguments), []
    assert len(model.stages) == len(model.stage_channels)
    for stage in model.stages:
        stage[-1].register_forward_hook(lambda module, x, y: seen.append(y.shape[2]))
    model(images())
    assert tuple(seen) == tuple(model.stage_channels)


@pytest.mark.parametrize("name", MODELS)
def test_widths_must_be_positive(name):
    with pytest.raises(ValueError, match="width must be > 0"):
        small(name, width=0.0)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("norms", ["tdbn", "bntt", "none"])
def test_every_norm_fits(name, norms):
    assert small(name, norms=norms)(images()).isfinite().all()
