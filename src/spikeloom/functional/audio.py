"""From sound to spikes: power in mel bands, and where it crosses levels."""

from math import log10

import torch
from torch import Tensor

from spikeloom.functional.sequence import check_sequence


def mel_bank(filters: int, low: float, high: float, rate: float, nfft: int) -> Tensor:
    """Triangular filters on the frequencies of a transform, evenly spaced in mel, of height 1.

    mel(f) = 2595 log10(1 + f / 700 Hz). Filter j rises from edge j to edge j + 1 and falls to edge
    j + 2, of filters + 2 edges from ``low`` to ``high``.

    Args:
        filters: their number F.
        low: where the first begins [Hz].
        high: where the last ends [Hz]; half the rate if that is less.
        rate: samples in a second.
        nfft: samples of the transform.
    Shape:
        -> [F, nfft // 2 + 1], float64
    Raises:
        ValueError: an argument out of range, or filters that lie between two frequencies.

    Example:
        >>> mel_bank(2, 0, 4000, 8000, 8)
        tensor([[0.0000, 0.6759, 0.0000, 0.0000, 0.0000],
                [0.0000, 0.3241, 0.9055, 0.4528, 0.0000]], dtype=torch.float64)
    """
    top = min(high, rate / 2)
    if filters < 1 or nfft < 2 or not 0 <= low < top:
        raise ValueError(
            f"filters must be >= 1, nfft >= 2 and low below high and half the rate, got {filters}, "
            f"{nfft}, and {low} to {high} Hz at {rate} Hz"
        )
    ends = [2595 * log10(1 + f / 700) for f in (low, top)]
    mels = torch.linspace(ends[0], ends[1], filters + 2, dtype=torch.float64)
    edge = 700 * (10 ** (mels / 2595) - 1)
    f = torch.arange(nfft // 2 + 1, dtype=torch.float64) * (rate / nfft)
    width = edge.diff()[:, None]
    rising, falling = (f - edge[:-2, None]) / width[:-1], (edge[2:, None] - f) / width[1:]
    bank = torch.minimum(rising, falling).clamp(min=0)
    if empty := int((bank.sum(1) == 0).sum()):
        raise ValueError(
            f"{empty} of {filters} filters from {low} to {top:g} Hz lie between two frequencies of "
            f"a transform of {nfft} samples at {rate} Hz; take fewer filters, or a longer transform"
        )
    return bank


def mel_power(
    sound_seq: Tensor,
    rate: float,
    *,
    filters: int = 16,
    low: float = 360.0,
    high: float = 8000.0,
    nfft: int = 512,
    window: float = 25.6,
    hop: float = 5.0,
) -> Tensor:
    """Power of a sound in mel bands, a step for every hop.

    P[k] = B |FFT(h s_k)|^2 with the Hann window h on the part s_k of the sound that is centred at
    k hop; beyond its ends there is silence.

    Args:
        sound_seq: the sound.
        rate: samples in a second.
        filters, low, high, nfft: of the bank B, see :func:`mel_bank`.
        window: length of the window [ms], at most that of nfft samples.
        hop: from one step to the next [ms].
    Shape:
        sound_seq [L, N] -> [1 + L // hop, N, filters]
    Raises:
        ValueError: an argument out of range.
    """
    if sound_seq.dim() != 2 or not sound_seq.is_floating_point():
        raise ValueError(f"expected float [L, N], got {sound_seq.dtype} {tuple(sound_seq.shape)}")
    length, stride = (round(ms * rate / 1000) for ms in (window, hop))
    if not 1 <= length <= nfft or stride < 1:
        raise ValueError(
            f"at {rate} Hz a window of {window} ms is {length} samples and a hop of {hop} ms is "
            f"{stride}; expected 1 to nfft = {nfft}, and at least 1"
        )
    bank = mel_bank(filters, low, high, rate, nfft).to(sound_seq)
    spectrum = torch.stft(
        sound_seq.T, nfft, stride, length, torch.hann_window(length).to(sound_seq),
        pad_mode="constant", return_complex=True,
    )  # fmt: skip
    return (bank @ spectrum.abs().square()).permute(2, 0, 1)


def band_levels(power_seq: Tensor, floor: float = 1e-5) -> Tensor:
    """How loud each band is, from 0 where it is softest to 1 where it is loudest.

    v = log(max(P / P_max, floor)), P_max of all bands and steps of a sound; then
    (v - v_min) / (v_max - v_min) with the extremes of each band over time.

    Args:
        power_seq: power of each band.
        floor: share of the largest power below which nothing is heard.
    Shape:
        power_seq [T, N, F] -> the same; a band that never changes is 0
    Raises:
        ValueError: no time axis, or floor outside (0, 1).
    """
    check_sequence(power_seq)
    if not 0 < floor < 1:
        raise ValueError(f"floor is a share of the largest power, in (0, 1), got {floor}")
    most = power_seq.amax((0, *range(2, power_seq.dim())), keepdim=True)
    loud = (power_seq / most.where(most > 0, 1)).clamp(min=floor).log()
    low, high = loud.aminmax(dim=0, keepdim=True)
    span = high - low
    return (loud - low) / span.where(span > 0, 1)


def threshold_crossing(level_seq: Tensor, thresholds: int = 15, *, peak: bool = True) -> Tensor:
    """Spikes where a signal in 0 ... 1 crosses levels, of a neuron for each level and direction.

    up_k[t] = x[t-1] < l_k <= x[t];  down_k[t] = x[t] < l_k <= x[t-1];
    l_k = k / (thresholds + 1), k = 1 ... thresholds. With ``peak`` one more neuron fires once, when
    the signal is largest. The first step has no crossings.

    Args:
        level_seq: the signal.
        thresholds: number of levels K.
        peak: whether there is a neuron for the largest value (inferred: with it 16 bands and 15
            levels make the about 500 neurons of which authors speak).
    Shape:
        level_seq [T, N, *] -> spike_seq [T, N, *, 2 K + 1]: K up, K down, the peak; 2 K without it
    Returns:
        Spikes in {0, 1} with the dtype of the signal.

    Raises:
        ValueError: no time axis, or thresholds < 1.
    Source:
        Guetig and Sompolinsky, PLoS Biology 7(7), 2009; bands and levels as there.

    Example:
        >>> x_seq = torch.tensor([0.0, 0.6, 1.0, 0.4])[:, None]
        >>> threshold_crossing(x_seq, 1)[:, 0].tolist()
        [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
    """
    check_sequence(level_seq)
    if thresholds < 1:
        raise ValueError(f"thresholds must be >= 1, got {thresholds}")
    level = torch.arange(1, thresholds + 1).to(level_seq) / (thresholds + 1)
    above = level_seq[..., None] >= level
    before = torch.cat([above[:1], above[:-1]])
    neurons = [above & ~before, before & ~above]
    if peak:
        clock = torch.arange(len(level_seq), device=level_seq.device)
        largest = clock.view(-1, *[1] * (level_seq.dim() - 1)) == level_seq.argmax(0)
        neurons.append((largest & (level_seq > 0))[..., None])
    return torch.cat(neurons, -1).to(level_seq.dtype)
