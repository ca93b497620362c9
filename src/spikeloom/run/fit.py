"""What a network makes of the function that it was fitted to, for the report to draw."""

import torch
from torch import Tensor, nn

from spikeloom.data import Plot
from spikeloom.layers import Grades
from spikeloom.run.aside import aside, reseed
from spikeloom.run.task import Task


def fit(task: Task, model: nn.Module) -> dict[str, Tensor]:
    """Predictions on the samples that the data set says are to be drawn; nothing if it says none.

    Returns:
        ``target`` and ``prediction/1``, ... one for each open grade, or the network's own alone: of
        a curve float [M, D] and ``along`` [M], of a picture uint8 [H, W, 3].
    """
    plot: Plot | None = task.source.plot
    if plot is None:
        return {}
    parts: list[list[Tensor]] = []
    model.eval()
    with torch.no_grad(), aside(task.device), task.autocast():
        pairs = zip(plot.samples.split(8192), plot.targets.split(8192), strict=True)
        for step, (x, y) in enumerate(pairs):
            reseed(task.config.run.seed, "fit", step)
            x_seq = task.batch(x, y, training=False).x_seq
            parts.append([answer.mean(0).float().cpu() for answer in _answers(model, x_seq)])
    drawn = {f"prediction/{at}": torch.cat(p) for at, p in enumerate(zip(*parts, strict=True), 1)}
    drawn["target"] = plot.targets.float()
    if plot.size is not None:
        H, W = plot.size
        return {
            name: value.clamp(0, 1).mul(255).round().to(torch.uint8).view(H, W, -1).contiguous()
            for name, value in drawn.items()
        }
    assert plot.along is not None
    return {**drawn, "along": plot.along.float()}


def _answers(model: nn.Module, x_seq: Tensor) -> list[Tensor]:
    if isinstance(model, Grades):
        return model.running(x_seq)[: model.count]
    return [model(x_seq)]
