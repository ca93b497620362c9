"""What a trained network does: scores, firing rates, and a sample to look at."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.layers import Neuron
from spikeloom.learning import Loss
from spikeloom.run.aside import aside, reseed
from spikeloom.run.task import Task

RATED = 256  # test samples that firing rates are measured on


def evaluate(task: Task, model: nn.Module, loss: Loss, part: str) -> dict[str, Any]:
    """Loss and score on ``val`` or ``test``, over all processes.

    What an encoder draws depends on ``run.seed``, the part and the place of the image alone: the
    same weights score the same each time, however many processes share the work, and the random
    numbers of training stay as they are.

    Returns:
        ``loss``, and what the data's measure knows of the mean output: of classes ``accuracy``,
        ``count``, ``accuracy_by_step`` (of the mean over the first steps) and ``confusion``
        [true][predicted].
    """
    found = task.measure(outputs=task.source.outputs, T=task.config.model.T)
    total = torch.zeros(1, dtype=torch.float64)
    order = task.order(part)
    model.eval()
    with torch.no_grad(), aside(task.device):
        for step, (x, y) in enumerate(task.load(part, order)):
            if not len(x):
                continue
            reseed(task.config.run.seed, part, step)
            batch = task.batch(x, y, training=False, whole=order.size(step))
            with task.autocast():
                logits_seq = model(batch.x_seq)
                total += float(loss(logits_seq, batch.y)) * len(y)
            found.add(logits_seq, batch.y)
    for numbers in (total, *found.sums.values()):
        numbers.copy_(task.procs.sum(numbers.to(task.device)))
    result = found.result()
    return {"loss": float(total) / max(result["count"], 1), **result}


@contextmanager
def watched(model: nn.Module) -> Iterator[dict[str, list[Tensor]]]:
    """Collect the spikes [T, N, *] every neuron layer emits inside the block, by layer name."""
    seen: dict[str, list[Tensor]] = {}
    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, Neuron):
            seen[name] = []
            hooks.append(module.register_forward_hook(_keep(seen[name])))
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _keep(into: list[Tensor]) -> Any:
    def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        into.append(output.detach())

    return hook


def evenly(at: Tensor, count: int) -> Tensor:
    """So many of the samples, spread over all of them: neighbours may be of a class, or a view.

    Shape:
        at [M] -> [min(M, count)]
    """
    count = min(len(at), count)
    return at[torch.arange(count) * len(at) // max(count, 1)]


def rated_images(task: Task) -> int:
    """How many test samples :func:`firing_rates` looks at."""
    return min(RATED, len(task.splits.test))


def firing_rates(task: Task, model: nn.Module) -> dict[str, float]:
    """Spikes per neuron and step of every neuron layer: means over some of the test samples.

    A batch at a time, so that it needs no more memory than training; of encoders that draw, the
    same draws each time.
    """
    model.eval()
    emitted: dict[str, float] = {}
    places: dict[str, int] = {}
    size = task.config.data.batch
    with torch.no_grad(), aside(task.device):
        for step, at in enumerate(evenly(task.splits.test, RATED).split(size)):
            x, y = task.source.test.__getitems__(at.tolist())
            reseed(task.config.run.seed, "rates", step)
            with task.autocast(), watched(model) as seen:
                model(task.batch(x, y, training=False).x_seq)
            for name, spikes in seen.items():
                for spike_seq in spikes:
                    emitted[name] = emitted.get(name, 0.0) + float(spike_seq.double().sum())
                    places[name] = places.get(name, 0) + spike_seq.numel()
    return {name: emitted[name] / places[name] for name in emitted}


def sample(
    task: Task, model: nn.Module, *, neurons: int = 64, traced: int = 6
) -> dict[str, Tensor]:
    """One test image and what every layer does with it.

    Returns:
        ``input`` [C, H, W] where it is an image; per layer ``spikes/<name>`` uint8 [T, n] and
        ``potential/<name>`` [T, k], the membrane before reset, of neurons spread evenly over it.
    """
    model.eval()
    x, y = task.source.test.__getitems__(task.splits.test[:1].tolist())
    out: dict[str, Tensor] = {}
    if x.dim() > 2:
        whole = x[:, None] if x.dim() == 4 else x
        shown = whole[0].float().sum(0)  # all steps of a sequence in one picture
        out["input"] = shown / (255 if x.dim() == 4 else max(1.0, float(shown.max())))
    currents: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_pre_hook(_remember(currents, name))
        for name, module in model.named_modules()
        if isinstance(module, Neuron)
    ]
    with torch.no_grad(), aside(task.device), task.autocast():
        reseed(task.config.run.seed, "sample")
        model(task.batch(x, y, training=False).x_seq)
        for hook in hooks:
            hook.remove()
        for name, x_seq in currents.items():
            neuron = model.get_submodule(name)
            assert isinstance(neuron, Neuron)
            trace = neuron.trace(x_seq)
            spikes, h = (part.flatten(1) for part in (trace.spike_seq, trace.h_seq))
            out[f"spikes/{name}"] = _spread(spikes, neurons).to(torch.uint8)
            out[f"potential/{name}"] = _spread(h, traced).float()
            threshold = torch.as_tensor(neuron.arguments()["v_threshold"])
            if threshold.numel() == 1:
                out[f"threshold/{name}"] = threshold.float().reshape(())
    return {key: value.cpu().contiguous() for key, value in out.items()}


def _remember(into: dict[str, Tensor], name: str) -> Any:
    def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        into[name] = inputs[0]

    return hook


def _spread(x: Tensor, most: int) -> Tensor:
    return x[:, torch.linspace(0, x.shape[1] - 1, min(most, x.shape[1])).long()]
