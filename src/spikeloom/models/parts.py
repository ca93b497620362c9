"""What the model families share: the types of their building blocks, widths, initial weights."""

from collections.abc import Callable

from torch import nn

MakeNeuron = Callable[[tuple[int, ...]], nn.Module]
MakeNorm = Callable[[int], nn.Module]


def scaled(channels: int, width: float) -> int:
    """``channels * width``, at least 1.

    Raises:
        ValueError: width <= 0.
    """
    if not width > 0:
        raise ValueError(f"width must be > 0, got {width}")
    return max(1, round(channels * width))


def initialise(model: nn.Module) -> None:
    """Kaiming-normal weights for convolutions and hidden linear layers, zero biases.

    std = sqrt(2 / fan), with fan-out for convolutions and fan-in for linear layers.
    Source: He et al., ICCV 2015.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
