"""Trained networks elsewhere: as bits, on chips with faults, and in files of other libraries."""

from spikeloom.deploy.exchange.agreement import Agreement
from spikeloom.deploy.exchange.conventions import CONVENTIONS
from spikeloom.deploy.exchange.foreign import from_modules
from spikeloom.deploy.exchange.graph import Graph
from spikeloom.deploy.exchange.nir_file import Exported, from_nir, nir_graph, to_nir, verify
from spikeloom.deploy.exchange.onnx_file import ExportedOnnx, run_onnx, to_exported, to_onnx
from spikeloom.deploy.exchange.package import DamagedFileError
from spikeloom.deploy.exchange.unfold import graph_of
from spikeloom.deploy.exchange.weights import fit_weights, read_weights
from spikeloom.deploy.faults import Faults, faulty
from spikeloom.deploy.packed import Packed, infer
from spikeloom.deploy.packed_file import bytes_of, read_packed, write_packed
from spikeloom.registry import Unsupported as Unsupported

__all__ = [
    "CONVENTIONS",
    "Agreement",
    "DamagedFileError",
    "Exported",
    "ExportedOnnx",
    "Faults",
    "Graph",
    "Packed",
    "bytes_of",
    "faulty",
    "fit_weights",
    "from_modules",
    "from_nir",
    "graph_of",
    "infer",
    "nir_graph",
    "read_packed",
    "read_weights",
    "run_onnx",
    "to_exported",
    "to_nir",
    "to_onnx",
    "verify",
    "write_packed",
]
