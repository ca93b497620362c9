"""A picture made on the spot, learnt as a function of the place: half of its pixels are shown."""

from pathlib import Path

import torch
from torch import Tensor

from spikeloom.data.source import Plot, Source, TensorNumbers
from spikeloom.functional.radiance import encoded_width, frequency_encoding
from spikeloom.registry import register


@register("dataset", "painting")
def painting(
    root: Path | None = None, *, side: int = 64, levels: int = 6, download: bool = False
) -> Source:
    """Waves, rings and discs in three colours: encoded place -> (red, green, blue) in 0..1.

    Places are in [-1, 1]² and come as their frequency encoding. The pixels of one colour of a chess
    board are for training, those of the other for the test.

    Args:
        root: not needed, taken so that all datasets are built alike.
        side: height and width of the picture [pixels], even.
        levels: of the frequency encoding.
        download: not needed.
    Raises:
        ValueError: a side that is odd or below 4.
    """
    del root, download
    if side < 4 or side % 2:
        raise ValueError(f"side must be even and at least 4 pixels, got {side}")
    along = torch.linspace(-1, 1, side)
    places = torch.cartesian_prod(along, along)
    colours, samples = painted(places), frequency_encoding(places, levels)
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    shown = ((row + column) % 2 == 0).flatten()
    train, test = (TensorNumbers(samples[part], colours[part]) for part in (shown, ~shown))
    return Source(
        "painting", train, test, (encoded_width(2, levels),), measure="psnr", outputs=3,
        plot=Plot(samples, colours, size=(side, side)),
    )  # fmt: skip


def painted(places: Tensor) -> Tensor:
    """The colours at places of [-1, 1]².

    Shape:
        places [M, 2] -> [M, 3]
    """
    y, x = places.unbind(1)
    radius = torch.hypot(x, y)
    red = 0.5 + 0.5 * torch.sin(5 * x + 3 * torch.sin(4 * y))
    green = 0.5 + 0.5 * torch.cos(14 * radius)
    blue = 0.5 + 0.25 * torch.sin(9 * (x + y)) + 0.25 * torch.sin(7 * (x - 2 * y))
    disc = torch.hypot(x - 0.4, y + 0.35) < 0.3
    bar = (x + 0.55).abs() < 0.12
    red = torch.where(disc, 0.95, red)
    green = torch.where(disc, 0.2, torch.where(bar, 0.9, green))
    blue = torch.where(bar, 0.1, blue)
    return torch.stack([red, green, blue], dim=1)
