"""How alike two pictures are, and pictures and films as files."""

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from kornia.metrics import psnr, ssim
from PIL import Image
from torch import Tensor

from spikeloom.registry import Unsupported

WINDOW = 11  # pixels of the structural similarity's window, a Gaussian of 1.5
MILLISECONDS = 40  # of a frame
LPIPS_HINT = (
    "the perceptual distance needs a package and its pretrained weights: "
    "pip install 'spikeloom[torchmetrics]'"
)
Compare = Callable[[Tensor, Tensor], float]


def likeness(found: Tensor, target: Tensor, perceived: Compare | None = None) -> dict[str, Any]:
    """PSNR [dB] and SSIM of a picture, of levels from 0 to 1; LPIPS if it is asked for.

    SSIM has the window of its paper, 11 x 11, a Gaussian of 1.5, K1 = 0.01 and K2 = 0.03, inside of
    the picture; None of one smaller than that.

    Shape:
        found, target [H, W, 3]
    Source:
        Wang et al., IEEE Transactions on Image Processing 13(4), 2004.
    """
    pair = [picture.permute(2, 0, 1)[None].float().cpu() for picture in (found, target)]
    scores: dict[str, Any] = {"psnr": float(psnr(pair[0], pair[1], 1.0))}
    large = min(found.shape[:2]) >= WINDOW
    scores["ssim"] = (
        float(ssim(pair[0], pair[1], WINDOW, padding="valid").mean()) if large else None
    )
    if perceived is not None:
        scores["lpips"] = perceived(pair[0], pair[1])
    return scores


def lpips(backbone: str = "alex") -> Compare:
    """The learned perceptual distance; AlexNet's, as is likely of published figures.

    Raises:
        Unsupported: the package or its weights are not there.
    """
    try:
        metric: Any = import_module("torchmetrics.image.lpip").LearnedPerceptualImagePatchSimilarity
        measure = metric(net_type=backbone, normalize=True)
    except (ImportError, OSError) as error:
        raise Unsupported(f"{LPIPS_HINT} ({error})") from error

    def compare(found: Tensor, target: Tensor) -> float:
        with torch.no_grad():
            return float(measure(found, target))

    return compare


def write_picture(path: Path, picture: Tensor) -> None:
    """Levels from 0 to 1 as a PNG file.

    Shape:
        picture [H, W, 3], or [H, W] of grey
    """
    picture_of(picture).save(path)


def write_film(path: Path, frames: Sequence[Tensor]) -> None:
    """Frames as an animated WebP or GIF, by the suffix of the path, which starts over at its end.

    Shape:
        each [H, W, 3]
    """
    first, *rest = map(picture_of, frames)
    first.save(path, save_all=True, append_images=rest, duration=MILLISECONDS, loop=0)


def picture_of(levels: Tensor) -> Image.Image:
    """Levels from 0 to 1 as a picture of Pillow.

    Shape:
        levels [H, W, 3] or [H, W]
    """
    return Image.fromarray((levels.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy())


__all__ = ["likeness", "lpips", "picture_of", "write_film", "write_picture"]
