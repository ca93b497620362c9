"""Runs on spike trains small enough for tests."""

from typing import Any

from spikeloom.run.config import Config, validate

LIF: dict[str, Any] = {
    "name": "spiking_mlp", "hidden": [16], "neuron": {"name": "lif", "v_threshold": 0.5},
}  # fmt: skip
HETSYN: dict[str, Any] = {
    "name": "hetsyn_mlp", "hidden": [12], "recurrent": True, "tau": [2.0, 10.0],
    "draw": "uniform", "decision": "softmax", "skip": 2, "v_threshold": 0.5,
}  # fmt: skip


def trains(model: dict[str, Any], T: int = 20, **data: Any) -> Config:
    """A run on Randman with three classes of eight inputs."""
    return validate(
        {
            "model": {**model, "T": T, "encoder": "recorded"},
            "data": {
                "name": "randman", "classes": 3, "inputs": 8, "count": 60, "batch": 20, "val": 24,
                **data,
            },
            "phase": [{"optimizer": {"name": "adam", "lr": 0.01}, "epochs": 2}],
            "run": {"threads": 1},
        }
    )  # fmt: skip
