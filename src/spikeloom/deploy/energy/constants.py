"""What an operation and an access cost: a table in a file, which another file replaces."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from spikeloom.registry import unknown

DEFAULT = Path(__file__).parent / "horowitz2014.toml"

Precision = Literal["float32", "int8"]
Cost = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Bits = Annotated[int, Field(ge=1, le=64)]


class Table(BaseModel):
    """A table of the file: every key is needed, others are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Arithmetic(Table):
    """Widths [bits] and costs [pJ] of arithmetic in one precision.

    ``multiply`` and ``add`` are for weights with activations, ``state_*`` for sums and membranes.
    """

    weight_bits: Bits
    activation_bits: Bits
    multiply: Cost
    add: Cost
    state_bits: Bits
    state_multiply: Cost
    state_add: Cost


class Memory(Table):
    """Costs of an access [pJ] to memories by their size [bytes]; the last is without bounds."""

    access_bits: Annotated[int, Field(ge=1)]
    sram_bytes: tuple[Annotated[int, Field(ge=1)], ...]
    sram: tuple[Cost, ...]
    dram: Cost
    sums_per_operation: Annotated[float, Field(ge=0, le=2)]

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if len(self.sram_bytes) != len(self.sram):
            raise ValueError(
                f"sram_bytes has {len(self.sram_bytes)} sizes and sram {len(self.sram)} costs; "
                "give one for each"
            )
        if list(self.sram_bytes) != sorted(set(self.sram_bytes)):
            raise ValueError(f"sram_bytes must rise, got {list(self.sram_bytes)}")
        return self

    def level(self, size: float) -> str:
        """The name of the smallest memory that holds so many bytes."""
        fits = (most for most in self.sram_bytes if size <= most)
        return f"SRAM {_said(most)}" if (most := next(fits, None)) else "DRAM"

    def per_bit(self, size: float) -> float:
        """Cost of a bit [pJ] in an array of so many bytes."""
        costs = zip(self.sram_bytes, self.sram, strict=True)
        cost = next((cost for most, cost in costs if size <= most), self.dram)
        return cost / self.access_bits


class Constants(Table):
    """A machine: arithmetic in two precisions, and its memories."""

    name: str
    source: str
    float32: Arithmetic
    int8: Arithmetic
    memory: Memory

    def arithmetic(self, precision: Precision) -> Arithmetic:
        """That of a precision."""
        return self.float32 if precision == "float32" else self.int8

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return self.model_dump(mode="json")


def read_constants(path: Path | None = None) -> Constants:
    """The constants in a TOML file; without one, those of Horowitz (2014) for 45 nm.

    A file replaces all of them: numbers of two machines do not mix.

    Raises:
        ValueError: the file cannot be read, a key is missing or unknown, or a number out of range.
    """
    path = path or DEFAULT
    try:
        tree = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"constants {path} cannot be read: {why}") from error
    try:
        return Constants.model_validate(tree)
    except ValidationError as error:
        raise ValueError(f"constants {path}: {_problem(error, tree)}") from error


def _problem(error: ValidationError, tree: dict[str, Any]) -> str:
    first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    *tables, key = map(str, first["loc"]) if first["loc"] else ("",)
    where = ".".join([*tables, key])
    if first["type"] == "extra_forbidden":
        kinds: dict[str, type[Table]] = {
            "float32": Arithmetic, "int8": Arithmetic, "memory": Memory
        }  # fmt: skip
        known = (kinds[tables[0]] if tables else Constants).model_fields
        return unknown("key", where, [".".join([*tables, name]) for name in known])
    if first["type"] == "missing":
        return f"{where} is missing; copy {DEFAULT.name} of this package and change its numbers"
    if first["type"] == "value_error":
        return f"{where}: {first['ctx']['error']}"
    return f"{where} = {first['input']!r}: {first['msg']}"


def _said(size: int) -> str:
    for unit, name in ((2**20, "MB"), (2**10, "KB")):
        if size >= unit:
            return f"{size / unit:g} {name}"
    return f"{size} B"


__all__ = ["DEFAULT", "Arithmetic", "Constants", "Memory", "Precision", "read_constants"]
