"""What the header of a packed file says about a network: the program without its tensors.

Tensors are named by where they belong; ``docs/packed.md`` describes the file.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr

Count = Annotated[int, Field(strict=True, ge=0, lt=2**31)]
Size = Annotated[int, Field(strict=True, ge=1, lt=2**31)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Pair = tuple[Size, Size]
Shape = tuple[Size, Size, Size]

# Arguments of the poolings of real values that a file may hold.
POOLS: dict[str, tuple[str, ...]] = {
    "MaxPool2d": ("kernel_size", "stride", "padding", "dilation", "ceil_mode"),
    "AvgPool2d": (
        "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override",
    ),
    "AdaptiveAvgPool2d": ("output_size",),
}  # fmt: skip


class Form(BaseModel):
    """Refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class WindowForm(Form):
    """Where a convolution or pooling looks."""

    kernel: Pair
    stride: Pair
    padding: tuple[Count, Count]
    dilation: Pair


class CodedForm(Form):
    """Weights of one bit and less; ``codewords`` of length ``row`` where there is a codebook."""

    codewords: Annotated[int, Field(strict=True, ge=1, le=512)] | None = None
    row: Annotated[int, Field(strict=True, ge=1, le=9)] | None = None


class TermForm(Form):
    """A part of a sum; ``sizes`` are those of its weights, if it has any."""

    source: Count
    sizes: tuple[Size, Size, Size, Size] | None
    window: WindowForm
    coded: CodedForm | None
    dense: StrictBool
    density: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]


class TensorForm(Form):
    """A tensor among a neuron's values."""

    tensor: StrictStr


class DecayForm(Form):
    """A decay among a neuron's values."""

    keep: StrictFloat | TensorForm
    decay_input: StrictBool


class NeuronsForm(Form):
    """A neuron's function and its arguments."""

    kind: StrictStr
    name: StrictStr
    arguments: dict[str, StrictBool | StrictInt | Number | StrictStr | DecayForm | TensorForm]


class SumForm(Form):
    """neuron(bias + terms)."""

    kind: Literal["sum"] = "sum"
    name: StrictStr
    shape: Shape
    terms: Annotated[tuple[TermForm, ...], Field(min_length=1)]
    neurons: NeuronsForm | None


class CountForm(Form):
    """Scale times what sources have in a window."""

    kind: Literal["count"] = "count"
    name: StrictStr
    shape: Shape
    sources: Annotated[tuple[Count, ...], Field(min_length=1)]
    window: WindowForm
    scale: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]


class AnySpikeForm(Form):
    """Whether there is a spike in a window."""

    kind: Literal["any"] = "any"
    name: StrictStr
    shape: Shape
    source: Count
    window: WindowForm


class PoolForm(Form):
    """A pooling of real values, as torch does it."""

    kind: Literal["pool"] = "pool"
    name: StrictStr
    shape: Shape
    source: Count
    layer: Literal["MaxPool2d", "AvgPool2d", "AdaptiveAvgPool2d"]
    arguments: dict[str, StrictBool | Count | tuple[Count | None, ...] | None]


NodeForm = Annotated[SumForm | CountForm | AnySpikeForm | PoolForm, Field(discriminator="kind")]


class ProgramForm(Form):
    """A program."""

    in_shape: Annotated[tuple[Size, ...], Field(min_length=1, max_length=8)]
    flat: StrictBool
    steps: Size | None
    nodes: Annotated[tuple[NodeForm, ...], Field(min_length=1)]


About = dict[str, Any]
