"""Classification by who fires first: one layer of single-spike neurons on features."""

from torch import Tensor

from spikeloom.functional.first_spike import Groups
from spikeloom.layers.extractors import Extractor, Intensities
from spikeloom.layers.first_spike import PAPER, FirstSpikes
from spikeloom.models.parts import check_input
from spikeloom.registry import register


@register("model", "first_spike", paper=PAPER, status="exact")
class FirstSpike(FirstSpikes):
    """Groups of neurons, one for each class, on features: the first spike decides.

    Args:
        size: M, neurons for each class.
        in_shape: of a sample; its values lie in 0..1 (``encoder = "intensity"``).
        num_classes: C.
        extractor: what makes features of a sample; without, they are its values.
        v_threshold: of all neurons, in potential: it grows with the number of features.
        mean, sd: of normal initial weights.
    Shape:
        x_seq [1, N, *in_shape] -> logits_seq [1, N, C]
    Raises:
        ValueError: an argument out of range; when called, inputs of other shape or several steps.
        Unsupported: when called in training with gradients.
    Source:
        Goupy, Tirilly and Bilasco, NeurIPS 2024.
    """

    def __init__(
        self,
        size: int = 1,
        *,
        in_shape: tuple[int, ...],
        num_classes: int,
        extractor: Extractor | None = None,
        v_threshold: float = 20.0,
        mean: float = 0.3,
        sd: float = 0.01,
    ) -> None:
        extractor = extractor or Intensities(in_shape=in_shape)
        groups = Groups(num_classes, size)
        super().__init__(groups, extractor, v_threshold=v_threshold, mean=mean, sd=sd)
        self.in_shape = tuple(in_shape)

    def forward(self, x_seq: Tensor) -> Tensor:
        check_input(self, x_seq, self.in_shape)
        return super().forward(x_seq)
