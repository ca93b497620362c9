"""Radiance fields: rays of cameras, depths along them, encodings, and what a ray shows."""

from spikeloom.functional.radiance.cameras import Rays, pixel_rays, to_ndc, view_of
from spikeloom.functional.radiance.compositing import (
    Composite,
    composite,
    intervals,
    opacities,
)
from spikeloom.functional.radiance.depths import grid, joined, midpoints, resampled, stratified
from spikeloom.functional.radiance.frequency import encoded_width, frequency_encoding
from spikeloom.functional.radiance.poses import looking, mean_pose, orbit, recentred, spiral
from spikeloom.functional.radiance.vectors import RAY, RayParts, ray_parts, ray_vectors

__all__ = [
    "RAY",
    "Composite",
    "RayParts",
    "Rays",
    "composite",
    "encoded_width",
    "frequency_encoding",
    "grid",
    "intervals",
    "joined",
    "looking",
    "mean_pose",
    "midpoints",
    "opacities",
    "orbit",
    "pixel_rays",
    "ray_parts",
    "ray_vectors",
    "recentred",
    "resampled",
    "spiral",
    "stratified",
    "to_ndc",
    "view_of",
]
