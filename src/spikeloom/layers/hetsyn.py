"""HetSyn: weights whose currents decay each at its own rate, and neurons that fire on their sum."""

from collections.abc import Sequence
from math import log10, sqrt
from typing import Any, Literal

import torch
from torch import Tensor, nn

from spikeloom.functional import Decay, Surrogate, Triangle, hetsyn_lif_trace
from spikeloom.kernels import door
from spikeloom.layers.base import AnyTrace, Neuron, State, Temporal
from spikeloom.layers.synaptic_decay import Draw, Kept, SynapticDecay
from spikeloom.papers import Paper

PAPER = Paper(
    key="deng2025hetsyn",
    title="HetSyn: Versatile Timescale Integration in Spiking Neural Networks via Heterogeneous "
    "Synapses",
    authors=(
        "Zhichao Deng",
        "Zhikun Liu",
        "Junxue Wang",
        "Shengqian Chen",
        "Xiang Wei",
        "Qiang Yu",
    ),
    venue="Advances in Neural Information Processing Systems",
    year=2025,
    url="https://arxiv.org/abs/2508.11644",
    code="https://github.com/dzcgood/HetSyn",
)
Own = Literal["synapse", "neuron", "input", "layer"]
_synapses = door("synapses")


class Synapses(Temporal):
    """A linear map whose every weight carries a current that decays: HetSyn's, and its read-out.

    y[t]_j = sum_i i[t]_ji,  i[t]_ji = r_ji i[t-1]_ji + w_ji x[t]_i

    Weights start normal with standard deviation 1 / sqrt(I); there is no bias.

    Args:
        inputs: I.
        outputs: O.
        own: what has a decay of its own: each ``synapse``, ``neuron`` (of the outputs) or
            ``input``; or the ``layer`` one for all.
        tau, dt, draw, learn, kept: of the decays, as for
            :class:`~spikeloom.layers.synaptic_decay.SynapticDecay`.
    Shape:
        x_seq [T, N, I] -> y_seq [T, N, O]
    Raises:
        ValueError: a size below 1, an unknown word, or as ``SynapticDecay``.
    Source:
        Deng et al., NeurIPS 2025 (arXiv 2508.11644); see :func:`spikeloom.functional.synapses`.
    Example:
        >>> Synapses(3, 2, tau=(5.0, 20.0), draw="uniform")(torch.ones(4, 1, 3)).shape
        torch.Size([4, 1, 2])
    """

    function = staticmethod(_synapses)

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        own: Own = "synapse",
        tau: float | tuple[float, float] = 20.0,
        dt: float = 1.0,
        draw: Draw = "normal",
        learn: bool = True,
        kept: Kept = "clamped",
    ) -> None:
        super().__init__()
        shape = decay_shape(own, outputs, inputs)
        self.weight = nn.Parameter(normal(outputs, inputs))
        self.decay = SynapticDecay(shape, tau=tau, dt=dt, draw=draw, learn=learn, kept=kept)

    def arguments(self) -> dict[str, Any]:
        return {"weight": self.weight, "decay": self.decay.now()}

    def extra_repr(self) -> str:
        return f"{self.weight.shape[1]}, {self.weight.shape[0]}"


def grouped(
    x_seq: Tensor, state: State = None, *, weight: Tensor, share: Tensor, levels: Tensor
) -> tuple[Tensor, State]:
    """Synapses whose decays are mixed of K levels: K traces of every input, and one product.

    y[t]_j = sum_ik w_ji share_jik e[t]_ik,  e[t]_ik = levels_k e[t-1]_ik + x[t]_i

    Shape:
        x_seq [T, N, I], weight [O, I], share [O, I, K], levels [K] -> y_seq [T, N, O], [N, K I]
    """
    K, inputs = len(levels), weight.shape[1]
    mixed = (weight[:, None] * share.movedim(-1, 1)).flatten(1)
    keep = levels.repeat_interleave(inputs)[None]
    every = x_seq.repeat(1, 1, K)
    y_seq, last = _synapses(every, state, weight=mixed, decay=Decay(keep, trusted=True))
    return y_seq, last


