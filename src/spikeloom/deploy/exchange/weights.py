"""State dicts of other libraries in models of ours: layer by layer, in the order they run."""

import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from spikeloom.deploy.exchange.foreign import described
from spikeloom.deploy.exchange.package import DamagedFileError
from spikeloom.layers import LIF, BatchNorm, ParametricLIF
from spikeloom.registry import Unsupported

KINDS: dict[type[nn.Module], str] = {
    nn.Linear: "linear",
    nn.Conv1d: "conv1d",
    nn.Conv2d: "conv2d",
    BatchNorm: "norm",
    ParametricLIF: "parametric LIF of SpikingJelly",
    LIF: "neuron of snnTorch",
}


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """The tensors of a ``.safetensors`` file, or of one by ``torch.save``; nothing is executed.

    ``torch.save`` keeps the order of layers. A ``.safetensors`` file does not: where its names are
    not those of one numbered row, as ``features.0`` and ``features.3``, they cannot be put in order
    by anyone, and :func:`fit_weights` must not be relied on.

    Raises:
        DamagedFileError: the file cannot be read, or holds something other than tensors.
        FileNotFoundError: it is not there.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    try:
        if path.suffix == ".safetensors":
            return dict(sorted(load_file(path).items(), key=lambda item: numbered(item[0])))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, SafetensorError, RuntimeError, EOFError, ValueError) as error:
        raise DamagedFileError(
            f"{path} holds no plain tensors ({str(error).partition(chr(10))[0]}); save the "
            "state_dict, not the module"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise DamagedFileError(f"{path} holds a {type(state).__name__}, expected a state dict")
    return state


def numbered(key: str) -> list[str]:
    """A key to sort names by, with numbers in them by value."""
    return [part.zfill(9) if part.isdigit() else part for part in re.split(r"(\d+)", key)]


def in_a_row(state: dict[str, Tensor]) -> bool:
    """Whether the names of all layers differ in their numbers alone, so that they have an order."""
    return len({re.sub(r"\d+", "#", key.rpartition(".")[0]) for key in state}) == 1


def fit_weights(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Put a state dict of SpikingJelly or snnTorch into a model of the same architecture.

    Layers are matched in their order; kinds and shapes must be the same. Of snnTorch's neurons,
    which store their decay and threshold, the model's must have the same ones.

    Args:
        model: a network of Spikeloom; changed only if everything fits.
        state: from :func:`read_weights`.
    Raises:
        Unsupported: the first layer that does not fit, with both sides.
    """
    theirs = described(state)
    kinds = {kind for _, kind, _ in theirs}
    ours = [item for item in _layers(model) if item[2] in kinds or item[2] in ("linear", "norm")]
    fitted: list[tuple[Tensor, Tensor]] = []
    for (prefix, kind, group), (name, layer, own) in zip(theirs, ours, strict=False):
        if kind != own:
            raise Unsupported(f"{prefix} is a {kind}, but {name or 'the model'} is a {own}")
        fitted += _pairs(prefix, group, name, layer)
    if len(theirs) != len(ours):
        raise Unsupported(
            f"the file has {len(theirs)} layers with values, the model {len(ours)}: "
            f"{[kind for _, kind, _ in theirs]} and {[kind for *_, kind in ours]}"
        )
    with torch.no_grad():
        for target, value in fitted:
            target.copy_(value)


def _layers(model: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    for name, module in model.named_modules():
        kind = next((word for cls, word in KINDS.items() if isinstance(module, cls)), None)
        if kind is not None:
            yield name, module, kind


def _pairs(
    prefix: str, group: dict[str, Tensor], name: str, layer: nn.Module
) -> Iterator[tuple[Tensor, Tensor]]:
    if isinstance(layer, ParametricLIF):
        yield layer.decay.keep.raw, -group["w"].reshape(())
        return
    if isinstance(layer, LIF):
        _check_neuron(prefix, group, name, layer)
        return
    own = dict(layer.named_parameters()) | dict(layer.named_buffers())
    group = {key: value for key, value in group.items() if key != "num_batches_tracked"}
    if own.keys() != group.keys():
        raise Unsupported(f"{prefix} has {sorted(group)}, but {name} has {sorted(own)}")
    for key, value in group.items():
        if own[key].shape != value.shape:
            raise Unsupported(
                f"{prefix}.{key} has shape {tuple(value.shape)}, but {name}.{key} "
                f"{tuple(own[key].shape)}"
            )
        yield own[key], value


def _check_neuron(prefix: str, group: dict[str, Tensor], name: str, layer: LIF) -> None:
    keep, threshold = layer.decay.now().keep, layer.v_threshold.now()
    for key, own in (("beta", keep), ("threshold", threshold)):
        value = group[key].float()
        if not torch.allclose(value, torch.as_tensor(own).float().expand_as(value)):
            raise Unsupported(
                f"{prefix}.{key} is {value.tolist()}, but that of {name} {own}; build the model "
                "with decay=factor(beta) and v_threshold=threshold"
            )
