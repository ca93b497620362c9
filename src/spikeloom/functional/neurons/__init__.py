"""Neuron models, one per file."""

from spikeloom.functional.neurons.alif import ALIFState, ALIFTrace, alif, alif_step, alif_trace
from spikeloom.functional.neurons.cuba import (
    CubaState,
    CubaTrace,
    cuba_lif,
    cuba_lif_step,
    cuba_lif_trace,
)
from spikeloom.functional.neurons.double_exponential import (
    DoubleExponentialState,
    DoubleExponentialTrace,
    double_exponential,
    double_exponential_step,
    double_exponential_trace,
)
from spikeloom.functional.neurons.graded import graded
from spikeloom.functional.neurons.hetsyn import (
    HetSynState,
    HetSynTrace,
    hetsyn_lif,
    hetsyn_lif_trace,
)
from spikeloom.functional.neurons.li import li
from spikeloom.functional.neurons.lif import Reset, Trace, if_, lif, lif_step, lif_trace
from spikeloom.functional.neurons.mean_potential import lif_mean
from spikeloom.functional.neurons.rate import RateState, lif_rate, lif_rate_step
from spikeloom.functional.neurons.recurrent import (
    RecurrentState,
    RecurrentTrace,
    recurrent_lif,
    recurrent_lif_step,
    recurrent_lif_trace,
)
from spikeloom.functional.neurons.synapses import synapses
from spikeloom.functional.neurons.ternary import (
    ternary_lif,
    ternary_lif_step,
    ternary_lif_trace,
)
from spikeloom.functional.neurons.ternary_spike import (
    ternary_spike,
    ternary_spike_step,
    ternary_spike_trace,
)
from spikeloom.functional.neurons.timed import early, supervised, timed

__all__ = [
    "ALIFState",
    "ALIFTrace",
    "CubaState",
    "CubaTrace",
    "DoubleExponentialState",
    "DoubleExponentialTrace",
    "HetSynState",
    "HetSynTrace",
    "RateState",
    "RecurrentState",
    "RecurrentTrace",
    "Reset",
    "Trace",
    "alif",
    "alif_step",
    "alif_trace",
    "cuba_lif",
    "cuba_lif_step",
    "cuba_lif_trace",
    "double_exponential",
    "double_exponential_step",
    "double_exponential_trace",
    "early",
    "graded",
    "hetsyn_lif",
    "hetsyn_lif_trace",
    "if_",
    "li",
    "lif",
    "lif_mean",
    "lif_rate",
    "lif_rate_step",
    "lif_step",
    "lif_trace",
    "recurrent_lif",
    "recurrent_lif_step",
    "recurrent_lif_trace",
    "supervised",
    "synapses",
    "ternary_lif",
    "ternary_lif_step",
    "ternary_lif_trace",
    "ternary_spike",
    "ternary_spike_step",
    "ternary_spike_trace",
    "timed",
]
