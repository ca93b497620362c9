"""MPFD: membrane potentials that tell samples apart as a teacher's do."""

from torch import Tensor

from spikeloom.callbacks.potentials import Seen
from spikeloom.callbacks.taught import TaughtLayers
from spikeloom.functional.gram import gram_mismatch
from spikeloom.layers.sub_bit import PAPER
from spikeloom.registry import register


@register("callback", "mpfd", paper=PAPER, status="reconstruction")
class MPFD(TaughtLayers):
    """Distils potentials: weight sum_pairs 1/T sum_t 1/N |G_S[t] - G_T[t]|^2.

    G is the Gram matrix of the potentials before the reset, see
    :func:`spikeloom.functional.gram.gram`: how alike the samples of a batch are to a layer. Layers
    of different sizes can be compared, and gradients enter before the surrogate, so they reach
    neurons far from their threshold.

    Args:
        weight: lambda (unknown in the paper: 0.1, 1 and 10 are worth a try).
        pairs: names, or patterns that match one layer each, of layers of neurons of the model and
            of the teacher; the last neurons of every stage by default (inferred).
        steps: of the teacher where they differ from the model's, for repeated images.
        teacher: handed over by the run: see ``[teacher]``.
    Raises:
        ValueError: an argument out of range.
        Unsupported: no teacher, no such layers, or other numbers of stages.
    Source:
        Wei et al., NeurIPS 2025, as summaries tell it; normalisation, pairs and weight inferred.
    """

    name = "mpfd"

    def apart(self, own: Seen, other: Seen) -> Tensor:
        return gram_mismatch(own.h_seq, other.h_seq)
