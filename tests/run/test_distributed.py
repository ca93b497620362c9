"""How processes join their group; what they compute together is in test_processes."""

import pytest
import torch
import torch.distributed as dist

from spikeloom.run.distributed import Processes, processes


@pytest.mark.parametrize(("device", "own"), [("cuda", 3), ("cuda:1", 1)])
def test_each_process_takes_its_gpu_before_it_joins(
    device: str, own: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, object]] = []
    for name, value in (("WORLD_SIZE", "8"), ("RANK", "3"), ("LOCAL_RANK", "3")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: done.append(("device", device)))
    monkeypatch.setattr(dist, "init_process_group", lambda kind: done.append(("group", kind)))
    monkeypatch.setattr(dist, "destroy_process_group", lambda: None)
    monkeypatch.setattr(dist, "get_rank", lambda: 3)
    with processes(torch.device(device)) as procs:
        assert (procs.rank, procs.world, procs.local_rank) == (3, 8, 3)
    assert done == [("device", own), ("group", "nccl")]


def test_a_gradient_that_no_process_has_stays_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, theirs, nobodys = (torch.nn.Parameter(torch.ones(2)) for _ in range(3))
    mine.grad = torch.tensor([1.0, 2.0])
    peer = torch.tensor([0.0, 0, 3, 4, 0, 0, 0, 1, 0])  # gradients, and which there are
    monkeypatch.setattr(dist, "all_reduce", lambda flat: flat.add_(peer))
    Processes(world=2).reduce_gradients([mine, theirs, nobodys])
    assert mine.grad.tolist() == [1, 2]
    assert theirs.grad is not None
    assert theirs.grad.tolist() == [3, 4]
    assert nobodys.grad is None
