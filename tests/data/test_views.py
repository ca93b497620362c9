"""Scenes in their layouts: rays, colours, splits by view, and plans of batches."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from spikeloom.data import Order, RayPlan, blender, llff, split, tiny_nerf
from spikeloom.functional.radiance import ray_parts
from tests.data.scenes import ANGLE, write_blender, write_llff, write_tiny_nerf


def all_of(part):
    return part.__getitems__(list(range(len(part))))


def test_a_blender_scene_is_rays_and_colours(tmp_path):
    base = write_blender(tmp_path)
    source = blender(tmp_path, side=12)
    assert (len(source.train), len(source.test), source.shape) == (3 * 144, 2 * 144, (11,))
    assert (source.measure, source.outputs, source.numbers) == ("psnr", 3, True)
    x, y = all_of(source.train)
    assert x.shape == (432, 11)
    rays, view, near, far = ray_parts(x)
    assert set(near.tolist()) == {2.0}
    assert set(far.tolist()) == {6.0}
    torch.testing.assert_close(view, rays.direction / rays.direction.norm(dim=1, keepdim=True))
    assert source.train.focal == pytest.approx(0.5 * 12 / math.tan(0.5 * ANGLE))
    levels = np.asarray(Image.open(base / "train" / "r_1.png")).astype(np.float32)[3, 5] / 255
    want = levels[:3] * levels[3] + (1 - levels[3])
    torch.testing.assert_close(y[144 + 3 * 12 + 5], torch.from_numpy(want))


def test_the_centre_pixel_of_a_view_looks_at_the_origin(tmp_path):
    write_blender(tmp_path)
    source = blender(tmp_path, side=12)
    x, _ = source.train.__getitems__([144 + 6 * 12 + 6])
    origin, direction = ray_parts(x).rays
    torch.testing.assert_close(direction, -origin / 4)


def test_views_are_halved_by_area_and_on_black_if_asked(tmp_path):
    base = write_blender(tmp_path)
    source = blender(tmp_path, side=6, white=False)
    levels = np.asarray(Image.open(base / "train" / "r_0.png")).astype(np.float32) / 255
    small = levels.reshape(6, 2, 6, 2, 4).mean((1, 3))
    want = torch.from_numpy(small[..., :3] * small[..., 3:])
    torch.testing.assert_close(source.train.pictures[0], want)
    assert source.train.focal == pytest.approx(0.5 * 6 / math.tan(0.5 * ANGLE))


def test_validation_views_come_last_and_are_split_off_whole(tmp_path):
    write_blender(tmp_path)
    source = blender(tmp_path, side=12, val_views=1)
    cut = split(source, val=144)
    for other in ({"val": 100}, {"val": 144, "val_from": "random"}):
        with pytest.raises(ValueError, match="set val = 144 and val_from = 'last'"):
            split(source, **other)
    assert cut.val.tolist() == list(range(3 * 144, 4 * 144))
    held = blender(tmp_path, side=12).train
    assert torch.equal(source.train.pictures[:3], held.pictures)


def test_fewer_views_are_the_first_ones(tmp_path):
    write_blender(tmp_path)
    source = blender(tmp_path, side=12, train_views=2, test_views=1)
    assert (len(source.train), len(source.test)) == (2 * 144, 144)


def test_tiny_nerf_keeps_its_last_views_for_the_test(tmp_path):
    path = write_tiny_nerf(tmp_path)
    source = tiny_nerf(tmp_path, test_views=2)
    with np.load(path) as arrays:
        assert torch.equal(source.test.pictures, torch.from_numpy(arrays["images"][-2:]))
        assert source.train.focal == float(arrays["focal"])
    assert (len(source.train), len(source.test)) == (400, 200)


def test_llff_is_in_device_coordinates_with_every_eighth_view_for_the_test(tmp_path):
    write_llff(tmp_path)
    source = llff(tmp_path, height=12)
    assert (len(source.train), len(source.test)) == (7 * 192, 2 * 192)  # views 0 and 8 are held
    assert source.train.focal == pytest.approx(100 * 12 / 96)
    rays, view, near, far = ray_parts(all_of(source.train)[0])
    assert (set(near.tolist()), set(far.tolist())) == ({0.0}, {1.0})
    at_near = torch.full((len(view),), -1.0)
    torch.testing.assert_close(rays.origin[:, 2], at_near, atol=1e-4, rtol=0)
    torch.testing.assert_close(rays.direction[:, 2], -2 * at_near, atol=1e-3, rtol=0)
    assert (view[:, 2] < -0.5).all()  # directions of the world
    # the nearest thing lies at 4/3, and poses have their mean at the origin
    poses = torch.cat([source.train.poses, source.test.poses])
    torch.testing.assert_close(poses[..., 3].mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    assert source.train.path(5).shape == (5, 3, 4)


def test_llff_reads_the_smallest_pictures_that_are_large_enough(tmp_path):
    base = write_llff(tmp_path)
    (base / "images_4").mkdir()
    for k in range(9):
        Image.new("RGB", (32, 24), (255, 0, 0)).save(base / "images_4" / f"{k}.png")
    assert llff(tmp_path, height=12).train.pictures.mean(dim=(0, 1, 2))[1] > 0.2
    assert llff(tmp_path, height=20).train.pictures[0, 0, 0].tolist() == [1, 0, 0]


def order_of(plan, indices, epoch=0, start=0, **shares):
    return list(
        Order(indices, 8, seed=1, epoch=epoch, shuffle=True, start=start, plan=plan, **shares)
    )


def test_a_batch_holds_rays_of_one_view(tmp_path):
    write_blender(tmp_path)
    source = blender(tmp_path, side=12, updates=20, val_views=1)
    indices = split(source, val=144).train
    drawn = order_of(source.plan, indices)
    assert len(drawn) == 20
    assert all(len(set(batch)) == 8 and len({at // 144 for at in batch}) == 1 for batch in drawn)
    assert {batch[0] // 144 for batch in drawn} == {0, 1, 2}  # never the view held out


def test_batches_depend_on_seed_and_epoch_alone(tmp_path):
    plan, indices = RayPlan(20, (12, 12)), torch.arange(432)
    whole = order_of(plan, indices)
    assert order_of(plan, indices) == whole
    assert order_of(plan, indices, start=5) == whole[5:]
    assert order_of(plan, indices, epoch=1) != whole
    halves = [order_of(plan, indices, rank=rank, world=2) for rank in range(2)]
    assert [sorted(a + b) for a, b in zip(*halves, strict=True)] == [sorted(b) for b in whole]


def test_the_first_batches_look_at_the_middle():
    plan, indices = RayPlan(10, (12, 12), crop=15), torch.arange(432)
    first, second = order_of(plan, indices), order_of(plan, indices, epoch=1)

    def inside(batch):
        return all(3 <= at % 144 // 12 < 9 and 3 <= at % 12 < 9 for at in batch)

    assert all(map(inside, [*first, *second[:5]]))
    assert not all(map(inside, second[5:]))


def test_shuffled_rays_come_from_all_views():
    plan = RayPlan(10, (12, 12), one_view=False)
    assert any(len({at // 144 for at in batch}) > 1 for batch in order_of(plan, torch.arange(432)))


def test_a_batch_larger_than_a_view_repeats_rays():
    plan = RayPlan(2, (2, 2))
    assert all(len(batch) == 8 for batch in order_of(plan, torch.arange(8)))


def test_an_epoch_may_be_a_shuffle_of_all_rays(tmp_path):
    write_tiny_nerf(tmp_path)
    source = tiny_nerf(tmp_path, test_views=2, rays="shuffled", updates=None)
    assert source.plan is None
    drawn = list(Order(torch.arange(400), 8, seed=0, epoch=0, shuffle=True))
    assert sorted(at for batch in drawn for at in batch) == list(range(400))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"side": 24}, "fewer than the 24"),
        ({"side": 0}, "side must be >= 1"),
        ({"train_views": 9}, "train_views = 9, but there are 3"),
        ({"updates": None}, "an epoch needs a length"),
        ({"rays": "shuffled", "crop": 5}, "leave it out"),
        ({"rays": "some"}, "use 'one_view' or 'shuffled'"),
        ({"crop": -1}, "crop must be >= 0"),
        ({"download": True}, "cannot be fetched"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(tmp_path, arguments, message):
    write_blender(tmp_path)
    with pytest.raises(ValueError, match=message):
        blender(tmp_path, **{"side": 12, **arguments})


def test_missing_scenes_are_refused(tmp_path):
    for read in (blender, llff, tiny_nerf):
        with pytest.raises(FileNotFoundError, match=r"lego|fern|tiny_nerf"):
            read(tmp_path)


def test_damaged_scenes_are_refused(tmp_path):
    base = write_blender(tmp_path)
    about = json.loads((base / "transforms_train.json").read_text())
    about["frames"][1]["transform_matrix"] = [[1, 0], [0, 1]]
    (base / "transforms_train.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match="no 4 x 4 matrix"):
        blender(tmp_path, side=12)
    (base / "transforms_train.json").write_text("{}")
    with pytest.raises(ValueError, match="no list of views"):
        blender(tmp_path, side=12)
    write_blender(tmp_path, scene="chair")
    (tmp_path / "nerf_synthetic" / "chair" / "train" / "r_0.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"r_0\.png was not decoded"):
        blender(tmp_path, scene="chair", side=12)
    (tmp_path / "tiny_nerf_data.npz").write_bytes(b"PK no archive")
    with pytest.raises(ValueError, match="does not hold arrays"):
        tiny_nerf(tmp_path)


def test_damaged_llff_scenes_are_refused(tmp_path):
    base = write_llff(tmp_path)
    with pytest.raises(ValueError, match="no pictures of height 50"):
        llff(tmp_path, height=50)
    (base / "images_8" / "image000.png").unlink()
    with pytest.raises(ValueError, match="8 pictures"):
        llff(tmp_path, height=12)
    np.save(base / "poses_bounds.npy", np.zeros((9, 15)))
    with pytest.raises(ValueError, match=r"expected \[V, 17\]"):
        llff(tmp_path, height=12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((6, 10))}, r"shapes \(\(6, 10\)"),
        ({"images": np.zeros((6, 10, 10, 3), dtype=np.uint8)}, "expected fractions"),
        ({"images": np.full((6, 10, 10, 3), 255.0)}, "levels from 0 to 1, got 255 to 255"),
        ({"poses": np.zeros((6, 4))}, r"\[V, 4, 4\]"),
        ({"poses": np.zeros((5, 4, 4))}, r"\[V, 4, 4\]"),
        ({"focal": np.array([1.0, 2.0])}, "one number"),
        ({"focal": np.array(-1.0)}, "focal length must be > 0"),
    ],
)
def test_a_file_of_other_arrays_is_refused(tmp_path, change, message):
    path = write_tiny_nerf(tmp_path)
    with np.load(path) as arrays:
        np.savez(path, **{**arrays, **change})
    with pytest.raises(ValueError, match=message):
        tiny_nerf(tmp_path, test_views=2)


def test_files_that_are_missing_are_named_with_what_to_do(tmp_path):
    base = write_blender(tmp_path)
    (base / "transforms_val.json").unlink()
    with pytest.raises(FileNotFoundError, match="put it there, or set val_views = 0"):
        blender(tmp_path, side=12, val_views=1)
    (base / "train" / "r_1.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"picture .*r_1\.png is missing; put it there"):
        blender(tmp_path, side=12)


def test_views_that_are_not_square_are_not_squashed(tmp_path):
    base = write_blender(tmp_path)
    for path in base.rglob("*.png"):
        Image.new("RGBA", (24, 12)).save(path)
    with pytest.raises(ValueError, match="12 x 24 pixels, which 12 x 12 would squash"):
        blender(tmp_path, side=12)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [(4, 0.0, "not > 0"), (14, 0.0, "not > 0"), (15, -1.0, "in front of"), (16, 1.0, "beyond it")],
)
def test_llff_numbers_out_of_range_are_refused(tmp_path, column, value, message):
    base = write_llff(tmp_path)
    rows = np.load(base / "poses_bounds.npy")
    rows[3, column] = value
    np.save(base / "poses_bounds.npy", rows)
    with pytest.raises(ValueError, match=message):
        llff(tmp_path, height=12)


def test_an_llff_camera_that_looks_back_is_refused_when_read(tmp_path):
    base = write_llff(tmp_path)
    rows = np.load(base / "poses_bounds.npy")
    pose = rows[3, :15].reshape(3, 5)
    pose[:, :3] = pose[:, :3] @ np.diag([1, -1, -1])  # half a turn
    np.save(base / "poses_bounds.npy", rows)
    with pytest.raises(ValueError, match="in front of all cameras"):
        llff(tmp_path, height=12)


def test_an_llff_picture_that_is_none_is_refused(tmp_path):
    base = write_llff(tmp_path)
    (base / "images_8" / "image000.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"image000\.png was not decoded"):
        llff(tmp_path, height=12)


@pytest.mark.skipif("SPIKELOOM_DATA" not in os.environ, reason="SPIKELOOM_DATA is not set")
def test_the_real_lego_is_on_white_and_seen_from_around():
    root = Path(os.environ["SPIKELOOM_DATA"])
    if not (root / "nerf_synthetic" / "lego").exists():
        pytest.skip("no nerf_synthetic/lego under SPIKELOOM_DATA")
    source = blender(root, side=100, val_views=2, train_views=20)
    assert source.train.size == (100, 100)
    radius = source.train.poses[..., 3].norm(dim=1)
    torch.testing.assert_close(radius, torch.full_like(radius, 4.03), atol=0.01, rtol=0)
    corners = source.train.pictures[:, ::99, ::99]
    assert corners.mean() > 0.99
