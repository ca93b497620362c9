"""Networks of SpikingJelly and snnTorch as Spikeloom layers, known by class names and attributes.

Those packages need not be installed; nothing of theirs is imported or run.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.functional import Value, factor
from spikeloom.layers import (
    IF,
    LIF,
    BatchNorm,
    Conv2d,
    CubaLIF,
    Dropout,
    Linear,
    MaxPool2d,
    OverTime,
    ParametricLIF,
    RecurrentLIF,
)
from spikeloom.registry import Unsupported

ROWS = ("Sequential", "SeqToANNContainer", "MultiStepContainer", "StepModeContainer")
Make = Callable[[Any, int | None], nn.Module]


def from_modules(tree: nn.Module) -> nn.Sequential:
    """A row of layers of SpikingJelly, snnTorch or torch as one of Spikeloom.

    Names of layers stay as they are. Surrogates are those of Spikeloom: spikes are the same,
    gradients are not.

    Args:
        tree: ``Sequential`` modules, one in another or not, of layers that are known.
    Returns:
        A module: x_seq [T, N, *] -> [T, N, *], in the mode of the tree.
    Raises:
        Unsupported: layers that do not convert, all of them, with the reasons.
    """
    wrong: list[str] = []
    row = _row(tree if type(tree).__name__ in ROWS else nn.Sequential(tree), "", wrong, [None])
    if wrong:
        raise Unsupported("these layers do not convert:\n  " + "\n  ".join(wrong))
    return row.train(tree.training)


def _row(
    tree: nn.Module, before: str, wrong: list[str], channels: list[int | None]
) -> nn.Sequential:
    row = nn.Sequential()
    for name, module in tree.named_children():
        path = f"{before}{name}"
        if type(module).__name__ in ROWS:
            row.add_module(name, _row(module, f"{path}.", wrong, channels))
            continue
        kind = type(module).__name__
        make = MAKERS.get(_origin(module), {}).get(kind) or STATELESS.get(kind)
        try:
            if make is None:
                raise Unsupported("no such layer here")
            row.add_module(name, make(module, channels[0]))
        except (Unsupported, ValueError) as error:
            wrong.append(f"{path} ({kind}): {error}")
        channels[0] = next(_outputs(module), channels[0])
    return row


def _origin(module: nn.Module) -> str:
    return type(module).__module__.partition(".")[0]


def _outputs(module: Any) -> Iterator[int]:
    """How many channels come out of a map."""
    for key in ("out_features", "out_channels"):
        if isinstance(getattr(module, key, None), int):
            yield getattr(module, key)


def _linear(old: Any, _: int | None) -> nn.Module:
    new = Linear(old.in_features, old.out_features, bias=old.bias is not None)
    return OverTime(_same(new, old))


def _conv(kind: type[Any]) -> Make:
    def make(old: Any, _: int | None) -> nn.Module:
        new = kind(
            old.in_channels, old.out_channels, old.kernel_size, old.stride, old.padding,
            old.dilation, old.groups, old.bias is not None, old.padding_mode,
        )  # fmt: skip
        return OverTime(_same(new, old))

    return make


def _norm(old: Any, _: int | None) -> nn.Module:
    if old.running_mean is None:
        raise Unsupported("it keeps no running averages")
    if old.momentum is None:
        raise Unsupported("momentum None: its running averages are plain means")
    new = BatchNorm(old.num_features, eps=old.eps, momentum=old.momentum)
    with torch.no_grad():
        for key in ("weight", "bias", "running_mean", "running_var"):
            value = getattr(old, key)
            if value is not None:
                getattr(new, key).copy_(value)
    return new


def _same(new: nn.Module, old: nn.Module) -> nn.Module:
    with torch.no_grad():
        for key, value in new.named_parameters():
            value.copy_(getattr(old, key))
    return new


def _pool(kind: type[nn.Module], *keys: str) -> Make:
    def make(old: Any, _: int | None) -> nn.Module:
        return OverTime(kind(**{key: getattr(old, key) for key in keys}))

    return make


def _reset(old: Any) -> dict[str, Any]:
    """SpikingJelly: no reset potential means that the threshold is subtracted."""
    if old.v_reset is None:
        return {"reset": "soft"}
    return {"reset": "hard", "v_reset": float(old.v_reset)}


def _firing(old: Any) -> dict[str, Any]:
    return {
        "v_threshold": float(old.v_threshold),
        "detach_reset": bool(old.detach_reset),
        **_reset(old),
    }


def _sj_if(old: Any, _: int | None) -> nn.Module:
    return IF(**_firing(old))


def _sj_lif(old: Any, _: int | None) -> nn.Module:
    return LIF(tau=float(old.tau), decay_input=bool(old.decay_input), **_firing(old))


def _sj_plif(old: Any, _: int | None) -> nn.Module:
    w = old.w.detach().reshape(())
    tau = float(1 + torch.exp(-w))
    new = ParametricLIF(tau=tau, decay_input=bool(old.decay_input), **_firing(old))
    with torch.no_grad():
        new.decay.keep.raw.copy_(-w)  # 1 / tau = sigmoid(w) = 1 - keep
    return new


def _sj_cuba(old: Any, _: int | None) -> nn.Module:
    if old.v_reset:
        raise Unsupported(f"v_reset = {old.v_reset} and a leak to 0; here both are one potential")
    synapse, decay = factor(float(old.c_decay)), factor(float(old.v_decay))
    return CubaLIF(synapse=synapse, decay=decay, **_firing(old))


def _snn_leaky(old: Any, channels: int | None) -> nn.Module:
    for key in ("inhibition", "state_quant"):
        if getattr(old, key, False):
            raise Unsupported(f"{key} has no counterpart")
    if float(torch.as_tensor(old.graded_spikes_factor).max()) != 1:
        raise Unsupported("graded spikes have no counterpart")
    decay = factor(_value(old.beta.clamp(0, 1)))
    threshold, how = _value(old.threshold), old.reset_mechanism
    if how == "subtract" and getattr(old, "reset_delay", True):
        return _late(decay, threshold, channels)
    reset: Any = {"subtract": "soft", "zero": "hard", "none": "none"}[how]
    return LIF(decay=decay, v_threshold=threshold, reset=reset, strict=True)


def _late(decay: Any, threshold: Value, channels: int | None) -> nn.Module:
    """The threshold is subtracted one step late, and so without the leak: an inhibition."""
    if channels is None:
        raise Unsupported(
            "reset by subtraction with reset_delay needs the number of channels, and no map comes "
            "before; put one there"
        )
    new = RecurrentLIF((channels,), decay=decay, v_threshold=threshold, reset="none", strict=True)
    new.weight.data = -torch.eye(channels) * threshold
    new.weight.requires_grad_(False)
    return new


def _value(value: Any) -> Value:
    tensor = torch.as_tensor(value).detach()
    return float(tensor) if tensor.numel() == 1 else tensor.clone()


def _dropped(old: Any, _: int | None) -> nn.Module:
    """SpikingJelly's drops the same inputs at all steps, as ours; torch's draws anew."""
    p = float(old.p)
    return Dropout(p) if _origin(old) == "spikingjelly" else OverTime(nn.Dropout(p))


def _refused(reason: str) -> Make:
    def make(_old: Any, _: int | None) -> nn.Module:
        raise Unsupported(reason)

    return make


STATELESS: dict[str, Make] = {
    "Linear": _linear,
    "Conv1d": _conv(nn.Conv1d),
    "Conv2d": _conv(Conv2d),
    "BatchNorm1d": _norm,
    "BatchNorm2d": _norm,
    "AvgPool2d": _pool(
        nn.AvgPool2d, "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad",
        "divisor_override",
    ),
    "MaxPool2d": _pool(MaxPool2d, "kernel_size", "stride", "padding", "dilation", "ceil_mode"),
    "AdaptiveAvgPool2d": _pool(nn.AdaptiveAvgPool2d, "output_size"),
    "Flatten": _pool(nn.Flatten, "start_dim", "end_dim"),
    "Identity": lambda _old, _: nn.Identity(),
    "Dropout": _dropped,
}  # fmt: skip
MAKERS: dict[str, dict[str, Make]] = {
    "spikingjelly": {
        "IFNode": _sj_if,
        "LIFNode": _sj_lif,
        "ParametricLIFNode": _sj_plif,
        "CUBALIFNode": _sj_cuba,
        "ThresholdDependentBatchNorm1d": _norm,
        "ThresholdDependentBatchNorm2d": _norm,
        "TemporalEffectiveBatchNorm1d": _refused("its factors per step are stored in another way"),
        "TemporalEffectiveBatchNorm2d": _refused("its factors per step are stored in another way"),
    },
    "snntorch": {
        "Leaky": _snn_leaky,
        "Synaptic": _refused("its resets touch the synapse; export it as NIR and import that"),
        "RLeaky": _refused("no converter of recurrent neurons; export it as NIR and import that"),
        "Alpha": _refused("no neuron here has an alpha-shaped membrane"),
    },
}


def described(state: dict[str, Tensor]) -> list[tuple[str, str, dict[str, Tensor]]]:
    """The layers in a state dict of either library: prefix, kind, tensors."""
    groups: dict[str, dict[str, Tensor]] = {}
    for key, value in state.items():
        prefix, _, name = key.rpartition(".")
        groups.setdefault(prefix, {})[name] = value
    return [(prefix, _kind(prefix, group), group) for prefix, group in groups.items()]


def _kind(prefix: str, group: dict[str, Tensor]) -> str:
    if "running_mean" in group:
        return "norm"
    if "weight" in group:
        kinds = {1: "norm without running averages", 2: "linear", 3: "conv1d", 4: "conv2d"}
        return kinds.get(group["weight"].dim(), "map")
    if group.keys() == {"w"}:
        return "parametric LIF of SpikingJelly"
    if "beta" in group and "threshold" in group:
        return "neuron of snnTorch"
    raise Unsupported(f"{prefix}: {', '.join(group)} belong to no layer that is known here")