class GroupedSynapses(Temporal):
    """:class:`Synapses` whose decays are K levels: each synapse has one of them, or mixes them.

    With ``mix = "fixed"`` every synapse keeps the level that is nearest to the time constant drawn
    for it (in the logarithm), and this is :class:`Synapses` with those decays, exactly. With
    ``soft`` its current is shared out among the levels by a learnt softmax, which starts near
    that. The state is K traces of every input, [N, K I], whatever the number of outputs.

    Args:
        inputs: I.
        outputs: O.
        levels: K.
        mix: ``fixed`` or ``soft``.
        span: least and greatest time constant of the levels, which lie evenly in the logarithm.
        tau, dt, draw: of the time constants that are drawn, as for :class:`Synapses`.
        learn: whether the levels are parameters.
        kept: what these parameters are.
    Shape:
        x_seq [T, N, I] -> y_seq [T, N, O]
    Raises:
        ValueError: levels below 2, an empty span, an unknown word, or as ``SynapticDecay``.
    """

    function = staticmethod(grouped)
    index: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        levels: int = 8,
        mix: Literal["fixed", "soft"] = "fixed",
        span: tuple[float, float] = (2.0, 200.0),
        tau: float | tuple[float, float] = 20.0,
        dt: float = 1.0,
        draw: Draw = "normal",
        learn: bool = False,
        kept: Kept = "clamped",
    ) -> None:
        super().__init__()
        if levels < 2 or not 0 < span[0] < span[1]:
            raise ValueError(
                f"levels must be >= 2 and span two rising time constants, got {levels} and {span}"
            )
        if mix not in ("fixed", "soft"):
            raise ValueError(f"mix must be 'fixed' or 'soft', got {mix!r}")
        self.weight = nn.Parameter(normal(outputs, inputs))
        self.decay = SynapticDecay((levels,), tau=span[0], dt=dt, learn=learn, kept=kept)
        places = torch.logspace(log10(span[0]), log10(span[1]), levels)
        self.decay.keep = SynapticDecay.at(places, dt, learn, kept)
        own = SynapticDecay((outputs, inputs), tau=tau, dt=dt, draw=draw, learn=False).tau()
        apart = (own[..., None].log() - places.log()).abs()
        self.register_buffer("index", apart.argmin(-1) if mix == "fixed" else None)
        step = float(places[1].log() - places[0].log())
        self.logits = nn.Parameter(-4 * apart / step) if mix == "soft" else None

    def share(self) -> Tensor:
        """Which part of a synapse's current has which decay, [O, I, K]."""
        if self.logits is not None:
            return self.logits.softmax(-1)
        K = len(torch.as_tensor(self.decay.keep.now()))
        return nn.functional.one_hot(self.index, K).to(self.weight.dtype)

    def arguments(self) -> dict[str, Any]:
        return {
            "weight": self.weight,
            "share": self.share(),
            "levels": self.decay.keep.now(),
        }


