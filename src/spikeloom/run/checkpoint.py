"""Checkpoints: one safetensors file for tensors and, in its header, JSON for the rest.

Written beside the target, flushed to disk, then renamed over it, so that a kill at any moment
leaves either the old file or the new one. No pickle is read or written.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from spikeloom.report.whole import write_file as write_file

FORMAT = "spikeloom-checkpoint-1"


class CheckpointError(ValueError):
    """A checkpoint cannot be read or does not fit; the message says why."""


def save_state(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write tensors and JSON-able facts to ``path`` in one step."""
    # clone: safetensors refuses tensors that share memory; contiguous: it stores no strides
    own = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    told = json.dumps(facts)
    header = {"format": FORMAT, "facts": told, "sha256": _digest(own, told)}
    write_file(path, save(own, metadata=header))


def load_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`save_state` wrote.

    Raises:
        CheckpointError: missing, truncated, altered, or not a checkpoint of this library.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise CheckpointError(
                    f"{path} is not a checkpoint of this version: its format is "
                    f"{header.get('format')!r}, expected {FORMAT!r}"
                )
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 not a dict
            if "sha256" in header and header["sha256"] != _digest(tensors, header["facts"]):
                raise SafetensorError("its content is not what was saved")
            return tensors, json.loads(header["facts"])
    except (SafetensorError, json.JSONDecodeError, KeyError, OSError) as error:
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint ({error}); it is truncated or altered"
        ) from error


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose name starts with ``prefix/``, without it."""
    start = prefix + "/"
    return {key[len(start) :]: value for key, value in tensors.items() if key.startswith(start)}


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors as ``prefix/name``."""
    return {f"{prefix}/{key}": value for key, value in tensors.items()}


def load_weights(model: nn.Module, weights: dict[str, Tensor], origin: Path) -> None:
    """Put weights into a model.

    Raises:
        CheckpointError: they are another model's; names what is missing, left over or misshapen.
    """
    own = model.state_dict()
    missing = sorted(own.keys() - weights.keys())
    extra = sorted(weights.keys() - own.keys())
    shapes = [
        f"{key}: {tuple(weights[key].shape)} in the file, {tuple(own[key].shape)} in the model"
        for key in sorted(own.keys() & weights.keys())
        if own[key].shape != weights[key].shape
    ]
    if missing or extra or shapes:
        facts = [
            *(f"missing {_some(missing)}" for _ in missing[:1]),
            *(f"not in the model {_some(extra)}" for _ in extra[:1]),
            *shapes[:3],
        ]
        raise CheckpointError(f"{origin} holds the weights of another model: " + "; ".join(facts))
    model.load_state_dict(weights)


def optimizer_state(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimizer's state as tensors ``index/name`` and JSON-able facts."""
    state = optimizer.state_dict()
    tensors, facts = {}, {}
    for index, slots in state["state"].items():
        for name, value in slots.items():
            if isinstance(value, Tensor):
                tensors[f"{index}/{name}"] = value
            else:
                facts[f"{index}/{name}"] = value
    return tensors, facts


def load_optimizer(
    optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], facts: dict[str, Any]
) -> None:
    """Put back what :func:`optimizer_state` took; the hyper-parameters are the optimizer's own."""
    state: dict[int, dict[str, Any]] = {}
    for key, value in (*tensors.items(), *facts.items()):
        index, _, name = key.partition("/")
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict(
        {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    )


def _digest(tensors: dict[str, Tensor], facts: str) -> str:
    digest = hashlib.sha256(facts.encode())
    for key in sorted(tensors):
        digest.update(key.encode())
        digest.update(tensors[key].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
