"""Where NaN or infinity came from."""

from typing import Any

import torch
from torch import Tensor, nn


def nonfinite_parameter(model: nn.Module) -> str | None:
    """The name of the first parameter that holds NaN or infinity, if any does."""
    every = model.named_parameters()
    return next((name for name, p in every if not p.isfinite().all()), None)


def first_nonfinite(model: nn.Module, x_seq: Tensor) -> str | None:
    """Which parameter or, in call order, which layer is the first to hold NaN or infinity."""
    if name := nonfinite_parameter(model):
        return f"parameter {name} already holds NaN or infinity"
    guilty: list[str] = []
    hooks = []
    for name, module in model.named_modules():
        if name and not list(module.children()):
            hooks.append(module.register_forward_hook(_judge(name, guilty)))
    try:
        with torch.no_grad():
            model(x_seq)
    finally:
        for hook in hooks:
            hook.remove()
    return f"layer {guilty[0]} is the first with NaN or infinity" if guilty else None


def _judge(name: str, guilty: list[str]) -> Any:
    def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        if not output.isfinite().all():
            guilty.append(name)

    return hook
