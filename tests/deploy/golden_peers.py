"""Spikes of neurons of other libraries; run it where these are installed to print them anew."""

import torch
from torch import Tensor

SJ = {"v_threshold": 1.0, "v_reset": 0.0, "detach_reset": False}
SNN = {"beta": 0.8, "threshold": 1.0, "graded_spikes_factor": 1.0}
CASES = {
    "if": ("spikingjelly", "IFNode", SJ),
    "if, soft": ("spikingjelly", "IFNode", {**SJ, "v_reset": None}),
    "lif": ("spikingjelly", "LIFNode", {**SJ, "tau": 2.0, "decay_input": True}),
    "lif, whole input": (
        "spikingjelly", "LIFNode", {**SJ, "tau": 3.0, "decay_input": False, "v_reset": -0.5}
    ),
    "plif": ("spikingjelly", "ParametricLIFNode", {**SJ, "w": -0.4, "decay_input": True}),
    "cuba": ("spikingjelly", "CUBALIFNode", {**SJ, "c_decay": 0.4, "v_decay": 0.6}),
    "leaky, zero": ("snntorch", "Leaky", {**SNN, "reset_mechanism": "zero"}),
    "leaky, subtract": ("snntorch", "Leaky", {**SNN, "reset_mechanism": "subtract"}),
    "leaky, none": ("snntorch", "Leaky", {**SNN, "reset_mechanism": "none"}),
}  # fmt: skip
GOLDEN = {
    "if": "011011011001101101100110",
    "if, soft": "011111111111111111111111",
    "lif": "000010010001001001000100",
    "lif, whole input": "010010011001001001100100",
    "plif": "000010010000001001000000",
    "cuba": "011011111101111111110111",
    "leaky, zero": "010011011001001101100100",
    "leaky, subtract": "010011111101111111110110",
    "leaky, none": "010111111111111111111111",
}


def currents() -> Tensor:
    """x_seq [12, 1, 2]."""
    steps = torch.arange(24, dtype=torch.float32).view(12, 1, 2)
    return (steps * 7 % 10) / 4


def spikes(case: str) -> str:
    """Of one neuron, by the library itself."""
    package, name, attributes = CASES[case]
    given = dict(attributes)
    if package == "spikingjelly":
        from spikingjelly.activation_based import neuron

        w = given.pop("w", None)
        if name == "CUBALIFNode":
            given.pop("detach_reset")
        node = getattr(neuron, name)(**given)
        if w is not None:
            node.w.data = torch.tensor(w)
        out = [node(x) for x in currents()]
    else:
        import snntorch

        given.pop("graded_spikes_factor")
        node = snntorch.Leaky(**given, init_hidden=True)
        out = [node(x) for x in currents()]
    return "".join(str(int(s)) for s in torch.stack(out).flatten())


if __name__ == "__main__":
    for case in CASES:
        print(f"    {case!r}: {spikes(case)!r},")
