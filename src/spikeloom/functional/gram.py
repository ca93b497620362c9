"""How alike the samples of a batch are to a layer, and how far two layers differ in that."""

import torch
from torch import Tensor

from spikeloom.functional.neurons.inputs import wide

TINY = 1e-12


def gram(h_seq: Tensor) -> Tensor:
    """The Gram matrix of a batch's potentials at every step, its rows of norm 1.

    G[t] = F F^T, F the potentials as [N, C H W]; each row is divided by its length, by
    1e-12 at least, so that a layer without input has zeros. Rotating or scaling the features
    changes nothing.

    Shape:
        h_seq [T, N, *] -> [T, N, N], in float32 at least
    """
    features = wide(h_seq).flatten(2)
    with torch.autocast(h_seq.device.type, enabled=False):
        products = features @ features.transpose(1, 2)
    return products / (products.square().sum(2, keepdim=True) + TINY**2).sqrt()


def gram_mismatch(h_seq: Tensor, other_seq: Tensor) -> Tensor:
    """Squared distance of two layers' Gram matrices: 1/T sum_t 1/N |G[t] - G'[t]|^2.

    Where the numbers of steps differ, potentials are averaged over time first. One sample alone
    has a distance of 0.

    Shape:
        h_seq [T, N, *], other_seq [T', N, *'] -> scalar
    Raises:
        ValueError: batches of different sizes.
    Source:
        Wei et al., NeurIPS 2025; the normalisation is inferred.
    """
    if h_seq.shape[1] != other_seq.shape[1]:
        raise ValueError(
            f"Gram matrices of {h_seq.shape[1]} and {other_seq.shape[1]} samples cannot be "
            "compared; let both networks see the same batch"
        )
    if len(h_seq) != len(other_seq):
        h_seq, other_seq = (wide(seq).mean(0, keepdim=True) for seq in (h_seq, other_seq))
    squares = (gram(h_seq) - gram(other_seq)).square()
    return squares.sum((1, 2)).mean() / h_seq.shape[1]
