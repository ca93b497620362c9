"""What a classifier of first spikes sees of a sample: the protocol, and two that learn nothing."""

import hashlib
from math import prod
from pathlib import Path

import torch
from torch import Tensor, nn

from spikeloom.layers.extractors.store import FeatureStore, usual
from spikeloom.registry import register


class Extractor(nn.Module):
    """Turns samples into features in 0..1, which fire the earlier the larger they are.

    A subclass has ``features``, and leaves ``out_features``. One that learns has a learner of its
    own, which counts its updates in ``learnt`` and says ``learning`` while it goes on.

    Args:
        in_shape: of a sample.
        keep: keep what was computed on disk, once it has learnt: true, or the folder.
    Shape:
        x [N, *in_shape] -> [N, out_features]
    """

    out_features: int
    learnt: Tensor

    def __init__(self, in_shape: tuple[int, ...], keep: bool | str = False) -> None:
        super().__init__()
        self.in_shape, self.learning = tuple(in_shape), False
        self.keep = None if keep is False else usual() if keep is True else Path(keep).expanduser()
        self.register_buffer("learnt", torch.zeros((), dtype=torch.int64))
        self._store: tuple[tuple[int, ...], FeatureStore] | None = None

    def features(self, x: Tensor) -> Tensor:
        """Features computed anew.

        Shape:
            x [N, *in_shape] -> [N, out_features]
        """
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        if self.keep is None or self.learning or self.training or not self.learnt:
            return self.features(x)
        return self.store(self.keep).through(x, self.features)

    def store(self, base: Path) -> FeatureStore:
        """Where features by these very weights are."""
        values = self.state_dict()
        now = tuple(number for v in values.values() for number in (v.data_ptr(), v._version))
        if self._store is None or self._store[0] != now:
            found = hashlib.sha256(repr((type(self).__name__, self.in_shape, self)).encode())
            for name, value in sorted(values.items()):
                if value is not self.learnt and name != "learnt":
                    found.update(
                        name.encode() + value.detach().cpu().contiguous().numpy().tobytes()
                    )
            self._store = now, FeatureStore(base / found.hexdigest()[:16])
        return self._store[1]


@register("extractor", "intensities")
class Intensities(Extractor):
    """Values as they are, flattened.

    Args:
        in_shape: of a sample.
    Shape:
        x [N, *in_shape] -> [N, D]
    """

    def __init__(self, *, in_shape: tuple[int, ...]) -> None:
        super().__init__(in_shape)
        self.out_features = prod(in_shape)

    def features(self, x: Tensor) -> Tensor:
        return x.flatten(1).clamp(0, 1)


@register("extractor", "on_off")
class OnOff(Extractor):
    """Values x and 1 - x: what is dark is heard of, too.

    Args:
        in_shape: of a sample.
    Shape:
        x [N, *in_shape] -> [N, 2 D]
    """

    def __init__(self, *, in_shape: tuple[int, ...]) -> None:
        super().__init__(in_shape)
        self.out_features = 2 * prod(in_shape)

    def features(self, x: Tensor) -> Tensor:
        on = x.flatten(1).clamp(0, 1)
        return torch.cat((on, 1 - on), dim=1)
