"""Sleep between updates: noise and STDP for a while, then weights are drawn to a target."""

import fnmatch
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.callbacks.base import Callback
from spikeloom.functional import Sleep, SleepRegularizer, Totals, spike_trace, totals
from spikeloom.functional.sleep import PAPER, Mode
from spikeloom.layers import Neuron
from spikeloom.learning.base import Batch, Loss, Progress, Unsupported
from spikeloom.learning.plastic import chosen_of, frozen, recorded
from spikeloom.registry import register


@register("callback", "sleep", paper=PAPER, status="exact")
class SleepBetween(Callback):
    """Lets a network sleep after every floor(1 / ratio)-th update.

    It runs for ``steps`` steps without input, with Gaussian noise on all membranes. Linear maps in
    front of spiking neurons then change by trace STDP, one sample long,

    w += rate (grow sum_t post[t] r_pre[t] - shrink sum_t r_post[t] pre[t]),

    and all chosen weights take one step of the map of :class:`spikeloom.functional.Sleep`. With
    ``steps = 0`` there is that map alone, for any weights and learner.

    Args:
        ratio: sleeps per update; 0 for none. As 1 / ratio is rounded down, all above 1/2 are one.
        steps: of the run.
        noise: standard deviation of what is added to each neuron's input current at every step.
        tau: time constant of the traces r [steps].
        grow, shrink, rate: of STDP.
        target, decay, mode: of the map; in the modes of a sum these are at once what they were at
            first.
        weights: patterns, as in a shell, of the names of the weights that the map is for; all
            parameters of two dimensions or more if None.
    Raises:
        ValueError: a number out of range.
        Unsupported: no such weights; nothing to run without input; a convolution in front of
            spiking neurons behind the first layer.
    Source:
        Massey et al., arXiv 2601.08447, counterpart with surrogate gradients, from the authors'
        code; sums over time for its per-step rule, traces with forward Euler (inferred).
    """

    def __init__(
        self,
        *,
        ratio: float = 0.1,
        steps: int = 100,
        noise: float = 3.0,
        tau: float = 20.0,
        grow: float = 0.01,
        shrink: float = 0.012,
        rate: float = 1e-3,
        target: float = 0.2,
        decay: float = 0.999,
        mode: Mode = "static",
        weights: Sequence[str] | None = None,
    ) -> None:
        if not 0 <= ratio <= 1 or steps < 0 or not tau >= 1:
            raise ValueError(
                "sleep needs ratio in [0, 1], steps >= 0 and tau >= 1, got "
                f"{ratio}, {steps} and {tau}"
            )
        self.every = int(1 / ratio) if ratio else 0
        self.rule = Sleep(1, 1.0, decay, target, mode, noise, most=1, tolerance=None)
        self.steps, self.tau, self.names = steps, tau, weights
        self.grow, self.shrink = rate * grow, rate * shrink
        self.start: dict[str, list[list[float]]] = {}

    def state(self) -> dict[str, Any]:
        return {"start": self.start}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.start = dict(state["start"])

    def apply(self, model: nn.Module) -> None:
        """Note the sums that weights begin with, where they are wanted."""
        chosen = self._chosen(model)
        if self.rule.sums and not self.start:
            self.start = {
                name: [part.tolist() for part in totals(weight.detach())]
                for name, weight in chosen.items()
            }

    def epoch(
        self, model: nn.Module, probe: Callable[[int], Batch], loss: Loss, progress: Progress
    ) -> dict[str, float]:
        sizes = [weight.detach().abs().mean() for weight in self._chosen(model).values()]
        return {"mean weight": float(torch.stack(sizes).mean())}

    def rehearse(
        self, model: nn.Module, probe: Callable[[int], Batch], loss: Loss, progress: Progress
    ) -> None:
        self._sleep(model)

    def updated(self, model: nn.Module, progress: Progress) -> None:
        if self.every and (progress.update + 1) % self.every == 0:
            self._sleep(model)

    @torch.no_grad()
    def _sleep(self, model: nn.Module) -> None:
        if self.steps:
            self._run(model)
        chosen = self._chosen(model)
        start = None
        if self.rule.sums:
            start = [Totals(*_tensors(self.start[name], w)) for name, w in chosen.items()]
        SleepRegularizer(list(chosen.values()), self.rule, start=start).sleep()

    def _run(self, model: nn.Module) -> None:
        """Noise, and STDP of what it makes the neurons do."""
        shape = next((m.in_shape for m in model.modules() if hasattr(m, "in_shape")), None)
        if shape is None:
            raise Unsupported(
                f"sleep runs a network without input, and {type(model).__name__} does not say what "
                "input it takes (in_shape); set steps = 0 for the map of the weights alone"
            )
        weight = next(iter(self._chosen(model).values()))
        silence = weight.new_zeros(self.steps, 1, *shape)  # type: ignore[misc]
        with frozen(model), _noisy(model, self.rule.noise), recorded(model) as record:
            model(silence)
        for map_ in chosen_of(model, record, None, self.steps):
            if not isinstance(map_.layer, nn.Linear):
                raise Unsupported(
                    f"in sleep linear maps learn, and {map_.name} is of a convolution; set steps = "
                    "0 for the map of the weights alone"
                )
            pre, post = (seq.flatten(1, -2).float() for seq in (map_.pre_seq, map_.post_seq))
            grown = _pairs(post, spike_trace(pre, tau=self.tau))
            shrunk = _pairs(spike_trace(post, tau=self.tau), pre)
            map_.layer.weight.add_((self.grow * grown - self.shrink * shrunk).to(weight.dtype))

    def _chosen(self, model: nn.Module) -> dict[str, Tensor]:
        """The weights that the map is for, by name."""
        named: dict[str, Tensor] = {n: p for n, p in model.named_parameters() if p.dim() > 1}
        if self.names is not None:
            found = (any(fnmatch.fnmatch(name, p) for p in self.names) for name in named)
            named = {
                name: named[name] for name, there in zip([*named], found, strict=True) if there
            }
        if not named:
            raise Unsupported(
                f"sleep draws weights to a target, and {type(model).__name__} has none"
                + (f" called {', '.join(self.names)}" if self.names else "")
            )
        return named


def _pairs(post: Tensor, pre: Tensor) -> Tensor:
    """Sums over time and batch: [T, N, O] and [T, N, I] to [O, I]."""
    return post.flatten(0, 1).T @ pre.flatten(0, 1)


def _tensors(values: list[list[float]], like: Tensor) -> list[Tensor]:
    return [torch.tensor(part, dtype=torch.float64, device=like.device) for part in values]


@contextmanager
def _noisy(model: nn.Module, sigma: float) -> Iterator[None]:
    """Inside the block Gaussian noise is added to what enters each neuron, at every step."""

    def add(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        first, *rest = inputs
        noise = torch.randn(first.shape, dtype=first.dtype, device=first.device)
        return first + sigma * noise, *rest

    neurons = [module for module in model.modules() if isinstance(module, Neuron)]
    handles = [module.register_forward_pre_hook(add) for module in neurons]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
