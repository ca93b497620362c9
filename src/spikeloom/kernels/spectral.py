"""``functional.synapses`` as one product in the frequency domain, for long sequences.

y_j is the sum over inputs of x_i convolved with w_ji r_ji^n. Padded to twice the length, both are
transformed, multiplied over inputs and transformed back: no loop over time, and what is kept is
[T + 1, O, I], whatever the batch.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from spikeloom.functional import Decay
from spikeloom.functional.neurons.inputs import wide
from spikeloom.functional.neurons.synapses import check_synapses, effective, sharing
from spikeloom.kernels.cpu import neurons

LONG = 64  # steps from which transforms are worth it
MOST = 1 << 23  # numbers T O I: about 250 MB with what autograd keeps of them


def synapses(
    x_seq: Tensor, state: Tensor | None = None, *, weight: Tensor, decay: Decay
) -> tuple[Tensor, Tensor]:
    """:func:`spikeloom.functional.synapses` by Fourier transforms; the state too."""
    kind = check_synapses(x_seq, state, weight, decay)
    if state is not None or kind != "synapse":
        raise ValueError("the transforms start at rest, with a decay for each synapse")
    x = wide(x_seq)
    T = len(x)
    w, keep = effective(weight.to(x.dtype), decay)
    assert isinstance(keep, Tensor)
    n = torch.arange(T, device=x.device, dtype=x.dtype)[:, None, None]
    powers = keep**n
    answer = torch.fft.rfft(w * powers, 2 * T, 0)  # [T + 1, O, I]
    product = torch.fft.rfft(x, 2 * T, 0) @ answer.mT
    y_seq = torch.fft.irfft(product, 2 * T, 0)[:T]
    last = w * torch.einsum("tni,toi->noi", x.flip(0), powers)
    return y_seq.to(x_seq.dtype), last.to(x_seq.dtype)


def objections(
    x_seq: Tensor, state: Tensor | None = None, *, weight: Tensor, decay: Decay
) -> Iterator[str]:
    """Why the transforms cannot, or had better not, serve a call; nothing if they can."""
    check_synapses(x_seq, state, weight, decay)
    if sharing(decay.keep, weight) != "synapse":
        yield "decays are shared"
    if state is not None:
        yield "a state is carried on, and the transforms start at rest"
    if len(x_seq) < LONG:
        yield f"{len(x_seq)} steps; below {LONG} the sweeps are as fast"
    if (size := len(x_seq) * weight.numel()) > MOST:
        yield f"the answers of all synapses at all steps are {size:,} numbers, above {MOST:,}"
    if torch.is_autocast_enabled(x_seq.device.type):
        yield "autocast is on: transforms in half precision are too coarse"
    yield from neurons.watched()
