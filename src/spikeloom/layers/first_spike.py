"""A layer of single-spike neurons that answers by who fires first, and what it sees."""

import torch
from torch import Tensor, nn

from spikeloom.functional.first_spike import Groups, latencies, scores
from spikeloom.kernels import door
from spikeloom.layers.extractors import Extractor
from spikeloom.papers import Paper
from spikeloom.registry import Unsupported

PAPER = Paper(
    key="goupy2024neuronal",
    title="Neuronal Competition Groups with Supervised STDP for Spike-Based Classification",
    authors=("Gaspard Goupy", "Pierre Tirilly", "Ioan Marius Bilasco"),
    venue="Advances in Neural Information Processing Systems",
    year=2024,
    url="https://arxiv.org/abs/2410.17066",
    code="https://github.com/ggoupy/SpikeNN",
)
_fire = door("first_spikes")


class FirstSpikes(nn.Module):
    """Integrate-and-fire neurons, some for each class; the class of the first spike is the answer.

    A feature x fires once at t = 1 - x, or never at x = 0. A neuron without leak fires once, when
    its potential exceeds the threshold; ties go to the larger potential, and so does everything
    if none fires. Local rules train it: it has no gradients.

    Args:
        groups: which neuron is of which class.
        extractor: what makes features of a sample.
        v_threshold: of all neurons, > 0.
        mean, sd: of normal initial weights.
    Shape:
        x_seq [1, N, *] in 0..1 -> logits_seq [1, N, C], the largest where the first spike is
    Raises:
        ValueError: v_threshold is not > 0; when called, several steps, or values beyond 0..1.
        Unsupported: when called in training with gradients.
    """

    threshold: Tensor

    def __init__(
        self,
        groups: Groups,
        extractor: Extractor,
        *,
        v_threshold: float = 20.0,
        mean: float = 0.3,
        sd: float = 0.01,
    ) -> None:
        super().__init__()
        if not v_threshold > 0:
            raise ValueError(f"v_threshold must be > 0, got {v_threshold}")
        self.groups, self.extractor = groups, extractor
        start = mean + sd * torch.randn(groups.count, extractor.out_features)
        self.weight = nn.Parameter(start, requires_grad=False)
        self.register_buffer("threshold", torch.full((groups.count,), v_threshold))

    def forward(self, x_seq: Tensor) -> Tensor:
        if self.training and torch.is_grad_enabled():
            raise Unsupported(
                "first spikes have no gradients, which this way of training needs; train the model "
                'with s2_stdp, sstdp or r_stdp, and optimizer = "none"'
            )
        t, v = _fire(self.times(x_seq), self.weight, self.threshold)
        return scores(t, v, self.groups.classes)[None]

    def times(self, x_seq: Tensor) -> Tensor:
        """When the features fire.

        Shape:
            x_seq [1, N, *] -> [N, D]
        """
        return latencies(self.extractor(one_step(x_seq)))


def one_step(x_seq: Tensor) -> Tensor:
    """The values of the only step, which times are read from.

    Raises:
        ValueError: there are several steps, or values beyond 0..1.
    """
    if len(x_seq) != 1:
        raise ValueError(
            f"times of first spikes are read from the values of one step, got {len(x_seq)}; set "
            "model.T = 1"
        )
    x = x_seq[0]
    if x.numel() and not (x.min() >= 0 and x.max() <= 1):
        raise ValueError(
            f"times of first spikes are read from values in 0..1, got {x.min():g} to {x.max():g}; "
            'set model.encoder = "intensity"'
        )
    return x
