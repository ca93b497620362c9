"""A spiking convolution that learns from patches, as an extractor of features."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from spikeloom.functional.first_spike import (
    Filters,
    dog_filter,
    latencies,
    signed_parts,
    spread,
    whitening_filters,
)
from spikeloom.kernels import door
from spikeloom.layers.extractors.base import Extractor
from spikeloom.registry import Unsupported, register

_fire, _learn = door("first_spikes"), door("learn_filters")
CONTRAST, WHITENING, MIDDLE = 7, 9, 0.5
ROWS = 100_000  # patches that go through at once


@register("extractor", "stdp_csnn")
class SpikingConvolution(Extractor):
    """STDP-CSNN: contrasts, one spiking convolution, and the earliest spike of each window.

    Grey images go through a difference of Gaussians, others through whitening filters; positive and
    negative answers become channels of their own, are brought to 0..1 by the least and greatest
    of the training images at each place, and fire at t = 1 - x. Every neuron of the convolution
    fires at most once, when its potential reaches the filter's threshold. The learner ``csnn_stdp``
    trains it; before that filters and ranges are arbitrary.

    Args:
        in_shape: (C, H, W) of an image.
        filters: F.
        kernel: width of filters.
        pool: width and stride of windows.
        threshold: of the filters at first.
        contrast: ``dog`` or ``whitening``; ``auto`` for the first where C is 1.
        keep: keep features on disk: true, or the folder.
    Shape:
        x [N, C, H, W] in 0..1 -> [N, F h w]
    Raises:
        Unsupported: samples that are no images, or smaller than a filter.
    Source:
        Falez et al., IJCNN 2019; constants of Goupy, Tirilly and Bilasco, NeurIPS 2024. That
        whitening repeats the border is inferred.
    """

    contrast_filter: Tensor
    contrast_bias: Tensor
    least: Tensor
    most: Tensor
    weight: Tensor
    threshold: Tensor

    def __init__(
        self,
        *,
        in_shape: tuple[int, ...],
        filters: int = 128,
        kernel: int = 5,
        pool: int = 4,
        threshold: float = 10.0,
        contrast: Literal["auto", "dog", "whitening"] = "auto",
        keep: bool | str = False,
    ) -> None:
        super().__init__(in_shape, keep)
        self.whitens = contrast == "whitening" or (contrast == "auto" and in_shape[0] > 1)
        least = max(kernel + pool - 1, WHITENING if self.whitens else 0)
        if len(in_shape) != 3 or min(in_shape[1:]) < least:
            raise Unsupported(
                f"stdp_csnn sees images [C, H, W] of {least} pixels and more, got samples "
                f"{tuple(in_shape)}; take other data or another extractor"
            )
        C, H, W = in_shape
        self.kernel, self.pool, self.shape = kernel, pool, (H - kernel + 1, W - kernel + 1)
        size = WHITENING if self.whitens else CONTRAST
        parts = {
            "contrast_filter": torch.zeros(C, C, size, size) if self.whitens
            else torch.cat([dog_filter(size)] * C, dim=1) / C,
            "contrast_bias": torch.zeros(C if self.whitens else 1),
        }  # fmt: skip
        maps = 2 * len(parts["contrast_filter"])
        parts |= {"least": torch.zeros(maps, H, W), "most": torch.ones(maps, H, W)}
        parts["threshold"] = torch.full((filters,), threshold)
        for name, value in parts.items():
            self.register_buffer(name, value)
        start = MIDDLE + 0.01 * torch.randn(filters, maps * kernel * kernel)
        self.weight = torch.nn.Parameter(start.clamp_(0, 1), requires_grad=False)
        self.out_features = filters * (self.shape[0] // pool) * (self.shape[1] // pool)

    def extra_repr(self) -> str:
        return f"kernel={self.kernel}, pool={self.pool}, whitens={self.whitens}"

    @torch.no_grad()
    def fit(self, x: Tensor) -> Tensor:
        """Take whitening filters and ranges from training images; their spike times.

        Shape:
            x [M, C, H, W] -> [M, maps, H, W]
        """
        if self.whitens:
            filters, bias = whitening_filters(x)
            self.contrast_filter.copy_(filters)
            self.contrast_bias.copy_(bias)
        seen = x.new_empty(len(x), *self.least.shape)  # may be gigabytes: filled part by part
        for part, into in zip(x.split(512), seen.split(512), strict=True):
            into.copy_(self._contrasts(part))
        self.least.copy_(seen.amin(0))
        self.most.copy_(seen.amax(0))
        for part in seen.split(512):
            part.copy_(latencies(spread(part, self.least, self.most)))
        return seen

    def times(self, x: Tensor) -> Tensor:
        """When the inputs of the convolution fire.

        Shape:
            x [N, C, H, W] -> [N, maps, H, W]
        """
        return latencies(spread(self._contrasts(x), self.least, self.most))

    def _contrasts(self, x: Tensor) -> Tensor:
        return signed_parts(x, self.contrast_filter, self.contrast_bias)

    @torch.no_grad()
    def learn(self, t: Tensor, corner: Tensor, how: Filters) -> Tensor:
        """Learn from a patch of each image.

        Args:
            t: spike times, as of :meth:`times`.
            corner: row and column of the upper left pixel of each patch.
            how: rates and bounds.
        Shape:
            t [N, maps, H, W], corner int64 [N, 2] -> winner int64 [N], -1 for none
        """
        offset = torch.arange(self.kernel)
        rows, columns = (corner[:, axis, None] + offset for axis in (0, 1))
        image = torch.arange(len(t))[:, None, None]
        patch = t[image, :, rows[:, :, None], columns[:, None]]  # [N, k, k, maps]
        patch = patch.permute(0, 3, 1, 2).flatten(1)
        self.learnt += 1
        winner: Tensor = _learn(patch, self.weight, self.threshold, how=how)
        return winner

    def features(self, x: Tensor) -> Tensor:
        room = max(1, ROWS // (self.shape[0] * self.shape[1]))
        return torch.cat([self._features(part) for part in x.split(room)])

    def _features(self, x: Tensor) -> Tensor:
        patches = F.unfold(self.times(x), self.kernel).transpose(1, 2)
        fired, _ = _fire(patches.flatten(0, 1), self.weight, self.threshold, strict=False)
        maps = fired.unflatten(0, (len(x), *self.shape)).permute(0, 3, 1, 2)
        return F.max_pool2d(1 - maps, self.pool).flatten(1)
