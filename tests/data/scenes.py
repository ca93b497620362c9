"""Small scenes written in the layouts of the data sets."""

import json
import math
from pathlib import Path

import numpy as np
from PIL import Image

from spikeloom.functional.radiance import orbit

ANGLE = 0.7


def pictures(count, size, seed=0, channels=4):
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (count, *size, channels), dtype=np.uint8)


def write_blender(root: Path, *, side=12, counts=(3, 1, 2), scene="lego") -> Path:
    """A scene under ``nerf_synthetic``; returns its folder."""
    base = root / "nerf_synthetic" / scene
    poses = orbit(sum(counts), radius=4.0)
    at = 0
    for part, count in zip(("train", "val", "test"), counts, strict=True):
        (base / part).mkdir(parents=True)
        frames = []
        for k, levels in enumerate(pictures(count, (side, side), seed=at)):
            Image.fromarray(levels, "RGBA").save(base / part / f"r_{k}.png")
            matrix = [*poses[at + k].tolist(), [0, 0, 0, 1]]
            frames.append({"file_path": f"./{part}/r_{k}", "transform_matrix": matrix})
        at += count
        about = {"camera_angle_x": ANGLE, "frames": frames}
        (base / f"transforms_{part}.json").write_text(json.dumps(about))
    return base


def write_tiny_nerf(root: Path, *, side=10, count=6) -> Path:
    """``tiny_nerf_data.npz``; returns its path."""
    images = pictures(count, (side, side), channels=3).astype(np.float32) / 255
    last = np.broadcast_to(np.array([0, 0, 0, 1.0]), (count, 1, 4))
    poses = np.concatenate([orbit(count, radius=4.0).numpy(), last], axis=1).astype(np.float32)
    path = root / "tiny_nerf_data.npz"
    np.savez(path, images=images, poses=poses, focal=0.5 * side / math.tan(0.5 * ANGLE))
    return path


def write_llff(root: Path, *, size=(12, 16), count=9, scene="fern") -> Path:
    """A scene under ``nerf_llff_data`` whose cameras look along -z from beside each other."""
    base = root / "nerf_llff_data" / scene
    (base / "images_8").mkdir(parents=True)
    random = np.random.default_rng(3)
    rows = []
    for k, levels in enumerate(pictures(count, size, channels=3)):
        Image.fromarray(levels, "RGB").save(base / "images_8" / f"image{k:03}.png")
        place = np.array([0.3, 0.2, 0.05]) * random.standard_normal(3)
        # columns down, right, back, place, and (H, W, f) of the full picture
        pose = np.stack([[0, -1, 0], [1, 0, 0], [0, 0, 1], place, [96, 128, 100]], axis=1)
        rows.append(np.concatenate([pose.ravel(), [2.0, 8.0 + k]]))
    np.save(base / "poses_bounds.npy", np.array(rows))
    return base
