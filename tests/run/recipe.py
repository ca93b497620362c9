"""A recipe small enough for tests, on digits that need no download."""

from typing import Any

from spikeloom.run.config import Config, validate


def tiny(**changes: Any) -> Config:
    """A two-epoch run; ``changes`` are dotted keys with ``__`` for the dot."""
    tree: dict[str, Any] = {
        "model": {"name": "spiking_vgg5", "width": 0.05, "T": 2},
        "data": {"name": "digits", "batch": 32, "val": 100, "train": 200, "test": 60},
        "phase": [{"optimizer": {"name": "adam", "lr": 0.003}, "epochs": 2}],
        "run": {"threads": 1},
    }
    for key, value in changes.items():
        node: Any = tree
        *path, last = key.split("__")
        for name in path:
            node = node[int(name)] if isinstance(node, list) else node.setdefault(name, {})
        node[last] = value
    return validate(tree)
