"""The whole sequence as one graph without loops: ``torch.export`` and ONNX."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from spikeloom.deploy.exchange.package import DamagedFileError, package
from spikeloom.functional.sequence import check_sequence
from spikeloom.kernels import use
from spikeloom.layers import plain_weights
from spikeloom.registry import Unsupported

CLOSE = 1e-4  # logits further apart belong to other spikes


@dataclass(frozen=True)
class ExportedOnnx:
    """What was written; ``agreeing`` of ``count`` samples have the network's logits."""

    path: Path
    T: int
    count: int
    agreeing: int
    largest_error: float

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {**self.__dict__, "path": str(self.path)}


def to_exported(model: nn.Module, sample: Tensor) -> ExportedProgram:
    """The network as ``torch.export`` keeps it: T as in the sample, any N.

    The readable functions are traced, in evaluation mode and without gradients; transformed
    weights are computed once before.

    Args:
        model: any network whose ``forward`` takes a sequence.
        sample: inputs like those to come.
    Shape:
        sample [T, N, *], N >= 2
    Raises:
        Unsupported: it does something that cannot be traced.
        ValueError: fewer than two samples, from which no free N can be found.
    """
    check_sequence(sample)
    if sample.shape[1] < 2:
        raise ValueError(f"a sample of at least two inputs is needed, got N = {sample.shape[1]}")
    with evaluated(model), use("truth"), torch.no_grad(), _quiet():
        try:
            return torch.export.export(
                plain_weights(model),
                (sample.contiguous(),),
                dynamic_shapes=({1: Dim.DYNAMIC},),
                strict=False,
            )
        except Exception as error:  # torch raises a dozen kinds, none of them documented
            reason = str(error).strip().partition("\n")[0]
            raise Unsupported(
                f"{type(model).__name__} cannot be traced by torch.export: {reason}"
            ) from error


def to_onnx(model: nn.Module, path: Path | str, sample: Tensor) -> ExportedOnnx:
    """Write the network as ONNX, run it in onnxruntime and compare the logits.

    Input ``x_seq`` [T, N, *] with T as in the sample and any N, output ``logits_seq``.

    Args:
        model: any network whose ``forward`` takes a sequence.
        path: where to; one file.
        sample: inputs like those to come.
    Shape:
        sample [T, N, *], N >= 2
    Returns:
        How many samples have the same logits but for 1e-4. Convolutions of onnxruntime round in
        another way, so a potential within rounding of its threshold may cross it.
    Raises:
        Unsupported: ``onnx``, ``onnxscript`` or ``onnxruntime`` is missing; the network cannot be
            traced, or said in ONNX; or fewer than half of the samples agree.
        OSError: the file cannot be written.
    """
    for name in ("onnx", "onnxscript", "onnxruntime"):
        package(name, "onnx")
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"no folder {path.parent}")
    exported = to_exported(model, sample)
    draft = path.with_name(f".{path.name}.part")
    try:
        with _quiet():
            program = torch.onnx.export(
                exported, dynamo=True, verbose=False, input_names=["x_seq"],
                output_names=["logits_seq"],
            )  # fmt: skip
            assert program is not None
            program.save(draft, external_data=False)
        agreeing, largest = _compared(model, draft, sample)
        if 2 * agreeing < (N := sample.shape[1]):
            raise Unsupported(
                f"{path} would not do what the network does: the logits of {N - agreeing} of {N} "
                "samples differ; it was not kept, report this"
            )
        os.replace(draft, path)
    except torch.onnx.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().partition("\n")[0]
        raise Unsupported(f"{type(model).__name__} cannot be said in ONNX: {reason}") from error
    finally:
        draft.unlink(missing_ok=True)
    return ExportedOnnx(path, len(sample), sample.shape[1], agreeing, largest)


def run_onnx(path: Path | str, x_seq: Tensor) -> Tensor:
    """The logits that onnxruntime computes from a file.

    Shape:
        x_seq [T, N, *] -> [T, N, K]
    Raises:
        DamagedFileError: the file is no ONNX file.
        FileNotFoundError: it is not there.
        ValueError: an input that does not fit, as one of another T.
    """
    runtime = package("onnxruntime", "onnx")
    if not Path(path).is_file():
        raise FileNotFoundError(f"no file {path}")
    try:
        session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common base
        raise DamagedFileError(f"{path} is no ONNX file that can be read: {error}") from error
    (taken,) = session.get_inputs()
    fits = len(taken.shape) == x_seq.dim() and all(
        not isinstance(size, int) or size == own
        for size, own in zip(taken.shape, x_seq.shape, strict=True)
    )
    if not fits:
        raise ValueError(f"{path} takes {taken.shape}, got {tuple(x_seq.shape)}")
    (logits,) = session.run(None, {taken.name: np.ascontiguousarray(x_seq.numpy())})
    return torch.from_numpy(logits)


def _compared(model: nn.Module, path: Path, sample: Tensor) -> tuple[int, float]:
    """Of how many samples a file has the network's logits, and how far they are apart at most."""
    with evaluated(model), torch.no_grad():
        expected = model(sample)
    apart = (run_onnx(path, sample) - expected).abs().transpose(0, 1).flatten(1).amax(1)
    return int((apart <= CLOSE).sum()), float(apart.max())


@contextmanager
def evaluated(model: nn.Module) -> Iterator[None]:
    """Evaluation mode; afterwards every module is in the mode it was in."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's notes on its own insides."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "torch.export")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
