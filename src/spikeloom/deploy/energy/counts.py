"""What a network does for one sample, layer by layer: operations, updates, spikes."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from spikeloom.deploy.energy.values import Kind

SYNAPTIC = ("map", "recurrent", "product")


@dataclass(kw_only=True)
class Work:
    """A layer's work, over all time steps, and its sizes.

    Args:
        dense: synaptic operations if every input and every weight counts.
        adds: other additions and comparisons that are due: of biases, pools, sums and rectifiers.
        dense_adds: the same if every input counts.
        multiplies: other multiplications: of norms that do not fold.
        updates: neurons times steps.
        touched: those that anything but a bias reached.
        spikes: values of neurons or rectifiers that are not zero.
        events: values that it reads and that are not zero.
        written: values it leaves that are not zero; 0 if the next layer takes them where they are.
        neurons: of the layer.
        states: numbers that each of them keeps.
        leaks: whether any of these decays.
        decays: numbers that each update reads beside them: decays of single synapses.
        parameters: numbers it has learnt.
        zeros: those of its weights that are zero.
        weights: numbers in its weights.
        in_size: values of one step that it reads.
        out_size: values of one step that it computes.
    """

    dense: float = 0.0
    adds: float = 0.0
    dense_adds: float = 0.0
    multiplies: float = 0.0
    updates: float = 0.0
    touched: float = 0.0
    spikes: float = 0.0
    events: float = 0.0
    written: float = 0.0
    neurons: int = 0
    states: int = 0
    leaks: bool = False
    decays: int = 0
    parameters: int = 0
    zeros: int = 0
    weights: int = 0
    in_size: int = 0
    out_size: int = 0


@dataclass
class LayerCounts(Work):
    """One layer's work for one sample: means over the samples counted.

    Args:
        name: of the layer in the network.
        role: ``map`` (convolution, linear, token mixing), ``recurrent`` (weights within a layer of
            neurons), ``product`` (of activations with activations), ``pool``, ``sum``, ``norm``,
            ``neurons``, ``synapses`` (currents or traces that decay), ``rectifier``.
        kind: its class.
        inputs: what it reads, by the values; empty if the layer before keeps it for this one.
        steps: how often it is computed; once for an image that is the same at every step.
        macs: multiply-accumulates: of graded inputs and weights that are not zero.
        acs: accumulates: of spikes and weights that are not zero.
        out_kind: what the values it leaves are.
        note: what a reader should know.
    """

    name: str
    role: str
    kind: str
    inputs: Kind | Literal[""] = ""
    steps: float = 0.0
    macs: float = 0.0
    acs: float = 0.0
    out_kind: Kind = "graded"
    note: str = ""

    @property
    def synops(self) -> float:
        """Synaptic operations that are due: those whose input and weight are not zero."""
        return self.macs + self.acs


@dataclass(frozen=True)
class Counts:
    """A network's work for one sample; ``uncounted`` names what was seen but not counted."""

    layers: tuple[LayerCounts, ...]
    samples: int
    parameters: int
    footprint: int
    uncounted: tuple[str, ...] = ()

    def total(self, name: str) -> float:
        """The sum of a field over layers."""
        return float(sum(getattr(layer, name) for layer in self.layers))

    def neurobench(self, accuracy: float | None = None) -> dict[str, Any]:
        """The numbers that NeuroBench reports, by its names.

        ``membrane_updates`` are neurons times steps; ``connection_sparsity`` and
        ``synaptic_operations`` are over all layers with weights, and products of spikes.
        """
        fires = [layer for layer in self.layers if layer.role in ("neurons", "rectifier")]
        values = sum(layer.out_size * layer.steps for layer in fires)
        weights = self.total("weights")
        return {
            "footprint": self.footprint,
            "parameter_count": self.parameters,
            "connection_sparsity": self.total("zeros") / weights if weights else 0.0,
            "classification_accuracy": accuracy,
            "activation_sparsity": 1 - self.total("spikes") / values if values else 0.0,
            "synaptic_operations": {
                "Effective_MACs": self.total("macs"),
                "Effective_ACs": self.total("acs"),
                "Dense": self.total("dense"),
            },
            "membrane_updates": float(sum(layer.updates for layer in fires)),
        }

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return asdict(self)


__all__ = ["SYNAPTIC", "Counts", "LayerCounts", "Work"]
