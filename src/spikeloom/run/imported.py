"""Networks from elsewhere as runs: a NIR file, or weights for the network of a recipe."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from spikeloom.deploy import (
    Graph,
    Unsupported,
    data_of,
    fit_weights,
    from_nir,
    read_weights,
    verify,
)
from spikeloom.deploy.exchange.graph import OUTPUT
from spikeloom.deploy.exchange.weights import in_a_row
from spikeloom.functional import Value
from spikeloom.layers import Membrane, OverTime
from spikeloom.layers.learnable import ends
from spikeloom.run import checkpoint
from spikeloom.run.config import Config, ConfigError, load, validate, with_overrides
from spikeloom.run.distributed import Processes
from spikeloom.run.record import (
    BEST,
    CONFIG,
    ENVIRONMENT,
    environment,
    hold,
    write_config,
    write_json,
)
from spikeloom.run.task import device_of, prepare

NETWORK = "network.nir"


def import_nir(
    file: Path,
    *,
    convention: str | None = None,
    dt: float | None = None,
    data: Path | None = None,
    out: Path | None = None,
    overrides: Sequence[str] = (),
    root: Path | None = None,
) -> dict[str, Any]:
    """Read a NIR file, run it on what was recorded with it, and make a run folder of it if asked.

    The folder holds a copy of the file, a configuration with the model ``nir``, and its weights as
    the best: what evaluates, exports or tries runs takes it for one that is finished.

    Args:
        file: the NIR file.
        convention: of the library that wrote it; see :func:`~spikeloom.deploy.from_nir`.
        dt: length of a step [s], where neither convention nor file says it.
        data: recorded data; those beside the file, if there are any, unless told otherwise.
        out: folder of the run, which is made.
        overrides: ``key=value`` with at least ``data.name`` and ``model.T``, for the run.
        root: where the data sets are.

    Returns:
        ``nodes``, each with name, layer, shape and what enters it; ``delayed`` edges; ``recorded``:
        the agreement with what was recorded, if anything was; ``folder``.

    Raises:
        Unsupported: no convention for a file that needs one; a node that cannot be read.
        DamagedFileError: the file or its data cannot be read.
        FileNotFoundError: one of them is not there.
        ConfigError: the run does not fit the network, or its folder is there already.
    """
    graph = from_nir(file, convention=convention, dt=dt)
    found: dict[str, Any] = {"file": str(file), "convention": convention, **described(graph)}
    if data is not None or data_of(file).is_file():
        layers = verify(file, data, convention=convention, dt=dt)
        found["recorded"] = [layer.as_dict() for layer in layers]
    if out is None and overrides:
        raise ConfigError(f"{overrides[0]} is about a run; say --out FOLDER, too")
    if out is not None:
        how: dict[str, Any] = {"convention": convention, "dt": dt}
        _make_run(file, how, out, overrides, root)
        found["folder"] = str(out)
    return found


def described(graph: Graph) -> dict[str, Any]:
    """Every node in the order in which it runs, and the edges that bring the step before."""
    with torch.no_grad():
        values = graph.activations(torch.zeros(1, 1, *graph.in_shape))
    layers = graph.named()
    nodes = [
        {
            "name": name,
            "layer": _said(layers[name]),
            "shape": list(values[name].shape[2:]),
            "parameters": sum(p.numel() for p in layers[name].parameters()),
            "from": [source for source, _ in graph.sources[name]],
        }
        for name in graph.order
        if name != OUTPUT
    ]
    delayed = [list(edge) for edge in graph.delayed]
    return {"in_shape": list(graph.in_shape), "nodes": nodes, "delayed": delayed}


def _said(layer: nn.Module) -> str:
    """A layer in one line: of neurons what decides when they fire, not how they learn."""
    inner = layer.module if isinstance(layer, OverTime) else layer
    kind = type(inner).__name__
    if not isinstance(inner, Membrane):
        return f"{kind}({inner.extra_repr()})"
    given = inner.arguments()
    keep, threshold = _range(given["decay"].keep), _range(given["v_threshold"])
    sign = ">" if given["strict"] else ">="
    return f"{kind}(keeps {keep}, fires {sign} {threshold}, reset {given['reset']})"


def _range(value: Value) -> str:
    low, high = ends(value)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _make_run(
    file: Path, how: dict[str, Any], out: Path, overrides: Sequence[str], root: Path | None
) -> None:
    """The folder of a NIR file's network."""
    if (out / CONFIG).exists():
        raise ConfigError(f"{out} already holds a run; choose another --out")
    given = {key: value for key, value in how.items() if value is not None}
    tree: dict[str, Any] = {
        "title": f"{file.name}, imported",
        "model": {"name": "nir", "file": str(file.resolve()), **given},
        "data": {"val": 1},  # nothing is chosen by it
        "phase": [{"epochs": 1}],
        "run": {"select": "best"},
    }
    for key, example in (("data.name", "mnist"), ("model.T", "20")):
        if not any(override.partition("=")[0].strip() == key for override in overrides):
            raise ConfigError(f"the run of a network needs {key}; add {key}={example}")
    config = validate(with_overrides(tree, overrides))
    task = prepare(config, Processes(), device_of("cpu"), root)
    out.mkdir(parents=True, exist_ok=True)
    with hold(out):
        shutil.copyfile(file, out / NETWORK)
        own = {**config.model.arguments, "file": str((out / NETWORK).resolve())}
        _finish(out, _moved(config, own), task.model)


