"""A trained network as one chip with its faults: mismatch, noise, coarse weights, late spikes."""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from spikeloom.deploy.energy.fan_out import MAPS
from spikeloom.layers import Membrane, Temporal
from spikeloom.layers.late_spikes import arrivals
from spikeloom.layers.learnable import LearntDecay, NeuronValue
from spikeloom.registry import Unsupported

LEAST = 0.01  # of a threshold that mismatch leaves
NEVER = 1e30  # [v_threshold], a threshold that no potential reaches


@dataclass(frozen=True)
class Faults:
    """How faulty chips of a kind are; all of it inferred, as no published noise model was found.

    Args:
        threshold: standard deviation of a factor on each neuron's threshold, around 1.
        decay: the same of a factor on what each membrane keeps per step.
        noise: standard deviation of what is added to each membrane at every step [v_threshold].
        bits: of every weight, sign included; None for as many as there are.
        dead: share of neurons that never fire.
        delay: probability that a spike comes one step late.
    Raises:
        ValueError: a number out of range.
    """

    threshold: float = 0.0
    decay: float = 0.0
    noise: float = 0.0
    bits: int | None = None
    dead: float = 0.0
    delay: float = 0.0

    def __post_init__(self) -> None:
        spreads = (self.threshold, self.decay, self.noise)
        shares = (self.dead, self.delay)
        if not all(0 <= sd < math.inf for sd in spreads) or not all(0 <= p <= 1 for p in shares):
            raise ValueError(
                "threshold, decay and noise must be >= 0 and finite, dead and delay in 0..1, got "
                f"{self.threshold}, {self.decay}, {self.noise}, {self.dead} and {self.delay}"
            )
        if self.bits is not None and not 2 <= self.bits <= 16:
            raise ValueError(f"bits must be from 2 (-1, 0, 1) to 16, got {self.bits}")


def faulty(model: nn.Module, faults: Faults, inputs: Tensor, *, chip: int = 0) -> nn.Module:
    """A copy of a network as it is on one chip; it can be trained on.

    Each neuron has its own threshold theta (1 + sd z) and keep (1 + sd z'), kept within
    [theta / 100, inf) and [0, 1]; at every step sd z'' is added to its membrane; weights are
    rounded to whole multiples of max |w| / (2^(bits - 1) - 1), a value for each layer; dead
    neurons have a threshold out of reach; what a neuron sends comes one step later with probability
    ``delay``, drawn anew for every spike, while its own reset and recurrence are on time. z and z'
    belong to the chip: the same at every strength.
    What neurons have learnt of themselves is fixed in the copy; weights are still trained, through
    their rounding.

    Args:
        model: a network with spiking neurons; stays as it is.
        faults: of all chips.
        inputs: a sequence for the network, to find the shapes of its layers.
        chip: which one: its seed.
    Shape:
        inputs [T, N, *]
    Raises:
        Unsupported: no spiking neurons.
    Example:
        >>> from spikeloom.layers import LIF
        >>> chip = faulty(nn.Sequential(LIF()), Faults(threshold=0.1), torch.zeros(2, 1, 3))
        >>> chip[0].arguments()["v_threshold"].shape
        torch.Size([3])
    """
    twin = copy.deepcopy(model)
    shapes = _shapes(twin, inputs)
    if not shapes:
        raise Unsupported(
            f"{type(model).__name__} has no spiking neurons to mismatch; give a spiking network"
        )
    for at, (layer, shape) in enumerate(shapes.items()):
        generator = torch.Generator().manual_seed(1_000_003 * chip + at)
        draws = {
            "threshold": torch.randn(shape, generator=generator),
            "decay": torch.randn(shape, generator=generator),
            "dead": torch.rand(shape, generator=generator),
        }
        _mismatch(layer, faults, draws, inputs.device)
        if faults.noise:
            seed = int(torch.randint(2**62, (), generator=generator))
            layer.register_forward_pre_hook(MembraneNoise(faults.noise, seed))
        if faults.delay:
            seed = int(torch.randint(2**62, (), generator=generator))
            layer.register_forward_hook(SpikeDelay(faults.delay, seed))
    if faults.bits is not None:
        for module in list(twin.modules()):
            own = isinstance(module, Temporal) and "weight" in module._parameters
            if own or isinstance(module, MAPS):
                parametrize.register_parametrization(module, "weight", Rounded(faults.bits))
    return twin