class HetSynLIF(Neuron):
    """Neurons without a memory of their own, which fire on the sum of their synapses' currents.

    h[t] = x[t] + recurrent currents - reset current - adaptation current

    The settings of one cell: after :class:`Synapses` it is HetSynLIF. With ``own = "neuron"`` or
    ``"layer"`` all synapses of a neuron, recurrent ones too, share its decay, and the cell follows
    a plain linear map: HetNeuLIF and HomNeuLIF; with ``beta`` HomNeuALIF.

    Args:
        shape: [O] of one sample; needed for recurrence and for decays of their own.
        recurrent: whether neurons hear the last spikes of their layer.
        own: what has a decay of its own: each recurrent ``synapse``, each ``neuron`` or the
            ``layer``, where all synapses of a neuron share it.
        tau, dt, draw, learn, kept: of these decays, as for :class:`Synapses`.
        to_itself: whether a neuron hears itself.
        tau_reset: time constant of the reset current, which is not learnt; None for no reset.
        tie_reset: let the reset decay as the synapses do, also where they learn; needs ``own`` to
            be ``neuron`` or ``layer``. In the authors' code it stays at ``tau_reset``.
        tau_adapt: time constant of the adaptation current.
        beta: what a spike adds to it; 0 for none.
        v_threshold: firing threshold, > 0.
        detach_reset: leave the spikes in reset and adaptation out of the gradient.
        surrogate: slope of the spike in backward; the triangle of width and height 1 if None.
        strict: fire only above the threshold.
    Shape:
        x_seq [T, N, O] -> spike_seq [T, N, O]; without recurrence O may be several axes
    Raises:
        ValueError: no shape where one is needed, an option out of range, or as ``SynapticDecay``.
    Source:
        Deng et al., NeurIPS 2025 (arXiv 2508.11644); see :func:`spikeloom.functional.hetsyn_lif`.
    """

    function = staticmethod(door("hetsyn_lif"))
    function_trace = staticmethod(hetsyn_lif_trace)
    mask: Tensor | None

    def __init__(
        self,
        shape: Sequence[int] | None = None,
        *,
        recurrent: bool = False,
        own: Literal["synapse", "neuron", "layer"] = "synapse",
        tau: float | tuple[float, float] = 20.0,
        dt: float = 1.0,
        draw: Draw = "normal",
        learn: bool = True,
        kept: Kept = "clamped",
        to_itself: bool = True,
        tau_reset: float | None = 20.0,
        tie_reset: bool = False,
        tau_adapt: float = 100.0,
        beta: float = 0.0,
        v_threshold: float = 1.0,
        detach_reset: bool = False,
        surrogate: Surrogate | None = None,
        strict: bool = True,
    ) -> None:
        super().__init__()
        check_cell(shape, recurrent, own, tie_reset, v_threshold, beta)
        sizes = tuple(shape or ())
        one = {"synapse": sizes * 2, "neuron": sizes, "layer": ()}[own]
        options: dict[str, Any] = {"tau": tau, "dt": dt, "draw": draw, "learn": learn}
        needs = recurrent or own != "synapse"
        self.decay = SynapticDecay(one, kept=kept, **options) if needs else None
        self.weight = nn.Parameter(normal(sizes[0], sizes[0])) if recurrent else None
        apart = 1 - torch.eye(sizes[0]) if recurrent and not to_itself else None
        self.register_buffer("mask", apart, persistent=False)
        self.own, self.tie_reset, self.beta = own, tie_reset, beta
        self.reset_decay = None if tau_reset is None else _fixed(tau_reset, dt)
        self.adaptation_decay = _fixed(tau_adapt, dt) if beta else None
        self.v_threshold, self.detach_reset, self.strict = v_threshold, detach_reset, strict
        self.surrogate = surrogate or Triangle()

    def arguments(self) -> dict[str, Any]:
        decay = None if self.decay is None else self.decay.now()
        weight: Tensor | None = self.weight
        if weight is not None and self.mask is not None:
            weight = weight * self.mask
        shared = self.own != "synapse"
        return {
            "weight": weight,
            "decay": None if shared else decay,
            "leak": decay if shared else None,
            "reset_decay": decay if self.tie_reset else self.reset_decay,
            "adaptation_decay": self.adaptation_decay,
            "beta": self.beta,
            "v_threshold": self.v_threshold,
            "detach_reset": self.detach_reset,
            "surrogate": self.surrogate,
            "strict": self.strict,
        }

    def threshold(self, trace: AnyTrace, state: State = None) -> Tensor:
        return torch.as_tensor(self.v_threshold, device=trace.h_seq.device)

    def extra_repr(self) -> str:
        heard = "" if self.weight is None else "recurrent, "
        return f"{heard}own={self.own!r}, beta={self.beta}, {self.surrogate}"


def check_cell(
    shape: Sequence[int] | None,
    recurrent: bool,
    own: str,
    tie_reset: bool,
    v_threshold: float,
    beta: float,
) -> None:
    """Raise ValueError unless the options of :class:`HetSynLIF` go together."""
    if own not in ("synapse", "neuron", "layer"):
        raise ValueError(f"own must be 'synapse', 'neuron' or 'layer', got {own!r}")
    if (recurrent or own == "neuron") and not shape:
        raise ValueError("recurrent neurons, and decays for each, need shape=(O,) of one sample")
    if recurrent and len(shape or ()) != 1:
        raise ValueError(f"recurrent neurons lie in a row, shape=(O,); got {tuple(shape or ())}")
    if tie_reset and own == "synapse":
        raise ValueError(
            "tie_reset lets the reset decay as all synapses of a neuron do, but with own = "
            "'synapse' each decays in its own way; use own = 'neuron' or 'layer'"
        )
    if not v_threshold > 0 or beta < 0:
        raise ValueError(f"v_threshold must be > 0 and beta >= 0, got {v_threshold} and {beta}")


def decay_shape(own: Own, outputs: int, inputs: int) -> tuple[int, ...]:
    """Of the decays of a layer of synapses."""
    if inputs < 1 or outputs < 1:
        raise ValueError(f"inputs and outputs must be >= 1, got {inputs} and {outputs}")
    shapes: dict[str, tuple[int, ...]] = {
        "synapse": (outputs, inputs), "neuron": (outputs, 1), "input": (1, inputs), "layer": (),
    }  # fmt: skip
    if own not in shapes:
        raise ValueError(f"own must be one of {', '.join(map(repr, shapes))}, got {own!r}")
    return shapes[own]


def normal(outputs: int, inputs: int) -> Tensor:
    """Weights with standard deviation 1 / sqrt(inputs)."""
    return torch.randn(outputs, inputs) / sqrt(inputs)


def _fixed(tau: float, dt: float) -> Decay:
    if not tau > 0:
        raise ValueError(f"a time constant must be > 0, got {tau}")
    return Decay(float(torch.exp(torch.tensor(-dt / tau, dtype=torch.float64))), trusted=True)
