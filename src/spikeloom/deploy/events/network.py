"""A trained network that runs one event at a time."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from spikeloom.deploy.events.wiring import MAX_POOLING, Constants, Wiring
from spikeloom.deploy.fold import Folder
from spikeloom.deploy.record import BY_STEP, recorded
from spikeloom.functional import Counts, Events, Late, Stream, events_of
from spikeloom.functional.events import ON_TIME, EventProgram
from spikeloom.functional.sequence import check_sequence
from spikeloom.kernels import door, operator_of
from spikeloom.layers import Neuron, TokenMixing
from spikeloom.registry import Unsupported

event_stream = door("event_stream")


@dataclass(frozen=True, eq=False)
class EventRun:
    """What came out of a run: outputs, counts, and the spikes of every sample.

    Args:
        logits_seq: of every step; the decision is the largest on the mean of all steps.
        counts: of all samples together.
        spikes: for each sample, what :meth:`Stream.spikes` gives.
    Shape:
        logits_seq [T, N, K]
    """

    logits_seq: Tensor
    counts: Counts
    spikes: tuple[Tensor, ...]

    @property
    def decisions(self) -> Tensor:
        """The class of each sample.

        Shape:
            [N]
        """
        return self.logits_seq.mean(0).argmax(-1)


class EventNetwork:
    """A network as populations of neurons that answer to single events.

    Made by :func:`compile_events`. It keeps nothing between runs; a stream is a run that one feeds.

    Args:
        program: populations and connections.
        dtype: of potentials and weights.
    """

    def __init__(self, program: EventProgram, dtype: torch.dtype = torch.float64) -> None:
        self.program, self.dtype = program, dtype

    def stream(
        self, *, steps: int | None = None, late: Late = ON_TIME, seed: int | None = None
    ) -> Stream:
        """The network at rest: feed it events, advance it, ask for its decision so far.

        Args:
            steps: how many there are; None for no end.
            late: which spikes are late.
            seed: of the order in which arrivals of one step come; None for the order of steps.
        """
        opened: Stream = event_stream(
            self.program, steps=steps, dtype=self.dtype, late=late, seed=seed
        )
        return opened

    def run(
        self,
        x: Tensor | Events,
        *,
        steps: int | None = None,
        late: Late = ON_TIME,
        seed: int | None = None,
    ) -> EventRun:
        """Run samples, one after the other, or one stream of events, from rest to the end.

        Args:
            x: sequences, whose numbers other than 0 are events; or the events of one sample.
            steps: how many there are; needed for events, T for sequences.
            late: which spikes are late.
            seed: as for :meth:`stream`; sample n takes seed + n.
        Shape:
            x [T, N, *in_shape]
        Raises:
            ValueError: what came does not fit the network.
        """
        if isinstance(x, Events):
            if steps is None:
                raise ValueError("events do not say when they end; give steps")
            samples, T = [x], steps
        else:
            self._check(x, steps)
            samples, T = [events_of(sample) for sample in x.unbind(1)], len(x)
        runs = []
        for number, events in enumerate(samples):
            own = None if seed is None else seed + number
            runs.append(self.stream(steps=T, late=late, seed=own))
            runs[-1].feed(events)
            runs[-1].advance(T)
        total = Counts()
        for run in runs:
            total = total + run.counts
        outputs = torch.stack([run.outputs for run in runs], 1)
        return EventRun(outputs, total, tuple(run.spikes() for run in runs))

    def spike_seqs(self, run: EventRun) -> dict[str, Tensor]:
        """The spikes of a run as sequences, by the name of the layer of neurons.

        Shape:
            of each layer [T, N, C, H, W]
        """
        T, N = run.logits_seq.shape[:2]
        found = {}
        for index, population in enumerate(self.program.populations):
            if not population.fires:
                continue
            flat = torch.zeros(T, N, population.keep.numel())
            for n, spikes in enumerate(run.spikes):
                time, _, place = spikes[spikes[:, 1] == index].unbind(1)
                flat[:, n].index_put_((time, place), torch.ones(len(time)), accumulate=True)
            found[population.name] = flat.unflatten(2, population.shape)
        return found

    def _check(self, x_seq: Tensor, steps: int | None) -> None:
        check_sequence(x_seq)
        shape = self.program.in_shape
        if tuple(x_seq.shape[2:]) != shape or not x_seq.shape[1] or steps not in (None, len(x_seq)):
            raise ValueError(
                f"the network takes sequences [T, N, {', '.join(map(str, shape))}] with N >= 1 and "
                f"T = steps where steps are given, got {tuple(x_seq.shape)} and steps = {steps}"
            )

    def __repr__(self) -> str:
        lines = [f"EventNetwork: {self.program.in_shape}, {self.dtype}"]
        for index, population in enumerate(self.program.populations, start=1):
            heard = [c.source for c in self.program.connections if c.target == index]
            names = ["input", *(p.name for p in self.program.populations)]
            sources = ", ".join(names[source] for source in heard)
            shape = " x ".join(map(str, population.shape))
            lines.append(f"{population.name}  {shape}  <- {sources}")
        return "\n  ".join(lines)


def compile_events(
    model: nn.Module,
    in_shape: tuple[int, ...],
    *,
    constants: Constants = "refuse",
    delays: Mapping[str, Tensor] | None = None,
    dtype: torch.dtype = torch.float64,
) -> EventNetwork:
    """Turn a trained network into one that runs one event at a time.

    Norms are folded into weights; a stream of real values becomes connections from all who write to
    it to all who read it. In the order of steps, with no delay, the network fires exactly as the
    clocked one computed in float64, but for potentials within rounding of a threshold.

    Args:
        model: layers of ``spikeloom.layers``, additions, and channels put side by side; stays as
            it is, and later changes of it do not reach what was compiled.
        in_shape: of one sample.
        constants: currents that neurons get in every step, as left by folded norms and biases:
            ``refuse`` them, ``fold`` them into the neurons, which then wake themselves where they
            would fire in silence, or ``drop`` them.
        delays: whole steps on each synapse, by the name of a layer with weights and in the shape
            of these.
        dtype: of potentials and weights: float64, or float32 for speed.
    Raises:
        Unsupported: names the layer that cannot run event by event, and why.
        ValueError: unknown ``constants``, or delays that fit no layer.
    Example:
        >>> from spikeloom.layers import LIF, OverTime
        >>> make = lambda n, k: OverTime(nn.Linear(n, k, bias=False))
        >>> model = nn.Sequential(make(9, 8), LIF(), make(8, 3))
        >>> x_seq = torch.rand(4, 2, 9)
        >>> net = compile_events(model, (9,))
        >>> torch.allclose(net.run(x_seq).logits_seq.float(), model(x_seq), atol=1e-5)
        True
    """
    if constants not in ("refuse", "fold", "drop"):
        raise ValueError(f"constants must be 'refuse', 'fold' or 'drop', got {constants!r}")
    check_clockless(model)
    twin = copy.deepcopy(model).double().cpu().eval()
    sample = torch.zeros(1, 1, *in_shape, dtype=torch.float64)
    try:
        steps, out = recorded(twin, sample)
        folder = Folder(
            tuple(in_shape),
            steps,
            out,
            ("lif",),
            also=(TokenMixing,),
            coded=False,
            dtype=torch.float64,
        )
        wiring = Wiring(folder.program(), constants, delays or {})
    except Unsupported as error:
        raise Unsupported(f"this network cannot run event by event: {error}") from error
    return EventNetwork(wiring.program_of_events(), dtype)


def check_clockless(model: nn.Module) -> None:
    """Raise Unsupported for layers that need a clock, whatever stands around them."""
    for name, module in model.named_modules():
        if reason := needs_clock(module):
            raise Unsupported(
                f"this network cannot run event by event: {name.removesuffix('.module')}: {reason}"
            )


def needs_clock(layer: nn.Module) -> str:
    """Why a layer cannot run event by event; empty if nothing is known against it."""
    kind = type(layer).__name__
    if isinstance(layer, nn.MaxPool1d | nn.MaxPool2d | nn.MaxPool3d):
        return MAX_POOLING
    if isinstance(layer, BY_STEP):
        return f"{kind} scales each step differently, and events know no steps; use another norm"
    if isinstance(layer, nn.ReLU):
        return f"{kind} puts out numbers at every step, not events; use spiking neurons"
    if isinstance(layer, Neuron) and operator_of(layer.function) != "lif":
        return (
            f"{kind} neurons are not built for events; use IF, LIF, parametric LIF or LTMD, or run "
            "the network clocked"
        )
    needs: str = getattr(type(layer), "needs_clock", "")
    return f"{kind} {needs}" if needs else ""


class Clocked:
    """The network step by step in float64, with all its spikes: what events are compared with.

    Args:
        model: the network; stays as it is.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = copy.deepcopy(model).double().cpu().eval()
        self.seen: dict[str, Tensor] = {}
        for name, module in self.model.named_modules():
            if isinstance(module, Neuron):
                module.register_forward_hook(partial(self._note, name))

    def __call__(self, x_seq: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """What comes out, and the spikes of each layer.

        Shape:
            x_seq [T, N, *] -> logits_seq [T, N, K], spikes [T, N, *]
        """
        with torch.no_grad():
            logits_seq: Tensor = self.model(x_seq.double().cpu())
        spikes, self.seen = self.seen, {}
        return logits_seq, spikes

    def _note(self, name: str, _layer: nn.Module, _inputs: object, out: Tensor) -> None:
        self.seen[name] = out


def differing_spikes(model: nn.Module, net: EventNetwork, x_seq: Tensor) -> dict[str, int]:
    """How many spikes of each layer differ between a clocked network and its events.

    The clocked network is computed in float64, and so should the other be.

    Shape:
        x_seq [T, N, *in_shape]
    """
    _, clocked = Clocked(model)(x_seq)
    return differing(net.spike_seqs(net.run(x_seq.double().cpu())), clocked)


def differing(ours: Mapping[str, Tensor], clocked: Mapping[str, Tensor]) -> dict[str, int]:
    """How many spikes of each layer differ.

    Shape:
        of each layer [T, N, *]
    """
    return {
        name: int((spikes.flatten(2) != clocked[name].flatten(2)).sum())
        for name, spikes in ours.items()
    }
