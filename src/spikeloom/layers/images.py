"""Convolution and max-pooling that keep little of spikes for the backward."""

from torch import Tensor, nn

from spikeloom.kernels import door

_conv2d, _max_pool2d = door("conv2d"), door("max_pool2d")


class Conv2d(nn.Conv2d):
    """``nn.Conv2d`` that keeps an input of zeros and ones as bits, see ``memory=`` of ``use``.

    Shape:
        x [N, C, H, W] -> [N, C', H', W']
    """

    def forward(self, input: Tensor) -> Tensor:
        stride, padding, dilation = _pair(self.stride), self.padding, _pair(self.dilation)
        if self.padding_mode != "zeros" or isinstance(padding, str) or input.dim() != 4:
            return super().forward(input)
        y: Tensor = _conv2d(
            input, self.weight, self.bias, stride=stride, padding=_pair(padding),
            dilation=dilation, groups=self.groups,
        )  # fmt: skip
        return y


class MaxPool2d(nn.MaxPool2d):
    """``nn.MaxPool2d`` that keeps one byte an output.

    Shape:
        x [N, C, H, W] -> [N, C, H', W']
    """

    def forward(self, input: Tensor) -> Tensor:
        if self.return_indices or self.ceil_mode or input.dim() != 4:
            y: Tensor = super().forward(input)
            return y
        return _max_pool2d(  # type: ignore[no-any-return]
            input, _pair(self.kernel_size), stride=_pair(self.stride), padding=_pair(self.padding),
            dilation=_pair(self.dilation),
        )  # fmt: skip


def _pair(size: int | tuple[int, ...]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])
