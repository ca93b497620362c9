"""Rays of pixels, normalised device coordinates, paths of cameras, encodings."""

import math

import pytest
import torch

from spikeloom.functional.radiance import (
    Rays,
    encoded_width,
    frequency_encoding,
    mean_pose,
    orbit,
    pixel_rays,
    recentred,
    spiral,
    to_ndc,
    view_of,
)

SIZE, FOCAL = (100, 80), 120.0
HOME = torch.cat([torch.eye(3), torch.zeros(3, 1)], dim=1)


def turned(count=5):
    return orbit(count, radius=4.0)


def test_the_centre_pixel_looks_along_minus_z_of_the_camera():
    row, column = torch.tensor([SIZE[0] // 2]), torch.tensor([SIZE[1] // 2])
    for pose in (HOME, *turned()):
        origin, direction = pixel_rays(pose, row, column, size=SIZE, focal=FOCAL)
        torch.testing.assert_close(direction[0], -pose[:, 2])
        torch.testing.assert_close(origin[0], pose[:, 3])


def test_rows_go_down_and_columns_to_the_right():
    corners = pixel_rays(HOME, torch.tensor([0, 99]), torch.tensor([0, 79]), size=SIZE, focal=FOCAL)
    assert corners.direction[0].tolist() == pytest.approx([-40 / 120, 50 / 120, -1])
    assert corners.direction[1].tolist() == pytest.approx([39 / 120, -49 / 120, -1])


def test_every_pixel_may_have_a_camera_of_its_own():
    row, column = torch.tensor([3, 7]), torch.tensor([5, 11])
    poses = turned(2)
    together = pixel_rays(poses, row, column, size=SIZE, focal=FOCAL)
    for k in range(2):
        alone = pixel_rays(poses[k], row[k : k + 1], column[k : k + 1], size=SIZE, focal=FOCAL)
        torch.testing.assert_close(together.direction[k], alone.direction[0])


def test_views_have_length_one():
    assert view_of(torch.randn(50, 3)).norm(dim=1).sub(1).abs().max() < 1e-6


def test_device_coordinates_map_the_near_plane_and_infinity():
    rays = Rays(0.3 * torch.randn(20, 3), torch.randn(20, 3) - torch.tensor([0.0, 0.0, 4.0]))
    start, along = to_ndc(rays, size=SIZE, focal=FOCAL)
    torch.testing.assert_close(start[:, 2], -torch.ones(20), atol=1e-5, rtol=0)
    torch.testing.assert_close((start + along)[:, 2], torch.ones(20), atol=1e-5, rtol=0)


def test_a_ray_stays_a_ray_in_device_coordinates():
    # a point o + s d of the world, projected, lies on the new ray at t = 1 - z / (z + s d_z)
    origin, direction = (
        torch.tensor([[0.1, 0.2, -1.0]]).double(),
        torch.tensor([[0.3, -0.2, -1.0]]).double(),
    )
    start, along = to_ndc(Rays(origin, direction), size=SIZE, focal=FOCAL)
    x, y, z = (origin + 2.5 * direction)[0]
    seen = torch.stack([-2 * FOCAL / SIZE[1] * x / z, -2 * FOCAL / SIZE[0] * y / z, 1 + 2 / z])
    t = 1 - origin[0, 2] / z
    torch.testing.assert_close(start[0] + t * along[0], seen)


def test_device_coordinates_refuse_rays_that_look_back():
    with pytest.raises(ValueError, match="look along -z"):
        to_ndc(Rays(torch.zeros(1, 3), torch.ones(1, 3)), size=SIZE, focal=FOCAL)


def test_an_orbit_looks_at_the_origin_from_above():
    poses = turned(7)
    places = poses[..., 3]
    torch.testing.assert_close(places.norm(dim=1), torch.full((7,), 4.0))
    torch.testing.assert_close(places[:, 2], torch.full((7,), 4 * math.sin(math.pi / 6)))
    torch.testing.assert_close(-poses[..., 2], -places / 4)  # the view
    eye = torch.eye(3).expand(7, 3, 3)
    torch.testing.assert_close(poses[..., :3].mT @ poses[..., :3], eye, atol=1e-6, rtol=0)


def test_recentred_poses_have_their_mean_at_home():
    found = recentred(turned(5) + 0.01 * torch.randn(5, 3, 4))
    torch.testing.assert_close(mean_pose(found), HOME, atol=1e-4, rtol=0)


def test_a_spiral_keeps_an_eye_on_the_focus_and_comes_back():
    poses = recentred(HOME + torch.cat([torch.zeros(6, 3, 3), 0.2 * torch.randn(6, 3, 1)], dim=2))
    path = spiral(poses, 48, near=1.0, far=10.0)
    assert path.shape == (48, 3, 4)
    places, views = path[..., 3], -path[..., 2]
    focus = torch.tensor([0.0, 0.0, -1 / (0.25 / 0.9 + 0.75 / 50)])
    aim = (focus - places) / (focus - places).norm(dim=1, keepdim=True)
    torch.testing.assert_close(views, aim, atol=1e-4, rtol=0)
    reach = torch.quantile(poses[..., 3].abs(), 0.9, dim=0)
    assert (places.abs() <= reach + 1e-4).all()
    torch.testing.assert_close(places[24, :2], places[0, :2], atol=1e-4, rtol=0)  # a turn later
    steps = (places.roll(-1, 0) - places).norm(dim=1)
    assert steps[-1] < 2 * steps[:-1].max()  # the last pose leads to the first


def test_bad_cameras_are_refused():
    one = torch.zeros(1)
    with pytest.raises(ValueError, match="focal"):
        pixel_rays(HOME, one, one, size=SIZE, focal=0.0)
    with pytest.raises(ValueError, match="first three rows"):
        pixel_rays(torch.eye(4), one, one, size=SIZE, focal=1.0)


def test_encodings_have_the_widths_of_the_paper():
    assert frequency_encoding(torch.randn(5, 3), 10).shape == (5, 63) == (5, encoded_width(3, 10))
    assert frequency_encoding(torch.randn(5, 3), 4).shape == (5, 27) == (5, encoded_width(3, 4))


def test_an_encoding_is_the_place_then_sines_and_cosines():
    p = torch.randn(4, 3, dtype=torch.float64)
    rows = [p, p.sin(), p.cos(), (2 * p).sin(), (2 * p).cos(), (4 * p).sin(), (4 * p).cos()]
    torch.testing.assert_close(frequency_encoding(p, 3), torch.cat(rows, dim=1))
    assert torch.equal(frequency_encoding(p, 0), p)
    with pytest.raises(ValueError, match="levels >= 0"):
        frequency_encoding(p, -1)
