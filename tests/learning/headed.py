"""A learner that adds a head to train and takes it out again, as several methods do."""

import torch
from torch import Tensor, nn

from spikeloom.layers import Synapses
from spikeloom.learning import Batch, Loss, Metrics, Progress, of_batch


class Headed(nn.Module):
    """A model, a second head on its logits, and the number of steps trained so far."""

    steps: Tensor

    def __init__(self, model: nn.Module, classes: int) -> None:
        super().__init__()
        self.model, self.head = model, nn.Linear(classes, classes)
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, x_seq: Tensor) -> Tensor:
        logits_seq: Tensor = self.model(x_seq)
        return logits_seq


class HeadedLearner:
    """Descends the loss of the model and that of a head which only training knows."""

    def prepare(self, model: nn.Module) -> nn.Module:
        maps = (nn.Linear, Synapses)
        *_, last = (module for module in model.modules() if isinstance(module, maps))
        return Headed(model, len(last.weight))

    def step(self, model: nn.Module, batch: Batch, loss: Loss, progress: Progress) -> Metrics:
        assert isinstance(model, Headed)
        logits_seq = model(batch.x_seq)
        value = loss(logits_seq, batch.y)
        (value + 0.1 * loss(model.head(logits_seq), batch.y)).backward()
        model.steps += 1
        return Metrics(value.detach(), of_batch(logits_seq.detach(), batch.y))

    def finish(self, model: nn.Module) -> nn.Module:
        assert isinstance(model, Headed)
        return model.model
