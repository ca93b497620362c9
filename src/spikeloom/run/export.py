"""Trained runs as files: for other libraries, and packed for this one."""

from pathlib import Path
from typing import Any

from spikeloom.deploy import to_nir, to_onnx
from spikeloom.run.config import ConfigError
from spikeloom.run.distributed import Processes
from spikeloom.run.loop import Silent, Training
from spikeloom.run.packed import pack
from spikeloom.run.record import stored_config
from spikeloom.run.session import some_inputs
from spikeloom.run.task import device_of, prepare


def export(
    folder: Path,
    *,
    nir: Path | None = None,
    onnx: Path | None = None,
    packed: Path | None = None,
    weights: str | None = None,
    root: Path | None = None,
) -> dict[str, Any]:
    """Write a run's network as NIR, as ONNX, packed; each file is read back and compared.

    Args:
        folder: of the run.
        nir: path of the NIR file.
        onnx: path of the ONNX file.
        packed: path of the packed file, see ``docs/packed.md``.
        weights: ``last`` or ``best``; else as the recipe says.
        root: where the data sets are; eight training images are what the files are compared on.

    Returns:
        ``weights``, and under ``nir``, ``onnx`` and ``packed`` what was found.

    Raises:
        ConfigError: this is no run folder, or no file is wanted.
        CheckpointError: its checkpoint is missing, altered or of another model.
        Unsupported: the format cannot say the network, or its package is missing.
    """
    if nir is None and onnx is None and packed is None:
        raise ConfigError("nothing to export; say --nir PATH, --onnx PATH or --packed PATH")
    for path in (nir, onnx, packed):
        if path is not None and not path.parent.is_dir():
            raise ConfigError(f"no folder {path.parent}; make it, or choose another path")
    config = stored_config(folder)
    config = config.model_copy(update={"run": config.run.model_copy(update={"device": "cpu"})})
    task = prepare(config, Processes(), device_of("cpu"), root, folder)
    which = weights or config.run.select
    model = Training(task, folder, Silent()).weights(which)
    sample = some_inputs(task)
    found: dict[str, Any] = {"weights": which}
    if nir is not None:
        found["nir"] = to_nir(model, nir, sample).as_dict()
    if onnx is not None:
        found["onnx"] = to_onnx(model, onnx, sample).as_dict()
    if packed is not None:
        found["packed"] = pack(task, model, which, sample, packed)
    return found
