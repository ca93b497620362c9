"""Radiance fields: sizes of the paper, plain NeRF as their limit, rays apart from each other."""

from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from spikeloom.deploy import signed
from spikeloom.functional import Rectangle, factor
from spikeloom.functional.radiance import (
    composite,
    frequency_encoding,
    grid,
    orbit,
    pixel_rays,
    ray_parts,
    ray_vectors,
    view_of,
)
from spikeloom.layers import LIF, ReLU, TernaryLIF
from spikeloom.learning import Batch, Progress, Unsupported
from spikeloom.losses import Photometric
from spikeloom.models import NeRF
from spikeloom.registry import entries, find

PUBLISHED = {
    "decay": factor(0.25), "v_threshold": 0.5, "surrogate": Rectangle(), "detach_reset": True,
}  # fmt: skip
NEURONS = {
    "relu": ReLU,
    "lif": partial(LIF, **PUBLISHED),
    "ternary": partial(TernaryLIF, **PUBLISHED),
}
GIVEN = {"in_shape": (11,), "num_classes": 3}


def rays(count=20, seed=0) -> Tensor:
    """Rays of a camera that looks at the origin, as vectors."""
    at = torch.randint(0, 50, (2, count), generator=torch.Generator().manual_seed(seed))
    found = pixel_rays(orbit(3, radius=4.0)[1], *at, size=(50, 50), focal=60.0)
    return ray_vectors(found, view_of(found.direction), 2.0, 6.0)


def model(neuron="ternary", **arguments) -> NeRF:
    small = {"coarse": 8, "fine": 6, "width": 32, "depth": 4}
    return NeRF(neuron=NEURONS[neuron], **{**small, **arguments}, **GIVEN)


def sequence(x: Tensor, T=2) -> Tensor:
    return x.expand(T, *x.shape)


def test_published_networks_have_the_parameters_of_the_paper():
    net = NeRF(neuron=ReLU, **GIVEN)
    sizes = [sum(p.numel() for p in field.parameters()) for field in (net.coarse, net.fine)]
    assert sizes == [595_844, 595_844]
    assert (net.coarse.first.in_features, net.coarse.view.in_features) == (63, 27)


def plain_field(field, place: Tensor, view: Tensor) -> tuple[Tensor, Tensor]:
    """NeRF as its code has it: inputs put side by side before the maps."""
    x = h = frequency_encoding(place, 10)
    for number in range(8):
        layer = field.first if number == 0 else field.hidden[number - 1].module
        weight = layer.weight
        if number == 5:
            h = torch.cat([x, h], dim=-1)
            weight = torch.cat([field.skip.weight, weight], dim=1)
        h = F.linear(h, weight, layer.bias).relu()
    density = field.density.module(h)[..., 0]
    h = torch.cat([field.feature.module(h), frequency_encoding(view, 4)], dim=-1)
    weight = torch.cat([field.mix.module.weight, field.view.weight], dim=1)
    assert (weight.shape, field.hidden[4].module.in_features) == ((128, 283), 256)
    h = F.linear(h, weight, field.mix.module.bias).relu()
    return density, field.colour.module(h)


def test_rectifiers_and_one_step_are_plain_nerf():
    net = NeRF(neuron=ReLU, fine=0, **GIVEN).eval()
    x = rays(7)
    (origin, direction), view, near, far = ray_parts(x)
    t = grid(near, far, 64)
    place = origin[:, None] + t[..., None] * direction[:, None]
    with torch.no_grad():
        density, colour = plain_field(net.coarse, place, view[:, None].expand_as(place))
        want = composite(density, colour.sigmoid(), t, direction, white=True)
        found = net(x[None])
    torch.testing.assert_close(found, want.colour[None], rtol=1e-5, atol=1e-5)


def test_maps_that_are_added_start_as_the_one_map_of_the_paper():
    field = NeRF(neuron=ReLU, **GIVEN).coarse
    for parts, width in (
        ((field.skip, field.hidden[4].module), 319),
        ((field.view, field.mix.module), 283),
    ):
        for part in parts:
            bound = width**-0.5
            assert 0.95 * bound < part.weight.abs().max() <= bound


