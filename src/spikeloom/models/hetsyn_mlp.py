"""Networks of HetSyn and its baselines: synapses, neurons, a read-out of potentials or spikes."""

from collections.abc import Sequence
from math import prod
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from spikeloom.functional import Surrogate
from spikeloom.layers import (
    GroupedSynapses,
    HetSynLIF,
    Latest,
    Linear,
    OverTime,
    Softmax,
    Synapses,
)
from spikeloom.layers.hetsyn import PAPER, Own
from spikeloom.layers.synaptic_decay import Draw, Kept
from spikeloom.models.parts import check_input, scaled
from spikeloom.registry import register

CELLS: dict[str, Own] = {
    "hetsyn": "synapse", "het_neu": "neuron", "hom_neu": "layer", "hom_neu_alif": "layer",
}  # fmt: skip
Cell = Literal["hetsyn", "het_neu", "hom_neu", "hom_neu_alif"]


@register("model", "hetsyn_mlp", paper=PAPER, status="exact")
class HetSynMLP(nn.Module):
    """Fully connected layers of HetSynLIF, HetNeuLIF, HomNeuLIF or HomNeuALIF in a row.

    HetSyn has a decay for every synapse, of the read-out too; HetNeu one for every neuron; Hom one
    for all, which is not learnt. No biases.

    Args:
        hidden: widths of the hidden layers.
        in_shape: (C, *) of one sample; it is flattened.
        num_classes: K.
        cell: ``hetsyn``, ``het_neu``, ``hom_neu`` or ``hom_neu_alif``.
        recurrent: whether hidden neurons hear the last spikes of their layer.
        tau: time constant of the synapses; or two numbers: mean and deviation of a normal draw, or
            the ends of a uniform one. Of two, the homogeneous cells take the mean.
        draw: how two numbers are meant.
        dt: length of a step, in the unit of the time constants.
        kept: what a learnt decay is: ``clamped`` as published, ``sigmoid`` or ``timescale``.
        tau_reset: of the reset current; None for neurons without reset.
        tie_reset: let it decay as the synapses do (``het_neu`` and the homogeneous cells).
        tau_adapt, beta: adaptation of ``hom_neu_alif``.
        levels: of HetSyn: so many levels of decays that synapses share, see ``GroupedSynapses``;
            0 for a decay of its own for each.
        to_itself: whether recurrent neurons hear themselves; None: in HetSyn only, as published.
        decision: what is scored: the potentials of the ``last`` step, the ``softmax`` of those of
            all steps but the first ``skip``, or the ``spikes`` of K neurons in place of a read-out.
        skip: steps that do not count for ``softmax``.
        surrogate: slope of the spike; the triangle of width and height 1 if None.
        v_threshold: firing threshold.
        dropout: share of the hidden spikes that are left out on their way forward, anew at every
            step; the neurons' own layer hears them all.
        width: multiplies all hidden widths.
    Shape:
        x_seq [T, N, *in_shape] -> logits_seq [T, N, K], spikes with ``decision = "spikes"``
    Raises:
        ValueError: an option out of range; when called, an input that does not fit ``in_shape``.
    """

    step_by_step: ClassVar[bool] = True  # time passes only inside the layers

    def __init__(
        self,
        hidden: Sequence[int] = (100,),
        *,
        in_shape: tuple[int, ...],
        num_classes: int,
        cell: Cell = "hetsyn",
        recurrent: bool = False,
        tau: float | tuple[float, float] = 20.0,
        draw: Draw = "normal",
        dt: float = 1.0,
        kept: Kept = "clamped",
        tau_reset: float | None = 20.0,
        tie_reset: bool = False,
        tau_adapt: float = 100.0,
        beta: float = 0.05,
        levels: int = 0,
        to_itself: bool | None = None,
        decision: Literal["last", "softmax", "spikes"] = "last",
        skip: int = 0,
        surrogate: Surrogate | None = None,
        v_threshold: float = 1.0,
        dropout: float = 0.0,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        check_options(cell, levels, decision, skip, dropout)
        self.in_shape, own = tuple(in_shape), CELLS[cell]
        fixed = own == "layer"
        if fixed and not isinstance(tau, int | float):
            tau = tau[0] if draw == "normal" else sum(tau) / 2
        decays: dict[str, Any] = {"tau": tau, "draw": draw, "dt": dt, "kept": kept}
        decays["learn"] = not fixed
        firing: dict[str, Any] = {
            "own": own, "tau_reset": tau_reset, "tie_reset": tie_reset, "surrogate": surrogate,
            "v_threshold": v_threshold, "tau_adapt": tau_adapt,
            "beta": beta if cell == "hom_neu_alif" else 0.0,
            "to_itself": cell == "hetsyn" if to_itself is None else to_itself,
        }  # fmt: skip

        def connected(inputs: int, outputs: int) -> nn.Module:
            if levels:
                return GroupedSynapses(inputs, outputs, levels=levels, **{**decays, "learn": False})
            return Synapses(inputs, outputs, own=own, **decays)

        def layer(inputs: int, outputs: int) -> list[nn.Module]:
            first = connected(inputs, outputs) if own == "synapse" else plain(inputs, outputs)
            return [first, HetSynLIF((outputs,), recurrent=recurrent, **decays, **firing)]

        self.flatten = OverTime(nn.Flatten())
        self.stages = nn.Sequential()
        n = prod(in_shape)
        for size in hidden:
            out = scaled(size, width)
            after = [nn.Dropout(dropout)] if dropout else []
            self.stages.append(nn.Sequential(*layer(n, out), *after))
            n = out
        if decision == "spikes":
            self.readout = nn.Sequential(*layer(n, num_classes))
        else:
            end = Latest() if decision == "last" else Softmax(skip=skip)
            self.readout = nn.Sequential(connected(n, num_classes), end)

    def forward(self, x_seq: Tensor) -> Tensor:
        check_input(self, x_seq, self.in_shape)
        logits_seq: Tensor = self.readout(self.stages(self.flatten(x_seq)))
        return logits_seq


def plain(inputs: int, outputs: int) -> nn.Module:
    """A linear map without bias that starts as synapses do."""
    linear = Linear(inputs, outputs, bias=False)
    nn.init.normal_(linear.weight, std=inputs**-0.5)
    return OverTime(linear)


def check_options(cell: str, levels: int, decision: str, skip: int, dropout: float) -> None:
    """Raise ValueError unless the options of :class:`HetSynMLP` go together."""
    if cell not in CELLS:
        raise ValueError(f"cell is {cell!r}; use one of {', '.join(CELLS)}")
    if levels < 0 or levels == 1 or (levels and cell != "hetsyn"):
        raise ValueError(
            f"levels is a number of decays that synapses of cell = 'hetsyn' share, >= 2, or 0 for "
            f"one each; got {levels} with cell = {cell!r}"
        )
    if decision not in ("last", "softmax", "spikes"):
        raise ValueError(f"decision is {decision!r}; use 'last', 'softmax' or 'spikes'")
    if skip and decision != "softmax":
        raise ValueError(f"skip leaves steps out of the softmax; decision is {decision!r}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), got {dropout}")
