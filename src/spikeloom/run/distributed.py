"""Several processes, started by ``torchrun``: who we are, and sums over all."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class Processes:
    """This process among its peers."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    def own(self, device: torch.device) -> torch.device:
        """This process's device: of several accelerators the one with its local rank."""
        if self.world == 1 or device.type == "cpu" or device.index is not None:
            return device
        return torch.device(device.type, self.local_rank)

    def sum(self, values: Tensor) -> Tensor:
        """Sum over all processes."""
        if self.world > 1:
            dist.all_reduce(values)
        return values

    def gather(self, value: Tensor) -> list[Tensor]:
        """The tensor of every process, by rank."""
        if self.world == 1:
            return [value]
        parts = [torch.empty_like(value) for _ in range(self.world)]
        dist.all_gather(parts, value)
        return parts

    def agree(self, value: str) -> str:
        """What the first process says."""
        if self.world == 1:
            return value
        said = [value]
        dist.broadcast_object_list(said)
        return said[0]

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.world > 1:
            dist.barrier()

    def reduce_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum every ``.grad`` over all processes; where only some have one, it counts as zero.

        A gradient that no process has stays missing, so that the optimizer passes it over. One
        transfer for all of them, so that learners that write ``.grad`` themselves need nothing of
        their own.
        """
        if self.world == 1:
            return
        trained = [p for p in parameters if p.requires_grad]
        there = torch.tensor([float(p.grad is not None) for p in trained])
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
        flat = torch.cat([*(part.flatten() for part in parts), there.to(parts[0])])
        dist.all_reduce(flat)
        *sums, there = flat.split([*(p.numel() for p in trained), len(trained)])
        for p, total, have in zip(trained, sums, there.tolist(), strict=True):
            p.grad = total.view_as(p).clone() if have else None


@contextmanager
def processes(device: torch.device) -> Iterator[Processes]:
    """Join the group that ``torchrun`` set up; alone without it."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Processes()
        return
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if device.type == "cuda":
        # Before anything else: NCCL, barriers included, talks over the current device.
        torch.cuda.set_device(local_rank if device.index is None else device.index)
    joined = not dist.is_initialized()
    if joined:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(dist.get_rank(), world, local_rank)
    finally:
        if joined:
            dist.destroy_process_group()
