"""Products that mix tokens (places of an image): with learnt weights, and of spikes with spikes."""

import torch
from torch import Tensor


def token_mixing(x: Tensor, weight: Tensor) -> Tensor:
    """Each head mixes the tokens of its channels with a matrix of its own.

    y[g, c, m] = sum_n weight[g, m, n] x[g, c, n], for the D/G channels c of head g.

    Linear in x: packets of spikes may arrive in any order, and their sums are the same.

    Args:
        x: spikes or numbers, channels of a head side by side, tokens last.
        weight: one matrix for each head.
    Shape:
        x [*, D, M], weight [G, M, M] -> [*, D, M]
    Raises:
        ValueError: D is not a multiple of G, or another number of tokens.
    Source:
        Deng, Wu, Du and Gu, NeurIPS 2024 (STMixer).
    Example:
        >>> x = torch.rand(4, 2, 6, 9)
        >>> torch.equal(token_mixing(x, torch.eye(9).expand(3, 9, 9)), x)
        True
    """
    G, M, _ = weight.shape
    if x.shape[-1] != M or x.shape[-2] % G:
        raise ValueError(
            f"token_mixing has {G} matrices for {M} tokens, got [*, D, M] = {tuple(x.shape)}; D "
            f"must be a multiple of {G}"
        )
    by_head = x.unflatten(-2, (G, -1))
    y: Tensor = torch.einsum("gmn,...gcn->...gcm", weight, by_head)
    return y.flatten(-3, -2)


def spike_attention(q: Tensor, k: Tensor, v: Tensor, *, heads: int, scale: float = 0.125) -> Tensor:
    """Attention among tokens without a softmax: similar spikes weigh the values of other tokens.

    y[g, c, m] = scale sum_n (sum_b q[g, b, m] k[g, b, n]) v[g, c, n], for each head g.

    A product of spikes with spikes: both must be there in the same step, and what is computed of
    two packets is not the sum of what is computed of each.

    Args:
        q, k, v: spikes, channels of a head side by side, tokens last.
        heads: G.
        scale: factor on the result, so that neurons with a threshold of 1 can take it.
    Shape:
        q, k, v [*, D, M] -> [*, D, M]
    Raises:
        ValueError: D is not a multiple of heads.
    Source:
        Zhou et al., ICLR 2023 (arXiv 2209.15425, Spikformer), spiking self-attention.
    Example:
        >>> ones = torch.ones(1, 1, 4, 3)
        >>> spike_attention(ones, ones, ones, heads=2).unique().item()
        0.75
    """
    if heads < 1 or q.shape[-2] % heads:
        raise ValueError(f"{q.shape[-2]} channels cannot be shared by {heads} heads; use a divisor")
    q, k, v = (x.unflatten(-2, (heads, -1)) for x in (q, k, v))
    alike = torch.einsum("...gbm,...gbn->...gmn", q, k)
    y: Tensor = torch.einsum("...gmn,...gcn->...gcm", alike, v) * scale
    return y.flatten(-3, -2)
