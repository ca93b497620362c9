"""Fully connected networks in grades, to be trained one grade after the other."""

from collections.abc import Sequence
from math import prod
from typing import Literal

from torch import Tensor, nn

from spikeloom.layers import Grades, Linear, OverTime, Stack
from spikeloom.models.parts import MakeNeuron, MakeNorm, check_input, scaled
from spikeloom.registry import register


@register("model", "graded_mlp")
class GradedMLP(Grades):
    """Grades of linear layers and neurons, with a linear head each.

    With one grade it is an ordinary network, the single-grade twin. As published the neurons are
    ``relu``; spiking ones are an experiment of ours. Each hidden layer is one of ``stages``, with
    ``stage_channels`` neurons.

    Args:
        grades: L.
        hidden: widths of the hidden layers of a grade; all grades are alike.
        in_shape: (C, *) of one sample, of any rank; it is flattened.
        num_classes: K, the number of outputs.
        neuron: makes the neurons of a layer from the shape (C,) of one sample.
        norm: makes the norm of a layer from its number of channels.
        init: initial weights: ``uniform``, U(-1/√fan_in, 1/√fan_in) for weights and biases, or
            ``glorot``, normal with variance 2 / (fan_in + fan_out), biases with 0.01².
        width: multiplies all hidden widths.
    Shape:
        x_seq [T, N, *in_shape] -> y_seq [T, N, K]
    Raises:
        ValueError: no grade or no hidden layer; when called, an input that does not fit
            ``in_shape``.
    Source:
        Fang and Xu, NeurIPS 2024, structures of the experiments.
    """

    def __init__(
        self,
        grades: int = 4,
        hidden: Sequence[int] = (256, 256),
        *,
        in_shape: tuple[int, ...],
        num_classes: int,
        neuron: MakeNeuron,
        norm: MakeNorm,
        init: Literal["uniform", "glorot"] = "uniform",
        width: float = 1.0,
    ) -> None:
        if grades < 1 or not hidden or min(hidden) < 1:
            raise ValueError(
                "a network needs at least one grade, and a grade one hidden layer of at least one "
                f"neuron, got grades = {grades} and hidden = {list(hidden)}"
            )
        widths = [scaled(item, width) for item in hidden]
        features, n = [], prod(in_shape)
        for grade in range(grades):
            layers: list[nn.Module] = [] if grade else [OverTime(nn.Flatten())]
            for out in widths:
                layers.append(Stack(OverTime(Linear(n, out)), norm(out), neuron((out,))))
                n = out
            features.append(Stack(*layers))
        super().__init__(features, [OverTime(Linear(n, num_classes)) for _ in range(grades)])
        self.in_shape = tuple(in_shape)
        self.stage_channels = tuple(widths * grades)
        if init == "glorot":
            self.apply(_glorot)

    @property
    def stages(self) -> list[Stack]:
        """All hidden layers, as those of other models."""
        return [layer for row in self.features for layer in row.children() if type(layer) is Stack]

    def running(self, x_seq: Tensor) -> list[Tensor]:
        check_input(self, x_seq, self.in_shape)
        return super().running(x_seq)


def _glorot(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_normal_(module.weight)
        nn.init.normal_(module.bias, std=0.01)