class MembraneNoise:
    """Noise on the membrane at every step, as a hook before a layer of neurons.

    h[t] = keep v[t-1] + gain x[t] + sd z: what is added to the input is sd z / gain. Neurons with
    a synapse of their own hear it through that.
    """

    def __init__(self, sd: float, seed: int) -> None:
        self.sd, self.draws = sd, Draws(seed)

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        assert isinstance(layer, Membrane)
        x_seq, *rest = inputs
        generator = self.draws.on(x_seq.device)
        z = torch.randn(x_seq.shape, generator=generator, device=x_seq.device, dtype=torch.float32)
        gain = torch.as_tensor(layer.decay.now().gain, device=x_seq.device).clamp(min=1e-6)
        return (x_seq + (self.sd * z / gain).to(x_seq.dtype), *rest)


class SpikeDelay:
    """Spikes that come a step late with probability p, as a hook behind a layer of neurons.

    ``sent`` and ``lost`` count the spikes since the chip was made, and those of them that would
    have come after the last step; see :func:`~spikeloom.layers.late_spikes.arrivals`. A spike that
    is late at some p is late at every larger one, if it is sent there too.
    """

    def __init__(self, p: float, seed: int) -> None:
        self.p, self.draws = p, Draws(seed)
        self.sent = self.lost = 0.0

    def __call__(self, _layer: nn.Module, _inputs: Any, spike_seq: Tensor) -> Tensor:
        u = torch.rand(
            spike_seq.shape, generator=self.draws.on(spike_seq.device), device=spike_seq.device
        )
        arriving, lost = arrivals(spike_seq, u < self.p)
        self.sent += float(spike_seq.detach().double().sum())
        self.lost += float(lost.detach().double().sum())
        return arriving


def lost_share(chip: nn.Module) -> float:
    """Share of the spikes sent so far on a chip that came after the last step; 0 without delays."""
    hooks = [hook for module in chip.modules() for hook in module._forward_hooks.values()]
    delays = [hook for hook in hooks if isinstance(hook, SpikeDelay)]
    sent = sum(delay.sent for delay in delays)
    return sum(delay.lost for delay in delays) / sent if sent else 0.0


class Draws:
    """Random numbers of a seed, on the device that first asks for them."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.generator: torch.Generator | None = None

    def on(self, device: torch.device) -> torch.Generator:
        """The generator, started anew if it is of another device."""
        if self.generator is None or self.generator.device != device:
            self.generator = torch.Generator(device).manual_seed(self.seed)
        return self.generator


class Rounded(nn.Module):
    """Weights of so many bits; the gradient passes as if they were not rounded.

    Shape:
        weight [*] -> [*]
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.levels = 2 ** (bits - 1) - 1

    def forward(self, weight: Tensor) -> Tensor:
        step = weight.detach().abs().max() / self.levels
        rounded = (weight.detach() / step.clamp(min=1e-30)).round() * step
        passing: Tensor = weight + (rounded - weight.detach())
        return passing


def _mismatch(
    layer: Membrane, faults: Faults, draws: Mapping[str, Tensor], device: torch.device
) -> None:
    """Give every neuron of a layer values of its own."""
    if faults.decay and "decay" not in layer.arguments():
        raise Unsupported(
            f"decays are those of membranes' leaks, and {type(layer).__name__} neurons "
            "have none; leave it out"
        )
    with torch.no_grad():
        factor = (1 + faults.threshold * draws["threshold"].to(device)).clamp(min=LEAST)
        threshold = torch.as_tensor(layer.v_threshold.now(), device=device) * factor
        if faults.dead:
            threshold = torch.where(draws["dead"].to(device) < faults.dead, NEVER, threshold)
        decay = layer.decay.now()
        factor = 1 + faults.decay * draws["decay"].to(device)
        keep = (torch.as_tensor(decay.keep, device=device) * factor).clamp(0, 1)
    if faults.threshold or faults.dead:
        layer.v_threshold = NeuronValue(threshold)
    if faults.decay:
        layer.decay = LearntDecay(keep, decay.decay_input, learn=False)


@torch.no_grad()
def _shapes(model: nn.Module, inputs: Tensor) -> dict[Membrane, tuple[int, ...]]:
    """The shape of one sample in every layer of neurons, in the order of the network."""
    found: dict[Membrane, tuple[int, ...]] = {}

    def note(layer: Any, given: tuple[Tensor, ...]) -> None:
        found[layer] = tuple(given[0].shape[2:])

    layers = [module for module in model.modules() if isinstance(module, Membrane)]
    hooks = [layer.register_forward_pre_hook(note) for layer in layers]
    training = model.training
    try:
        model.eval()(inputs)
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return {layer: found[layer] for layer in layers if layer in found}


__all__ = ["Faults", "MembraneNoise", "Rounded", "SpikeDelay", "faulty", "lost_share"]
