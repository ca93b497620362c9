"""Packed networks as files: codes at their bits, checksums, everything checked when read.

A safetensors file whose header holds the program as JSON; see ``docs/packed.md``. Nothing in it is
code, and no pickle is read or written.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from spikeloom.deploy.exchange.package import DamagedFileError
from spikeloom.deploy.packed.form import ProgramForm
from spikeloom.deploy.packed.network import Packed
from spikeloom.deploy.packed.read import program_of
from spikeloom.deploy.packed.write import formed
from spikeloom.functional.program import Program, Sum
from spikeloom.registry import Unsupported

FORMAT, VERSION = "spikeloom-packed", "1"
KEYS = {"format", "version", "program", "about", "checksums"}


def write_packed(packed: Packed, path: Path, about: Mapping[str, Any] | None = None) -> int:
    """Write a packed network, and return how many bytes the file has.

    Args:
        packed: made by :func:`~spikeloom.deploy.infer`.
        path: of the file.
        about: what else to say, JSON-able: where it comes from, how its inputs are made.
    Raises:
        Unsupported: a layer that the file has no form for, or values that a reader refuses.
        OSError: the file cannot be written.
    Example:
        >>> import tempfile
        >>> from torch import nn
        >>> from spikeloom.deploy import infer
        >>> from spikeloom.layers import LIF, OverTime
        >>> net = infer(nn.Sequential(OverTime(nn.Linear(9, 8)), LIF()), torch.rand(4, 2, 9))
        >>> path = Path(tempfile.mkdtemp()) / "net.packed"
        >>> write_packed(net, path) == path.stat().st_size
        True
        >>> again, about = read_packed(path)
        >>> x_seq = torch.rand(4, 3, 9)
        >>> torch.equal(again(x_seq), net(x_seq))
        True
    """
    form, tensors = formed(packed.program)
    try:
        program_of(form, tensors)
    except ValueError as error:
        raise Unsupported(f"a packed file of this network could not be read: {error}") from error
    texts = {"program": form.model_dump_json(), "about": json.dumps(dict(about or {}))}
    sums = {name: _sha256(value) for name, value in (texts | tensors).items()}
    header = {"format": FORMAT, "version": VERSION, **texts, "checksums": json.dumps(sums)}
    content = _ordered(save(tensors, metadata=header))
    path.write_bytes(content)
    return len(content)


def read_packed(path: Path) -> tuple[Packed, dict[str, Any]]:
    """The network in a file, and what else it says.

    Format, version, checksums, every size, index and reference are checked first.

    Raises:
        DamagedFileError: no such file, cut off, altered, of another version, or at odds with
            itself; says which.
    """
    if not path.is_file():
        raise DamagedFileError(f"there is no file {path}")
    header, tensors = _content(path)
    try:
        form = ProgramForm.model_validate_json(header["program"])
        program = program_of(form, tensors)
    except (ValueError, RuntimeError) as error:
        raise DamagedFileError(
            f"{path} holds no network that can be run: {_short(error)}"
        ) from error
    return Packed(program), _object(path, header, "about")


def _content(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Header and tensors, as they were written."""
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise DamagedFileError(
                    f"{path} is no packed network: its format is {header.get('format')!r}, "
                    f"expected {FORMAT!r}; `spikeloom export RUN --packed FILE` writes one"
                )
            if header.get("version") != VERSION:
                raise DamagedFileError(
                    f"{path} is of version {header.get('version')!r} and this library reads "
                    f"{VERSION!r}; export it again, or use the library that wrote it"
                )
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 not a dict
        if set(header) != KEYS:
            raise DamagedFileError(f"{path}: its header holds {sorted(header)}, not {sorted(KEYS)}")
    except (SafetensorError, OSError) as error:
        raise DamagedFileError(
            f"{path} cannot be read as a packed network ({error}); it is cut off, altered, or "
            "something else"
        ) from error
    given: dict[str, str | Tensor] = {key: header[key] for key in ("program", "about")}
    given |= tensors
    sums = _object(path, header, "checksums")
    if set(sums) != set(given):
        raise DamagedFileError(f"{path} was altered: its checksums are of other parts than it has")
    wrong = [name for name, value in given.items() if sums[name] != _sha256(value)]
    if wrong:
        raise DamagedFileError(f"{path} was altered: the checksum of {wrong[0]} is another")
    return header, tensors


def _ordered(content: bytes) -> bytes:
    """The same safetensors file with its header in order: safetensors writes it in any."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[end:]


def _object(path: Path, header: Mapping[str, str], key: str) -> dict[str, Any]:
    """A part of the header that is a JSON object."""
    try:
        found = json.loads(header[key])
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(f"{path}: what it says under {key} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise DamagedFileError(f"{path}: what it says under {key} is no JSON object")
    return found


def _sha256(value: str | Tensor) -> str:
    if isinstance(value, str):
        return hashlib.sha256(value.encode()).hexdigest()
    found = hashlib.sha256(f"{value.dtype} {tuple(value.shape)}".encode())
    found.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _short(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    return "; ".join(lines[:3])


@dataclass(frozen=True)
class Bytes:
    """What the weights of a network take, biases and scales included.

    Args:
        float32: four bytes a weight.
        int8: a byte a weight, and a scale for each output.
        coded: weights of one bit and less.
        floats: the other weights.
    """

    float32: int
    int8: int
    coded: int
    floats: int


def bytes_of(program: Program) -> Bytes:
    """The bytes of a program's weights in other formats, and how many weights are coded."""
    float32 = int8 = coded = floats = 0
    for node in program.nodes:
        if not isinstance(node, Sum):
            continue
        float32, int8 = float32 + 4 * node.shape[0], int8 + 4 * node.shape[0]
        for term in node.terms:
            if term.sizes is None:
                continue
            count = term.sizes[0] * term.sizes[1] * term.sizes[2] * term.sizes[3]
            float32, int8 = float32 + 4 * count, int8 + count + 4 * term.sizes[0]
            coded += count if term.coded else 0
            floats += 0 if term.coded else count
    return Bytes(float32, int8, coded, floats)
