"""Callbacks with a teacher: a second network, frozen, that sees what the model sees."""

import fnmatch
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from spikeloom.callbacks.base import Callback, Term
from spikeloom.callbacks.potentials import Seen, potentials
from spikeloom.layers import Neuron, is_constant
from spikeloom.learning.base import Batch
from spikeloom.registry import Unsupported

Pairs = Sequence[tuple[str, str]]


class Taught(Callback):
    """What callbacks with a teacher have in common; ``name`` is for what they say.

    Args:
        weight: of its term, > 0.
        steps: of the teacher, where they are others than the model's; None for as many.
        teacher: handed over by the run.
    """

    name: ClassVar[str]

    def __init__(self, weight: float, steps: int | None, teacher: nn.Module | None) -> None:
        if not weight > 0 or (steps is not None and steps < 1):
            raise ValueError(
                f"{self.name} needs weight > 0 and steps >= 1, got weight = {weight}, "
                f"steps = {steps}"
            )
        self.weight, self.steps = weight, steps
        self._teacher = teacher

    @property
    def teacher(self) -> nn.Module:
        """The other network.

        Raises:
            Unsupported: there is none.
        """
        if self._teacher is None:
            raise Unsupported(
                f"{self.name} needs a teacher, and there is none; add a table [teacher] with "
                'run = "FOLDER" (a finished run) or recipe = "NAME" (to be trained first)'
            )
        return self._teacher

    def apply(self, model: nn.Module) -> None:
        weight = next(model.parameters())
        self.teacher.eval().requires_grad_(False).to(weight.device, weight.dtype)

    @torch.no_grad()
    def answer(self, x_seq: Tensor) -> Tensor:
        """The teacher's logits [T', N, K]."""
        logits_seq: Tensor = self.teacher(self._own_steps(x_seq))
        return logits_seq

    def _own_steps(self, x_seq: Tensor) -> Tensor:
        if self.steps is None or self.steps == len(x_seq):
            return x_seq
        if not is_constant(x_seq) and not bool((x_seq == x_seq[:1]).all()):
            raise Unsupported(
                f"{self.name} has steps = {self.steps} for the teacher, and a sequence of "
                f'{len(x_seq)} different steps; use encoder = "constant", or leave steps out'
            )
        return x_seq[:1].expand(self.steps, *x_seq.shape[1:])


class TaughtLayers(Taught, ABC):
    """A term that sums how far layers of neurons are from layers of the teacher.

    Args:
        weight: of the sum.
        pairs: names, or patterns as in a shell that match one layer each, of the model and of the
            teacher; None for the last neurons of every stage.
        steps: of the teacher.
        teacher: handed over by the run.
    """

    def __init__(
        self,
        *,
        weight: float = 1.0,
        pairs: Pairs | None = None,
        steps: int | None = None,
        teacher: nn.Module | None = None,
    ) -> None:
        super().__init__(weight, steps, teacher)
        if pairs is not None and not pairs:
            raise ValueError(
                f"{self.name} needs at least one pair of layers; leave pairs out for stages"
            )
        self.pairs = pairs

    @abstractmethod
    def apart(self, own: Seen, other: Seen) -> Tensor:
        """How far a layer is from its partner in the teacher."""

    def apply(self, model: nn.Module) -> None:
        super().apply(model)
        self.paired(model)

    def paired(self, model: nn.Module) -> list[tuple[str, str]]:
        """Names of layers of the model, each with that of its partner in the teacher.

        Raises:
            Unsupported: no such layers, or networks of different numbers of stages.
        """
        if self.pairs is not None:
            own, others = _neurons(model), _neurons(self.teacher)
            return [
                (self._one(a, own, "model"), self._one(b, others, "teacher")) for a, b in self.pairs
            ]
        ours, theirs = last_of_stages(model), last_of_stages(self.teacher)
        if not ours or len(ours) != len(theirs):
            raise Unsupported(
                f"{self.name} pairs the last neurons of stages, and the model has {len(ours)} "
                f"stages with neurons, the teacher {len(theirs)}; name pairs of layers, as in "
                'pairs = [["features.2", "stages.0.2.after"]]'
            )
        return list(zip(ours, theirs, strict=True))

    def _one(self, wanted: str, names: Sequence[str], whose: str) -> str:
        found = fnmatch.filter(names, wanted)
        if len(found) != 1:
            raise Unsupported(
                f"{self.name}: {wanted!r} matches {len(found)} layers of neurons of the {whose}, "
                f"expected one of {', '.join(names) or 'none at all'}"
            )
        return found[0]

    @contextmanager
    def term(self, model: nn.Module) -> Iterator[Term]:
        pairs = self.paired(model)
        names, partners = zip(*pairs, strict=True)
        with potentials(model, names) as seen:

            def value(batch: Batch, _: Tensor) -> Tensor | None:
                ours = whole(seen())
                if not ours:  # a loss that is asked for again without another pass
                    return None
                theirs = self.layers_of_teacher(batch.x_seq, partners)
                found = [self.apart(ours[a], theirs[b]) for a, b in pairs]
                return self.weight * torch.stack(found).sum()

            yield value

    def layers_of_teacher(self, x_seq: Tensor, names: Collection[str]) -> dict[str, Seen]:
        """Spikes and potentials of layers of the teacher by name."""
        with potentials(self.teacher, names) as seen:
            self.answer(x_seq)
            return whole(seen())


def whole(seen: Sequence[Seen]) -> dict[str, Seen]:
    """What was recorded of every layer, in one piece where it came in several."""
    pieces: defaultdict[str, list[Seen]] = defaultdict(list)
    for layer in seen:
        pieces[layer.name].append(layer)
    return {name: _joined(parts) for name, parts in pieces.items()}


def last_of_stages(model: nn.Module) -> list[str]:
    """Names of the last neurons of every stage; of a model inside another one, too."""
    names = {module: name for name, module in model.named_modules()}
    staged: Any = next((m for m in model.modules() if hasattr(m, "stages")), None)
    rows = [] if staged is None else [_in(stage) for stage in staged.stages]
    return [names[row[-1]] for row in rows if row]


def _in(stage: nn.Module) -> list[nn.Module]:
    return [module for module in stage.modules() if isinstance(module, Neuron)]


def _neurons(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, Neuron)]


def _joined(parts: list[Seen]) -> Seen:
    if len(parts) == 1:
        return parts[0]
    return parts[0]._replace(
        spike_seq=torch.cat([part.spike_seq for part in parts]),
        h_seq=torch.cat([part.h_seq for part in parts]),
    )
