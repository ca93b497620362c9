"""The augmentation of a run, refused where the data are not what its steps change."""

from spikeloom.data import Augment, Source
from spikeloom.run.build import build
from spikeloom.run.config import RECORDED, Config, ConfigError


def augmentation(config: Config, source: Source) -> Augment:
    """The steps under ``data.augment``.

    Raises:
        ConfigError: a step is unknown or out of range; or it changes images, sequences or events,
            and the data are none.
    """
    if config.data.augment and len(source.shape) != 3:
        raise ConfigError(
            f"augmentation changes images, and {source.name} has samples of shape {source.shape}; "
            "take data.augment out"
        )
    steps = [build(part, "augment", num_classes=source.outputs) for part in config.data.augment]
    for part, step in zip(config.data.augment, steps, strict=True):
        if getattr(step, "in_time", False) and config.model.encoder.name != RECORDED:
            raise ConfigError(
                f"{part.name} changes recorded sequences in time, and the steps of this run come "
                f"from the encoder {config.model.encoder.name!r}; take it out of data.augment"
            )
        if getattr(step, "of_events", False) and not source.counts:
            raise ConfigError(
                f"{part.name} changes single events, and {source.name} holds other numbers than "
                "counts of events; take it out of data.augment"
            )
    return Augment(steps)


__all__ = ["augmentation"]
