"""Two processes on parts of a batch normalise like one process on all of it."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from spikeloom.layers import BatchNorm, StepBatchNorm, ThresholdBatchNorm
from spikeloom.layers.norms import _Sum

SPLITS = [(3, 3), (5, 1), (6, 0)]
NORMS = {
    "bn": lambda: BatchNorm(4),
    "tdbn": lambda: ThresholdBatchNorm(4, v_threshold=0.5),
    "bntt": lambda: StepBatchNorm(4, T=2),
}


def batch() -> tuple[Tensor, Tensor]:
    """Inputs and what multiplies the outputs in the loss, [T, N, C, H, W]."""
    torch.manual_seed(1)
    return 3 * torch.randn(2, 6, 4, 3, 5) + 2, torch.randn(2, 6, 4, 3, 5)


def outcome(norm: nn.Module, x_seq: Tensor, pull: Tensor) -> dict[str, Any]:
    with torch.no_grad():
        for i, parameter in enumerate(norm.parameters()):
            parameter.copy_(torch.linspace(0.5, 1.5, 4) + i)
    x = x_seq.clone().requires_grad_()
    y_seq = norm(x)
    (y_seq * pull).square().sum().backward()
    return {
        "y": y_seq.detach(),
        "x.grad": x.grad,
        "buffers": dict(norm.named_buffers()),
        "grads": {name: p.grad for name, p in norm.named_parameters()},
    }


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2,
        timeout=timedelta(seconds=60),
    )  # fmt: skip
    seen = {}
    for split in SPLITS:
        x_seq, pull = (whole.split(split, dim=1)[rank] for whole in batch())
        for name, make in NORMS.items():
            seen[name, split] = outcome(make(), x_seq, pull)
    x_seq, pull = (whole.split((3, 3), dim=1)[rank].bfloat16() for whole in batch())
    seen["half"] = outcome(BatchNorm(4), x_seq, pull)
    torch.save(seen, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[dict[Any, Any]]:
    folder = tmp_path_factory.mktemp("processes")
    mp.spawn(work, (str(folder),), nprocs=2)
    return [torch.load(Path(folder, f"{rank}.pt")) for rank in range(2)]


@pytest.mark.parametrize("split", SPLITS, ids=str)
@pytest.mark.parametrize("name", NORMS)
def test_parts_equal_the_whole(parts, name, split):
    whole = outcome(NORMS[name](), *batch())
    first, second = (part[name, split] for part in parts)
    for key in ("y", "x.grad"):
        together = torch.cat([first[key], second[key]], dim=1)
        torch.testing.assert_close(together, whole[key], rtol=1e-4, atol=1e-4)
    for name, value in whole["buffers"].items():
        torch.testing.assert_close(first["buffers"][name], value)
        assert torch.equal(first["buffers"][name], second["buffers"][name])
    for name, value in whole["grads"].items():
        summed = first["grads"][name] + second["grads"][name]
        torch.testing.assert_close(summed, value, rtol=1e-4, atol=1e-4)


def test_half_precision_equals_the_whole_within_its_rounding(parts):
    whole = outcome(BatchNorm(4), *(x.bfloat16() for x in batch()))
    first, second = (part["half"] for part in parts)
    together = torch.cat([first["y"], second["y"]], dim=1)
    assert together.dtype == torch.bfloat16
    torch.testing.assert_close(together, whole["y"], rtol=2e-2, atol=2e-2)
    for name, value in whole["buffers"].items():
        torch.testing.assert_close(first["buffers"][name], value, rtol=1e-4, atol=1e-5)


def test_the_sum_leaves_its_input_alone(monkeypatch):
    monkeypatch.setattr(dist, "all_reduce", lambda x: x.mul_(2))
    x = torch.ones(3, requires_grad=True)
    total = _Sum.apply(x)
    total.sum().backward()
    assert x.tolist() == [1.0] * 3
    assert total.tolist() == x.grad.tolist() == [2.0] * 3