def import_weights(
    file: Path,
    recipe: str,
    *,
    out: Path,
    overrides: Sequence[str] = (),
    root: Path | None = None,
) -> dict[str, Any]:
    """Put a file of weights into the network of a recipe, and make a run folder of it.

    Weights of this library go by name. Those of SpikingJelly or snnTorch, and of plain PyTorch
    networks, go layer by layer in their order, see :func:`~spikeloom.deploy.fit_weights`. Training
    of the recipe is left out: the folder is that of a finished run, also for ``[teacher]``.

    Args:
        file: a state dict, as ``.safetensors`` or by ``torch.save``.
        recipe: name or path of the recipe whose network it is.
        out: folder of the run, which is made.
        overrides: ``key=value``, of the recipe.
        root: where the data sets are.

    Returns:
        ``file``, ``recipe``, the number of ``parameters`` and the ``folder``.

    Raises:
        Unsupported: the first layer that does not fit, with both sides.
        DamagedFileError: the file holds no plain tensors.
        FileNotFoundError: it is not there.
        ConfigError: the recipe cannot be used, or the folder holds a run.
    """
    if (out / CONFIG).exists():
        raise ConfigError(f"{out} already holds a run; choose another --out")
    state = read_weights(file)
    config = load(recipe, (*overrides, "run.select=best"))
    if config.teacher:
        raise ConfigError(f"{recipe} has a [teacher], and nothing is trained here; leave it out")
    model = prepare(config, Processes(), device_of("cpu"), root).model
    if state.keys() == model.state_dict().keys():
        try:
            model.load_state_dict(state)
        except RuntimeError as error:
            raise Unsupported(f"{file} does not fit {recipe}: {error}") from error
    elif file.suffix == ".safetensors" and not in_a_row(state):
        raise Unsupported(
            f"{file} keeps no order of its layers, and their names are not those of {recipe}: save "
            "the state_dict with torch.save, which keeps it"
        )
    else:
        fit_weights(model, state)
    out.mkdir(parents=True, exist_ok=True)
    with hold(out):
        _finish(out, config, model, recipe)
    parameters = sum(p.numel() for p in model.parameters())
    return {"file": str(file), "recipe": recipe, "parameters": parameters, "folder": str(out)}


def _finish(out: Path, config: Config, model: nn.Module, recipe: str = "") -> None:
    """The folder of a run that is finished as it begins."""
    weights = checkpoint.prefixed("model", model.state_dict())
    facts = {"epoch": 0, "phase": 0, "config": config.model_dump(mode="json")}
    checkpoint.save_state(out / BEST, weights, facts)
    write_json(out / ENVIRONMENT, {"recipe": recipe, **environment(device_of("cpu"))})
    write_config(out, config)


def _moved(config: Config, arguments: dict[str, Any]) -> Config:
    tree = config.model_dump(mode="json", exclude_none=True)
    tree["model"] |= arguments
    return validate(tree)


__all__ = ["NETWORK", "described", "import_nir", "import_weights"]
