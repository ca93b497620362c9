"""A recurrent network of excitatory and inhibitory neurons awake, asleep, and in turn."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from spikeloom.functional.ei_network import (
    AgeSTDP,
    EICell,
    EIState,
    check_p,
    ei_rest,
    ei_step,
    sources_of,
)
from spikeloom.functional.hashed import drawn, normal, uniform
from spikeloom.functional.sleep import Sleep, SleepRegularizer, Totals


class Woken(NamedTuple):
    """Spikes of each neuron and sample, int64 [N, O]; the weight and the state that are left."""

    counts: Tensor
    weight: Tensor
    state: EIState


def ei_wake(
    p_seq: Tensor,
    weight: Tensor,
    state: EIState,
    *,
    cell: EICell,
    rule: AgeSTDP | None,
    seed: int,
    start: int = 0,
    stop: int | None = None,
) -> Woken:
    """Present samples one after the other, without a pause, and learn from every step.

    An input fires at a step with its probability p: the hash of (seed, sample, step, input) says.

    Args:
        p_seq: probabilities.
        weight, state: at the beginning.
        cell, rule: as in :func:`ei_step`.
        seed: of the draws.
        start, stop: of the T N steps, to go through a part of them.
    Shape:
        p_seq [T, N, P], weight [O, P + O]
    """
    T, N, P = check_p(p_seq, weight)
    counts = torch.zeros(N, len(weight), dtype=torch.int64)
    place = torch.arange(P)
    for at in range(start, T * N if stop is None else stop):
        n, t = divmod(at, T)
        spikes = uniform(drawn(seed, n, t, place)) < p_seq[t, n]
        weight, state = ei_step(spikes, weight, state, cell=cell, rule=rule)
        counts[n] += state.fired[P:]
    return Woken(counts, weight, state)


def ei_rates(p_seq: Tensor, weight: Tensor, *, cell: EICell, seed: int, skip: int = 0) -> Tensor:
    """Spikes of every neuron while the weights rest; each sample begins at rest.

    Args:
        p_seq: probabilities of the inputs.
        weight, cell, seed: as in :func:`ei_wake`, whose draws these are.
        skip: so many first steps do not count.
    Shape:
        p_seq [T, N, P], weight [O, P + O] -> int64 [N, O]
    """
    T, N, _ = check_p(p_seq, weight)
    counts = torch.zeros(N, len(weight), dtype=torch.int64)
    for n in range(N):
        state, settled = ei_rest(weight, cell), n * T + min(skip, T)
        for start, stop in ((n * T, settled), (settled, n * T + T)):
            found, _, state = ei_wake(
                p_seq, weight, state, cell=cell, rule=None, seed=seed, start=start, stop=stop
            )
        counts[n] = found[n]
    return counts


class Slept(NamedTuple):
    """Steps that it took, spikes of each neuron, int64 [O], and what is left."""

    steps: int
    counts: Tensor
    weight: Tensor
    state: EIState


def ei_sleep(
    weight: Tensor,
    state: EIState,
    *,
    cell: EICell,
    rule: AgeSTDP | None,
    sleep: Sleep,
    start: Totals,
    seed: int,
    number: int = 0,
) -> Slept:
    """One sleep: no input, noise on every membrane, plasticity, and the drift of all weights.

    Args:
        weight, state: when sleep begins.
        cell, rule: as in :func:`ei_step`.
        sleep: its rule.
        start: sums of the weights before any learning.
        seed: of the draws.
        number: that tells these draws from others of the seed: the hash is of (seed, number, step,
            neuron).
    Shape:
        weight [O, P + O]
    """
    count, P = len(weight), weight.shape[1] - len(weight)
    weight, held, step = weight.clone(), [state], 0
    silence, place, counts = torch.zeros(P).bool(), torch.arange(count), torch.zeros(count).long()

    def once(sigma: float) -> None:
        nonlocal step
        noise = normal(drawn(seed, number, step, place)) * sigma
        after, held[0] = ei_step(silence, weight, held[0], cell=cell, rule=rule, noise=noise)
        weight.copy_(after)
        counts.add_(held[0].fired[P:])
        step += 1

    whole = SleepRegularizer([weight], sleep, sources_of(weight, cell), [start])
    return Slept(whole.sleep(once), counts, weight, held[0])


class Lived(NamedTuple):
    """What :func:`ei_live` saw, and what is left."""

    counts: Tensor  # of spikes awake, int64 [N, O]
    weight: Tensor
    state: EIState
    sleeps: int
    slept: int  # steps


def ei_live(
    p_seq: Tensor,
    weight: Tensor,
    state: EIState,
    *,
    cell: EICell,
    rule: AgeSTDP | None,
    sleep: Sleep,
    start: Totals,
    seed: int,
    step: int = 0,
    wake: Callable[..., Woken] = ei_wake,
    rest: Callable[..., Slept] = ei_sleep,
) -> Lived:
    """Present samples; sleep whenever it is due, in the middle of a sample if need be.

    Args:
        p_seq, weight, state, cell, rule, seed: as in :func:`ei_wake`.
        sleep, start: as in :func:`ei_sleep`.
        step: steps awake before this call.
        wake, rest: that do the work: these functions or their twins.
    Shape:
        p_seq [T, N, P], weight [O, P + O]
    """
    T, N, _ = check_p(p_seq, weight)
    counts, at, sleeps, slept = torch.zeros(N, len(weight), dtype=torch.int64), 0, 0, 0
    while at < T * N:
        if sleep.due(step + at):
            found = rest(
                weight, state, cell=cell, rule=rule, sleep=sleep, start=start, seed=seed,
                number=N + sleeps,
            )  # fmt: skip
            weight, state, sleeps, slept = found[2], found[3], sleeps + 1, slept + found[0]
        # Without sleep nothing divides the stream; the draws do not depend on where it is cut.
        until = min(T * N, at + sleep.period - (step + at) % sleep.period)
        part, weight, state = wake(
            p_seq, weight, state, cell=cell, rule=rule, seed=seed, start=at, stop=until
        )
        counts, at = counts + part, until
    return Lived(counts, weight, state, sleeps, slept)
