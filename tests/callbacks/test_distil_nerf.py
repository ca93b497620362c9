"""Distillation of radiance fields: what it is made of, and what it leaves alone."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from spikeloom.callbacks import DistilNeRF
from spikeloom.functional.radiance import ray_parts
from spikeloom.learning import Batch, Progress, Unsupported
from spikeloom.losses import Photometric
from tests.models.test_nerf import model, rays, sequence

START = Progress(0, 1, 0, 1)


def batch(count=20, T=2):
    return Batch(sequence(rays(count), T), torch.rand(count, 3))


def value_of(callback, student, given):
    callback.apply(student)
    with callback.term(student) as term:
        out = student.train()(given.x_seq)
        return term(given, out)


@pytest.mark.parametrize("space", ["raw", "log1p", "alpha"])
def test_a_teacher_that_is_the_student_teaches_nothing(space):
    student = model("ternary")
    callback = DistilNeRF(density_space=space, steps=None, teacher=copy.deepcopy(student))
    assert value_of(callback, student, batch()) == 0
    notes = callback.epoch(student, lambda n: batch(n), Photometric(), START)
    assert notes["term density"] == notes["term colour"] == 0
    assert notes["term photometric"] > 0


def test_the_teacher_gets_no_gradient_and_the_student_does():
    student, teacher = model("ternary"), model("relu")
    value_of(DistilNeRF(teacher=teacher), student, batch(200)).backward()
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
    assert all(p.grad is not None for p in student.parameters())


def test_terms_are_mean_squares_at_the_points_of_the_student():
    student, teacher, given = model("ternary"), model("relu"), batch()
    callback = DistilNeRF(density=2.0, colour=3.0, teacher=teacher)
    torch.manual_seed(5)
    found = value_of(callback, student, given)
    torch.manual_seed(5)
    want = torch.zeros(())
    x = ray_parts(given.x_seq[0])
    own = (student.coarse, student.fine)
    others = (teacher.coarse, teacher.fine)
    for seen, _, field in zip(student.passes(x, 2), own, others, strict=True):
        place = x.rays.origin[:, None] + seen.t[..., None] * x.rays.direction[:, None]
        said = teacher.ask(field, place, x.view, 1)
        want = want + 2 * F.mse_loss(seen.field.density, said.density)
        want = want + 3 * F.mse_loss(seen.field.colour, said.colour)
    torch.testing.assert_close(found, want)


def test_large_densities_count_less_in_other_spaces():
    student, teacher = model("relu"), model("relu")
    with torch.no_grad():
        for field in (teacher.coarse, teacher.fine):
            field.density.module.bias += 300.0
    found = {
        space: float(
            value_of(
                DistilNeRF(colour=0.0, density_space=space, teacher=teacher), student, batch()
            ).detach()
        )
        for space in ("raw", "log1p", "alpha")
    }
    assert found["raw"] > 1e4
    assert found["log1p"] < 100
    assert found["alpha"] <= 2


def test_colours_that_cannot_be_told_apart_count_little_as_they_are_seen():
    student, teacher = model("relu"), model("relu")
    with torch.no_grad():
        for colour, net in ((30.0, teacher), (20.0, student)):
            for field in (net.coarse, net.fine):
                field.colour.module.bias += colour
    raw, seen = (
        float(
            value_of(
                DistilNeRF(density=0.0, colour_space=space, teacher=teacher), student, batch()
            ).detach()
        )
        for space in ("raw", "rgb")
    )
    assert raw > 50
    assert 0 <= seen < 1e-3


def test_a_loss_asked_for_again_without_a_pass_adds_nothing():
    student, given = model(), batch()
    callback = DistilNeRF(teacher=model("relu"))
    callback.apply(student)
    with callback.term(student) as term:
        out = student.train()(given.x_seq)
        assert term(given, out) is not None
        assert term(given, out) is None


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        (model(), None, "needs a teacher"),
        (model(), nn.Linear(3, 3), "needs a radiance field"),
        (nn.Linear(3, 3), model("relu"), "needs a radiance field"),
        (model(fine=0), model("relu"), "fine = 0 for both or neither"),
    ],
)
def test_what_cannot_be_compared_is_refused(student, teacher, message):
    with pytest.raises(Unsupported, match=message):
        DistilNeRF(teacher=teacher).apply(student)


def test_arguments_out_of_range_are_refused():
    with pytest.raises(ValueError, match="density and colour >= 0"):
        DistilNeRF(density=-1.0)
    with pytest.raises(ValueError, match="density_space"):
        DistilNeRF(density_space="log")
    with pytest.raises(ValueError, match="colour_space"):
        DistilNeRF(colour_space="hsv")
