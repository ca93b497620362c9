"""What becomes of every primitive of NIR here, in both directions; nothing is left out silently."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Primitive:
    """A node type of NIR: what it is read as, what is written as it, and why not.

    ``why`` is the reason where ``read`` or ``written`` is empty.
    """

    read: str
    written: str
    why: str = ""


PRIMITIVES: dict[str, Primitive] = {
    "Input": Primitive("the input of the graph", "the input of the graph"),
    "Output": Primitive("the output of the graph", "the output of the graph"),
    "NIRGraph": Primitive(
        "its nodes, those of graphs within it too: one input and one output each", "the whole graph"
    ),
    "Affine": Primitive("Linear with bias", "Linear with bias"),
    "Linear": Primitive("Linear", "Linear without bias"),
    "Scale": Primitive("Scale", "Scale without shift"),
    "Conv1d": Primitive("Conv1d", "Conv1d"),
    "Conv2d": Primitive("Conv2d", "Conv2d"),
    "AvgPool2d": Primitive("AvgPool2d", "AvgPool2d"),
    "SumPool2d": Primitive("AvgPool2d with divisor 1", "max-pooling of spikes; AvgPool2d / 1"),
    "Flatten": Primitive("Flatten", "Flatten"),
    "Delay": Primitive("Delay by whole steps of dt", "Delay"),
    "Threshold": Primitive("Heaviside", "Heaviside; max-pooling of spikes"),
    "I": Primitive("LI that forgets nothing", "LI that forgets nothing"),
    "LI": Primitive("LI", "LI"),
    "IF": Primitive("IF", "IF"),
    "LIF": Primitive("LIF", "LIF, parametric LIF, LTMD, recurrent LIF"),
    "CubaLI": Primitive("two LI in a row", "", "it is written as the two LI that it is read as"),
    "CubaLIF": Primitive("CubaLIF; of others LI and LIF in a row", "CubaLIF"),
    "Identity": Primitive("nothing: values pass", "", "nir itself cannot store it"),
}
