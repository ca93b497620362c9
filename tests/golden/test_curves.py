"""Tiny seeded runs against stored loss curves: a change of numerics must be noticed.

``python -m tests.golden.test_curves`` writes the file anew; the changelog then says which results
move.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from spikeloom.run import session
from tests.run.recipe import tiny

STORED = Path(__file__).with_name("curves.json")
RUNS: dict[str, dict[str, Any]] = {
    "lif_vgg": {},
    "plif_tdbn_tet": {"model__neuron": "plif", "model__norm": "tdbn", "phase__0__loss": "tet"},
    "alif_mlp_soft": {
        "model": {"name": "spiking_mlp", "T": 3, "neuron": {"name": "alif", "reset": "soft"}}
    },
    "membrane_resnet_augmented": {
        "model": {"name": "spiking_resnet20", "width": 0.25, "T": 2, "residual": "membrane"},
        "data__augment": ["crop", "flip"],
    },
}


class Losses:
    """Notes the loss of every update."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def update(self, progress: Any, loss: float) -> None:
        self.seen.append(loss)

    def epoch(self, line: dict[str, Any]) -> None:
        pass


def curve(name: str, folder: Path) -> list[float]:
    losses = Losses()
    config = tiny(data__batch=50, phase__0__epochs=1, **RUNS[name])
    session.train(config, folder, watch=lambda task: losses)
    return losses.seen


@pytest.mark.parametrize("name", RUNS)
def test_losses_are_the_stored_ones(name: str, tmp_path: Path) -> None:
    stored = json.loads(STORED.read_text(encoding="utf-8"))[name]
    # other processors sum in another order; a spike that flips for it moves the loss a little
    assert curve(name, tmp_path) == pytest.approx(stored, rel=1e-2)
    assert curve(name, tmp_path / "again")[0] == pytest.approx(stored[0], rel=1e-5)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        curves = {name: curve(name, Path(folder) / name) for name in RUNS}
    STORED.write_text(json.dumps(curves, indent=1) + "\n", encoding="utf-8")
