"""What the teacher of a run is: a finished run, or a recipe to be trained on the run's data."""

from pathlib import Path
from typing import Any

from spikeloom.run.config import Config, ConfigError, load, validate
from spikeloom.run.record import BEST, CONFIG, LAST, RESULT, stored_config

TEACHER = "teacher"  # folder inside that of the run
OWN = ("batch", "augment", "passes")  # of the data, what a teacher has for itself
SHARED = ("seed", "device", "threads")  # of running, what it has in common with the run


def teacher_config(config: Config, folder: Path | None = None) -> Config:
    """The configuration of a run's teacher.

    A recipe is trained on the run's data, splits and subset included, with its own batch,
    augmentation and passes, and with the seed of the run: runs that differ in other settings get
    the same teacher.

    Args:
        config: of the run, which has a teacher.
        folder: of the run; what its teacher was there made with counts.

    Raises:
        ConfigError: the recipe or run is not there, not finished, has a teacher of its own, or is
            of other data.
    """
    assert config.teacher
    if folder and (folder / TEACHER / CONFIG).is_file():
        return stored_config(folder / TEACHER)
    if config.teacher.run is not None:
        about = finished(Path(config.teacher.run))
        if about.data.name != config.data.name:
            raise ConfigError(
                f"the teacher {config.teacher.run} was trained on {about.data.name}, the run is on "
                f"{config.data.name}; take one of the same data"
            )
        return about
    assert config.teacher.recipe is not None
    about = load(config.teacher.recipe, config.teacher.set)
    if about.teacher:
        raise ConfigError(
            f"teacher.recipe = {config.teacher.recipe!r} has a teacher of its own; train it as a "
            'run, and say run = "FOLDER"'
        )
    tree, own = (each.model_dump(mode="json", exclude_none=True) for each in (config, about))
    data: dict[str, Any] = {**tree["data"], **{key: own["data"][key] for key in OWN}}
    shared = {key: tree["run"][key] for key in SHARED if key in tree["run"]}
    run = {**own["run"], **shared, "twin": False}
    return validate({**own, "data": data, "run": run}, f"teacher {config.teacher.recipe}")


def finished(folder: Path) -> Config:
    """The configuration of a finished run, or of an imported one, which has its best weights alone.

    Raises:
        ConfigError: it is no run folder, or not finished.
    """
    about = stored_config(folder)
    imported = (folder / BEST).is_file() and not (folder / LAST).exists()
    if not imported and not (folder / RESULT).is_file():
        raise ConfigError(f"the teacher {folder} is not finished: it has no {RESULT}; resume it")
    return about
