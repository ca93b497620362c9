"""Trained networks elsewhere: as bits, by events, on faulty chips, in files of other libraries; and
what they cost there.
"""

from spikeloom.deploy.energy import (
    Constants,
    Counts,
    LayerCounts,
    LayerEnergy,
    count_operations,
    price,
    quantised,
    read_constants,
)
from spikeloom.deploy.events import EventNetwork, EventRun, compile_events, differing_spikes
from spikeloom.deploy.exchange.agreement import Agreement
from spikeloom.deploy.exchange.conventions import CONVENTIONS
from spikeloom.deploy.exchange.foreign import from_modules
from spikeloom.deploy.exchange.graph import Graph
from spikeloom.deploy.exchange.nir_file import (
    Exported,
    data_of,
    from_nir,
    nir_graph,
    to_nir,
    verify,
)
from spikeloom.deploy.exchange.onnx_file import ExportedOnnx, run_onnx, to_exported, to_onnx
from spikeloom.deploy.exchange.package import DamagedFileError
from spikeloom.deploy.exchange.primitives import PRIMITIVES, Primitive
from spikeloom.deploy.exchange.unfold import graph_of
from spikeloom.deploy.exchange.weights import fit_weights, read_weights
from spikeloom.deploy.faults import Faults, faulty, lost_share
from spikeloom.deploy.live import Decision, Live
from spikeloom.deploy.neurobench import neurobench_model, run_neurobench
from spikeloom.deploy.packed import Packed, bytes_of, infer, read_packed, write_packed
from spikeloom.deploy.signed import signed
from spikeloom.registry import Unsupported as Unsupported

__all__ = [
    "CONVENTIONS",
    "PRIMITIVES",
    "Agreement",
    "Constants",
    "Counts",
    "DamagedFileError",
    "Decision",
    "EventNetwork",
    "EventRun",
    "Exported",
    "ExportedOnnx",
    "Faults",
    "Graph",
    "LayerCounts",
    "LayerEnergy",
    "Live",
    "Packed",
    "Primitive",
    "bytes_of",
    "compile_events",
    "count_operations",
    "data_of",
    "differing_spikes",
    "faulty",
    "fit_weights",
    "from_modules",
    "from_nir",
    "graph_of",
    "infer",
    "lost_share",
    "neurobench_model",
    "nir_graph",
    "price",
    "quantised",
    "read_constants",
    "read_packed",
    "read_weights",
    "run_neurobench",
    "run_onnx",
    "signed",
    "to_exported",
    "to_nir",
    "to_onnx",
    "verify",
    "write_packed",
]