@pytest.mark.parametrize("neuron", NEURONS)
def test_training_answers_twice_with_the_fine_colours_first(neuron):
    net, x_seq = model(neuron), sequence(rays())
    out = net.train()(x_seq)
    assert out.shape == (1, 40, 3)
    torch.manual_seed(3)
    fine_first = net(x_seq)[0]
    torch.manual_seed(3)
    coarse, fine = net.passes(ray_parts(x_seq[0]), 2)
    torch.testing.assert_close(fine_first[:20], fine.shown.colour)
    torch.testing.assert_close(fine_first[20:], coarse.shown.colour)
    assert net.eval()(x_seq).shape == (1, 20, 3)


def test_evaluation_draws_nothing_and_training_does():
    net, x_seq = model(density_noise=1.0), sequence(rays())
    before = torch.get_rng_state()
    assert torch.equal(net.eval()(x_seq), net(x_seq))
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(net.train()(x_seq), net(x_seq))


def test_noise_of_densities_is_for_training_alone():
    torch.manual_seed(1)
    quiet = model()
    noisy = model(density_noise=5.0)
    noisy.load_state_dict(quiet.state_dict())
    x_seq = sequence(rays())
    assert torch.equal(quiet.eval()(x_seq), noisy.eval()(x_seq))


@pytest.mark.parametrize("neuron", NEURONS)
def test_every_parameter_gets_a_gradient(neuron):
    net = model(neuron, density_noise=1.0)
    (net(sequence(rays(200))) - 0.3).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_no_gradient_reaches_the_coarse_field_through_the_depths():
    net = model("relu", density_noise=1.0)
    coarse, fine = net.passes(ray_parts(rays()), 1)
    fine.shown.colour.sum().backward()
    assert all(p.grad is None for p in net.coarse.parameters())
    assert coarse.shown.weights.requires_grad


@pytest.mark.parametrize("chunk", [1, 100, 10**6])
def test_chunks_change_nothing_and_points_start_at_rest(chunk):
    whole, parts = model(), model(chunk=chunk)
    parts.load_state_dict(whole.state_dict())
    x = rays()
    torch.testing.assert_close(parts.eval()(sequence(x)), whole.eval()(sequence(x)))
    alone = torch.cat([whole(sequence(x[k : k + 1])) for k in range(len(x))], dim=1)
    torch.testing.assert_close(alone, whole(sequence(x)))


def test_rays_without_anything_are_culled_and_the_others_stay():
    torch.manual_seed(0)
    whole, culling = model("relu", place_levels=2), model("relu", place_levels=2, cull=0.0)
    x = rays(300)
    with torch.no_grad():  # half of the rays meet nothing
        dense = whole.eval().passes(ray_parts(x), 1)[0].field.density.max(1).values
        whole.coarse.density.module.bias -= dense.median()
    culling.load_state_dict(whole.state_dict())
    coarse, fine = whole.passes(ray_parts(x), 1)
    kept = coarse.shown.opacity > 0
    assert 100 < kept.sum() < 200
    asked = []
    culling.fine.register_forward_hook(lambda _m, given, _o: asked.append(len(given[1])))
    found = culling.eval().look(x, 1)
    assert sum(asked) == kept.sum()
    for name in ("colour", "depth", "opacity", "weights"):
        torch.testing.assert_close(getattr(found, name)[kept], getattr(fine.shown, name)[kept])
    assert (found.colour[~kept] == 1).all()  # white
    assert not found.weights[~kept].any()
    culling.cull = 0.999999
    assert torch.equal(culling.look(x[~kept], 1).colour, torch.ones(int((~kept).sum()), 3))
    assert culling.train()(x[None]).shape == (1, 600, 3)  # training asks about all


def test_inputs_that_stay_are_computed_once():
    net, calls = model("ternary", fine=0), []
    for name in ("first", "skip", "view"):
        field = getattr(net.coarse, name)
        field.register_forward_hook(lambda _m, given, _o: calls.append(tuple(given[0].shape)))
    net.eval()(sequence(rays(5), T=4))
    assert calls == [(40, 63), (40, 63), (5, 27)]  # not 4 x 40, and a direction a ray


