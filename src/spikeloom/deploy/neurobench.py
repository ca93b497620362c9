"""Networks in NeuroBench's harness: its wrapper around ours, and a run with all its metrics."""

from collections.abc import Iterable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from spikeloom.layers import Neuron
from spikeloom.registry import Unsupported

HINT = "NeuroBench is not installed; pip install 'spikeloom[neurobench]'"


def neurobench_model(model: nn.Module) -> Any:
    """A network as a ``neurobench.models.NeuroBenchModel``, for its benchmarks and metrics.

    Its layers of neurons are activation layers, and their potentials at every step are handed to
    the metric of membrane updates, which otherwise knows snnTorch's neurons alone.

    Shape:
        what it is called with [N, T, *] -> logits [N, T, K]
    Raises:
        Unsupported: NeuroBench is not installed.
    """
    layers: Any = _part("hooks.layer")
    neurons: Any = _part("hooks.neuron")
    models: Any = _part("models")

    class PotentialHook(neurons.NeuronHook):  # type: ignore[misc]  # it has no types
        """Notes the potential before and after every step of a layer of neurons."""

        def hook_fn(self, layer: nn.Module, inputs: Any, output: Tensor) -> None:
            self.activation_outputs.append(output)
            if isinstance(layer, Neuron):
                v_seq = layer.trace(inputs[0]).v_seq
                self.pre_fire_mem_potential += [torch.zeros_like(v_seq[0]), *v_seq[:-1]]
                self.post_fire_mem_potential += [*v_seq]

    class Wrapped(models.TorchModel):  # type: ignore[misc]  # it has no types
        """Sequences with the batch first, as NeuroBench has them."""

        def __init__(self) -> None:
            super().__init__(model)
            self.add_activation_module(Neuron)

        def __call__(self, batch: Tensor) -> Tensor:
            with torch.no_grad():
                logits_seq: Tensor = self.net(batch.transpose(0, 1))
            return logits_seq.transpose(0, 1)

        def register_hooks(self) -> None:
            for found in self.activation_layers():
                self.activation_hooks.append(PotentialHook(found["layer"], found["layer_name"]))
            for layer in self.connection_layers():
                self.connection_hooks.append(layers.LayerHook(layer))

    return Wrapped()


def run_neurobench(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Any]:
    """What NeuroBench's harness reports of a network, by the names of its metrics.

    Args:
        model: a network.
        batches: sequences and labels; a sample's class is that of its mean logits.
    Shape:
        each x_seq [T, N, *], y [N]
    Raises:
        Unsupported: NeuroBench is not installed.
        ValueError: no batches.
    """
    net = neurobench_model(model)
    pairs = list(batches)
    if not pairs:
        raise ValueError("there were no samples to benchmark on; give at least one batch")
    samples = TensorDataset(
        torch.cat([x_seq.transpose(0, 1) for x_seq, _ in pairs]), torch.cat([y for _, y in pairs])
    )
    loader = DataLoader(samples, batch_size=pairs[0][0].shape[1])
    static, workload = _part("metrics.static"), _part("metrics.workload")
    metrics = [
        [static.Footprint, static.ParameterCount, static.ConnectionSparsity],
        [
            workload.ClassificationAccuracy,
            workload.ActivationSparsity,
            workload.SynapticOperations,
            workload.MembraneUpdates,
        ],
    ]
    mean = [lambda logits: logits.mean(1).argmax(-1)]
    found: dict[str, Any] = (
        _part("benchmarks").Benchmark(net, loader, [], mean, metrics).run(quiet=True)
    )
    return found


def _part(name: str) -> Any:
    """A module of NeuroBench, which is optional.

    Raises:
        Unsupported: it is not installed.
    """
    try:
        return import_module(f"neurobench.{name}")
    except ImportError as error:
        raise Unsupported(HINT) from error


__all__ = ["neurobench_model", "run_neurobench"]
