"""What the model families share: types of their building blocks, widths, initial weights."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from spikeloom.layers import Conv2d, Dropout, Head, Linear, OverTime

MakeNeuron = Callable[[tuple[int, ...]], nn.Module]
MakeNorm = Callable[[int], nn.Module]
MakeReadout = Callable[[tuple[int, ...]], nn.Module]
MakeHead = Callable[..., Head]  # (features, num_classes=K)
Size = tuple[int, int]


def scaled(channels: int, width: float) -> int:
    """``channels * width``, at least 1.

    Raises:
        ValueError: width <= 0.
    """
    if not width > 0:
        raise ValueError(f"width must be > 0, got {width}")
    return max(1, round(channels * width))


def check_input(model: nn.Module, x_seq: Tensor, in_shape: Sequence[int]) -> None:
    """Raise ValueError unless ``x_seq`` is a sequence of batches of ``in_shape``."""
    if x_seq.dim() != 2 + len(in_shape) or tuple(x_seq.shape[2:]) != tuple(in_shape):
        raise ValueError(
            f"{type(model).__name__} was built for in_shape = {tuple(in_shape)} and expects "
            f"[T, N, *in_shape], got {tuple(x_seq.shape)}; mend the data or build the model with "
            f"the in_shape of the data"
        )


def strided(size: Size, stride: int) -> Size:
    """Image size after a convolution or pooling of odd kernel, padded by half of it."""
    return (size[0] - 1) // stride + 1, (size[1] - 1) // stride + 1


def conv_norm(
    channels: int, out: int, kernel: int, stride: int, norm: MakeNorm
) -> tuple[nn.Module, nn.Module]:
    """A convolution without bias, padded by half its kernel, and its norm."""
    conv = Conv2d(channels, out, kernel, stride, kernel // 2, bias=False)
    return OverTime(conv), norm(out)


def linear_layer(
    n: int, out: int, *, neuron: MakeNeuron, norm: MakeNorm, dropout: float = 0.0
) -> list[nn.Module]:
    """Dropout (if any), linear map without bias, norm and neuron."""
    before = [Dropout(dropout)] if dropout else []
    return [*before, OverTime(Linear(n, out, bias=False)), norm(out), neuron((out,))]


def last_layer(
    n: int, num_classes: int, readout: MakeReadout | None, head: MakeHead | None = None
) -> list[nn.Module]:
    """A linear map to one value for each class, and the read-out of these if any; or a head.

    Raises:
        ValueError: both a readout and a head.
    """
    if head:
        if readout:
            raise ValueError("give readout or head, not both: a head has a read-out of its own")
        return [head(n, num_classes=num_classes)]
    linear = OverTime(Linear(n, num_classes))
    return [linear, readout((num_classes,))] if readout else [linear]


def initialise(model: nn.Module) -> None:
    """Kaiming-normal weights for convolutions and linear layers, zero biases.

    std = sqrt(2 / fan), with fan-out for convolutions and fan-in for linear layers. A head keeps
    the weights that it starts with.

    Source: He et al., ICCV 2015.
    """
    own = {inner for head in model.modules() if isinstance(head, Head) for inner in head.modules()}
    for module in model.modules():
        if module in own:
            continue
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