def test_what_is_seen_comes_with_depth_and_opacity():
    found = model().eval().look(rays(), 2)
    assert (found.colour.shape, found.depth.shape, found.weights.shape) == (
        (20, 3),
        (20,),
        (20, 14),
    )
    assert (found.opacity <= 1 + 1e-6).all()


@pytest.mark.parametrize("fine", [0, 6])
def test_spikes_of_either_alphabet_show_the_same(fine):
    # in double precision, where no potential rounds across a threshold
    net, x_seq = model(fine=fine).double().eval(), sequence(rays(50).double())
    twin = signed(net, x_seq)
    with torch.no_grad():
        torch.testing.assert_close(twin(x_seq), net(x_seq), rtol=1e-5, atol=1e-5)
    before, after = net.coarse, twin.coarse
    sums = before.mix.module.weight.sum(1)  # reads the feature, which is linear: no spikes
    assert sums.any()
    assert torch.equal(after.mix.module.bias, before.mix.module.bias)
    assert torch.equal(after.first.bias, before.first.bias)
    assert after.skip.bias is None
    for name in ("density", "feature", "colour"):
        own, other = (getattr(each, name).module for each in (before, after))
        torch.testing.assert_close(other.bias, own.bias + own.weight.sum(1))


def test_rays_that_change_are_refused():
    with pytest.raises(ValueError, match="same at every step"):
        model()(torch.stack([rays(seed=0), rays(seed=1)]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"coarse": 2}, "coarse must be >= 3"),
        ({"fine": -1}, "fine and density_noise >= 0"),
        ({"chunk": 0}, "chunk >= 1"),
        ({"cull": 1.0}, "cull is an opacity"),
        ({"density_noise": -1.0}, "density_noise >= 0"),
        ({"depth": 1}, "depth and width"),
        ({"in_shape": (3, 8, 8)}, "nerf learns colours"),
        ({"num_classes": 10}, "nerf learns colours"),
    ],
)
def test_what_makes_no_field_is_refused(arguments, message):
    given = {"in_shape": (11,), "num_classes": 3, "neuron": ReLU, **arguments}
    with pytest.raises(ValueError, match=message):
        NeRF(**given)


def test_images_are_refused():
    with pytest.raises(ValueError, match="vectors of 11 numbers"):
        model()(torch.zeros(2, 4, 5))


def test_a_small_scene_is_learnt():
    """A grey ball on white: after some updates it is darker than what is around it."""
    torch.manual_seed(0)
    net = model(coarse=16, fine=0, width=32, density_noise=1.0, place_levels=3)
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    x = rays(200)
    (origin, _), view, _, _ = ray_parts(x)
    apart = torch.linalg.cross(origin, view).norm(dim=1)  # of each ray from the origin
    y = torch.where(apart < 0.7, 0.3, 1.0)[:, None].expand(-1, 3)
    for _ in range(25):
        optimizer.zero_grad()
        loss = F.mse_loss(net(sequence(x))[0], y)
        loss.backward()
        optimizer.step()
    assert loss < 0.7 * y.var()


@pytest.mark.parametrize("neuron", ["relu", "lif", "ternary"])
@pytest.mark.parametrize("learner", [entry.name for entry in entries("learner")])
def test_learners_take_a_step_or_say_why_not(learner, neuron):
    net, method = model(neuron), find("learner", learner).build()
    batch = Batch(sequence(rays(6)), torch.rand(6, 3))
    refusal = None
    try:
        trained = method.prepare(net)
        seen = method.step(trained, batch, Photometric(), Progress(0, 1, 0, 1))
    except Unsupported as error:
        refusal = str(error)
    if refusal is not None:
        assert len(refusal) > 20
        return
    assert seen.loss.isfinite()
    grads = [p.grad for p in trained.parameters() if p.grad is not None]
    assert any(grad.any() for grad in grads)
    assert all(grad.isfinite().all() for grad in grads)
