"""Losses on spike counts, with the gradients that event-driven learning gives them.

``gradient`` is that of a spike's value; event-driven learning takes its negative for the gradient
of the time of every spike that was emitted. All are means over samples.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from spikeloom.layers.double_exponential import PAPER
from spikeloom.losses.rows import check_spikes, descending, wide
from spikeloom.registry import register


@register("loss", "count", paper=PAPER, status="exact")
class Count:
    """Half the squared error of spike counts, with a bound on each side.

    e[c] = (n[c] - n*[c]) / T, n* = ``desired`` for the label and ``undesired`` for the others;
    e = 0 where the label fires more than desired or another less than undesired.

    L = T/2 sum_c e[c]²;  gradient of each spike of c = e[c] boost[c]

    boost = max(0.1 (spikes of all other classes) / (spikes of the labels), 1) for labels, summed
    over the batch (of this process), and 1 for others.

    Args:
        desired: spikes of the label's neuron in T steps, at most T.
        undesired: spikes of the others.
        boost: whether few spikes of the labels weigh more.
    Shape:
        spike_seq [T, N, K] (or scores of the read-out ``early_spikes``), y [N] -> scalar
    Raises:
        ValueError: unless desired > undesired >= 0; when called, desired > T.
        Unsupported: outputs that are no spikes, or labels of several classes.
    Source:
        The code of Zhu et al., NeurIPS 2023; there summed over the batch.
    """

    def __init__(self, *, desired: float = 5.0, undesired: float = 1.0, boost: bool = True) -> None:
        if not desired > undesired >= 0:
            raise ValueError(f"need desired > undesired >= 0, got {desired} and {undesired}")
        self.desired, self.undesired, self.boost = desired, undesired, boost

    def __call__(self, spike_seq: Tensor, y: Tensor) -> Tensor:
        emitted = check_spikes("a loss on spike counts", spike_seq, y)
        if self.desired > len(emitted):
            raise ValueError(
                f"desired = {self.desired:g} spikes, but in T = {len(emitted)} steps a neuron "
                f"fires {len(emitted)} times at most"
            )
        n = emitted.sum(0)
        e = self.error(n, y, len(emitted))
        value = 0.5 * len(emitted) * e.square().sum() / max(len(y), 1)
        slope = e * self.boosted(n, y) if self.boost else e
        return descending(value, spike_seq, self.spread(slope, emitted) / max(len(y), 1))

    def error(self, n: Tensor, y: Tensor, T: int) -> Tensor:
        """e, for counts n [N, K]."""
        label = F.one_hot(y, n.shape[1]).bool()
        wanted = torch.where(label, self.desired, self.undesired)
        e = (n - wanted) / T
        return torch.where(label, e.clamp(max=0), e.clamp(min=0))

    def boosted(self, n: Tensor, y: Tensor) -> Tensor:
        """boost, for counts n [N, K]."""
        label = F.one_hot(y, n.shape[1]).bool()
        ratio = n[~label].sum() / n[label].sum().clamp(min=1)
        return torch.where(label, (0.1 * ratio).clamp(min=1), torch.ones_like(n))

    def spread(self, slope: Tensor, emitted: Tensor) -> Tensor:
        """The gradient of every spike, from e boost [N, K]."""
        return slope.expand_as(emitted)


@register("loss", "count_plus", paper=PAPER, status="exact")
class CountPlus(Count):
    """Enhanced counting: a neuron's gradient does not shrink when it fires rarely.

    e, L and boost as :class:`Count`;  gradient of each spike of c = e[c] boost[c] / n[c]

    All spikes of a neuron share e[c], however many there are: up to the factor 1/T and the boost
    this is the gradient of n - n* ln n (inferred).

    Arguments, shape and errors as :class:`Count`.

    Source:
        Zhu et al., NeurIPS 2023, as in their code.
    """

    def spread(self, slope: Tensor, emitted: Tensor) -> Tensor:
        return (slope / emitted.sum(0).clamp(min=1)).expand_as(emitted)


@register("loss", "count_zero", paper=PAPER, status="exact")
class CountZero(CountPlus):
    """Enhanced counting whose gradients add up to zero over all spikes: a negative control.

    The gradient of :class:`CountPlus` minus its mean over all spikes of the batch.

    Arguments, shape and errors as :class:`Count`.

    Source:
        The code of Zhu et al., NeurIPS 2023.
    """

    def spread(self, slope: Tensor, emitted: Tensor) -> Tensor:
        gradient = super().spread(slope, emitted)
        return gradient - (gradient * emitted).sum() / emitted.sum().clamp(min=1)


@register("loss", "ce_plus", paper=PAPER, status="exact")
class CrossEntropyPlus:
    """Cross-entropy of spike counts, shared by the spikes of a neuron.

    z[c] = 2 n[c] / T, -20 where n = 0;  L = T/2 CE(z, y), p = softmax(z)
    gradient of each spike of c = (p[c] - [c = y]) / n[c]

    Samples whose label's neuron is silent are left out.

    Shape:
        spike_seq [T, N, K] (or scores of the read-out ``early_spikes``), y [N] -> scalar
    Raises:
        Unsupported: outputs that are no spikes, or labels of several classes.
    Source:
        The code of Zhu et al., NeurIPS 2023; there summed over the batch.
    """

    def __call__(self, spike_seq: Tensor, y: Tensor) -> Tensor:
        emitted = check_spikes("ce_plus", spike_seq, y)
        T, n = len(emitted), emitted.sum(0)
        z = torch.where(n > 0, 2 * n / T, -20.0)
        heard = (n.gather(1, y[:, None]) > 0).to(n.dtype)
        each = F.cross_entropy(z, y, reduction="none")
        value = 0.5 * T * (each * heard[:, 0]).sum() / max(len(y), 1)
        slope = heard * (z.softmax(1) - F.one_hot(y, n.shape[1])) / n.clamp(min=1)
        return descending(value, spike_seq, slope.expand_as(emitted) / max(len(y), 1))


@register("loss", "spike_kernel", paper=PAPER, status="exact")
class SpikeKernel:
    """Squared distance of filtered spike trains.

    p[t] = (1 - 1/tau_s) p[t-1] + s[t] / tau_s, and p* the same of the target train
    L = 1/2 sum_{t,c} (p[t, c] - p*[t, c])², with the ordinary gradient

    The target is silent but for the label: there spikes at all steps but the first where T < 20,
    at every second step (0, 1, 0, 1, ...) else.

    Args:
        tau_s: time constant of the filter [steps], >= 1.
    Shape:
        spike_seq [T, N, K] (or scores of the read-out ``early_spikes``), y [N] -> scalar
    Raises:
        ValueError: tau_s < 1.
        Unsupported: outputs that are no spikes, or labels of several classes.
    Source:
        The code of Zhu et al., NeurIPS 2023; there summed over the batch. Inferred: the factor
        1/tau_s of the filter, and silence as the target of the other classes.
    """

    def __init__(self, *, tau_s: float = 3.0) -> None:
        if not tau_s >= 1:
            raise ValueError(f"tau_s must be >= 1, got {tau_s}")
        self.tau_s = tau_s

    def __call__(self, spike_seq: Tensor, y: Tensor) -> Tensor:
        emitted = check_spikes("spike_kernel", spike_seq, y)
        T = len(emitted)
        t = torch.arange(T, device=y.device)
        train = (t > 0) if T < 20 else (t % 2 == 1)
        target = train.view(-1, 1, 1) * F.one_hot(y, emitted.shape[2])
        # The filter is linear: one pass over the difference.
        difference = emitted + (wide(spike_seq) - wide(spike_seq).detach()) - target
        p, total = torch.zeros_like(difference[0]), torch.zeros_like(difference[0, 0, 0])
        for d in difference:
            p = (1 - 1 / self.tau_s) * p + d / self.tau_s
            total = total + p.square().sum()
        return 0.5 * total / max(len(y), 1)


@register("loss", "ttfs", paper=PAPER, status="exact")
class TimeToFirstSpike:
    """Cross-entropy of the times of first spikes.

    z[c] = 1 - t[c] / T, t the step of the first spike, ``silent`` where there is none
    L = T CE(z, y), p = softmax(z);  gradient of the first spike of c = p[c] - [c = y], others 0

    Args:
        silent: z of a neuron without a spike; -3, or -20 in a variant.
    Shape:
        spike_seq [T, N, K] (or scores of the read-out ``early_spikes``), y [N] -> scalar
    Raises:
        ValueError: silent >= 0.
        Unsupported: outputs that are no spikes, or labels of several classes.
    Source:
        The code of Zhu et al., NeurIPS 2023; there summed over the batch.
    """

    def __init__(self, *, silent: float = -3.0) -> None:
        if not silent < 0:
            raise ValueError(f"silent must be < 0, below the z of any spike, got {silent}")
        self.silent = silent

    def __call__(self, spike_seq: Tensor, y: Tensor) -> Tensor:
        emitted = check_spikes("ttfs", spike_seq, y)
        T = len(emitted)
        first = emitted * (emitted.cumsum(0) == 1)
        t = (first * torch.arange(T, device=y.device).view(-1, 1, 1)).sum(0)
        z = torch.where(first.any(0), 1 - t / T, self.silent)
        value = T * F.cross_entropy(z, y, reduction="sum") / max(len(y), 1)
        slope = z.softmax(1) - F.one_hot(y, z.shape[1])
        return descending(value, spike_seq, first * slope / max(len(y), 1))
