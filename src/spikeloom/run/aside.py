"""Work aside: what must not touch the random numbers or the model of training."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def aside(device: torch.device) -> Iterator[None]:
    """Afterwards the global generators, of the CPU and of ``device``, are as they were before."""
    here, there = torch.get_rng_state(), _state_of(device)
    try:
        yield
    finally:
        torch.set_rng_state(here)
        if there is not None:
            torch.get_device_module(device).set_rng_state(there, *_which(device))


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Afterwards parameters, buffers and gradients of the model are what they were before."""
    values = [*model.parameters(), *model.buffers()]
    before = [value.detach().clone() for value in values]
    grads = {parameter: parameter.grad for parameter in model.parameters()}
    for parameter in grads:
        parameter.grad = None
    try:
        yield
    finally:
        with torch.no_grad():
            for value, old in zip(values, before, strict=True):
                value.copy_(old)
        for parameter, grad in grads.items():
            parameter.grad = grad


def reseed(seed: int, *purpose: str | int) -> None:
    """Start the global generators where seed and purpose say, and nothing else does."""
    words = "/".join(map(str, (seed, *purpose)))
    digest = hashlib.sha256(words.encode()).digest()
    torch.manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def _state_of(device: torch.device) -> Tensor | None:
    if device.type == "cpu":
        return None
    state: Tensor = torch.get_device_module(device).get_rng_state(*_which(device))
    return state


def _which(device: torch.device) -> tuple[torch.device, ...]:
    return () if device.type == "mps" else (device,)  # of which there is but one
