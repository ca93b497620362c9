"""A study: which arms are compared over which seeds, and how their learning rate is chosen."""

import tomllib
from collections.abc import Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from itertools import product
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, StrictInt, ValidationError

from spikeloom.registry import unknown
from spikeloom.run.config import Config, ConfigError, Strict, load, sentences
from spikeloom.run.record import check_name


class Arm(Strict):
    """One way to train: the study's recipe with some settings changed."""

    name: str
    recipe: str | None = Field(None, description="instead of the study's")
    set: tuple[str, ...] = Field((), description="overrides, as on the command line")


class Tune(Strict):
    """A setting that is chosen on validation, with the first seed."""

    key: str
    values: tuple[Any, ...] = Field(..., min_length=2)
    arms: Literal["baseline", "each"] = "baseline"


class Study(Strict):
    """What to compare. Arms are paired: a seed fixes data, order, weights and augmentation."""

    title: str = ""
    claim: str = ""
    recipe: str
    set: tuple[str, ...] = Field((), description="overrides of every arm")
    seeds: tuple[StrictInt, ...] = Field((0, 1, 2), min_length=1)
    baseline: str
    arm: tuple[Arm, ...] = Field(..., min_length=1)
    tune: Tune | None = None

    def config(self, arm: Arm, seed: int, value: Any = None) -> Config:
        """The configuration of one run; ``value`` is that of the tuned setting."""
        tuned = [f"{self.tune.key}={value}"] if self.tune and value is not None else []
        name = f'run.arm="{arm.name}"'
        recipe = arm.recipe or self.recipe
        return load(recipe, [*self.set, *arm.set, *tuned, name, f"run.seed={seed}"])

    def find(self, name: str) -> Arm:
        """The arm of that name."""
        return next(arm for arm in self.arm if arm.name == name)


def studies() -> dict[str, Traversable]:
    """The studies shipped with the package: name -> file."""
    root = resources.files("spikeloom") / "studies"
    files = sorted(root.iterdir(), key=lambda entry: entry.name)
    return {f.name.removesuffix(".toml"): f for f in files if f.name.endswith(".toml")}


def load_study(study: str, changes: Sequence[str] = ()) -> Study:
    """A shipped study (by name) or one from a TOML file (by path); ``changes`` go to every arm.

    Raises:
        ConfigError: unknown study, unreadable TOML, unknown key, wrong type, or an arm that names
            no recipe or no setting.
    """
    text, origin = _text(study)
    try:
        tree = tomllib.loads(text)
        tree["set"] = [*tree.get("set", ()), *changes]
        found = Study.model_validate(tree)
    except (tomllib.TOMLDecodeError, TypeError) as error:
        raise ConfigError(f"{origin} is not a study in valid TOML: {error}") from error
    except ValidationError as error:
        raise ConfigError(f"{origin}:\n  " + "\n  ".join(sentences(error))) from error
    _check(found, origin)
    return found


def _text(study: str) -> tuple[str, str]:
    if study.endswith(".toml"):
        try:
            return Path(study).read_text(encoding="utf-8"), study
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read the study file {study}: {error}") from error
    if study not in studies():
        raise ConfigError(unknown("study", study, studies()) + " Or give a path ending in .toml.")
    return studies()[study].read_text(encoding="utf-8"), f"study {study}"


def _check(study: Study, origin: str) -> None:
    """Refuse names that cannot be folders, repeats, and arms that cannot be configured."""
    names = [arm.name for arm in study.arm]
    if len({name.casefold() for name in names}) < len(names):
        raise ConfigError(f"{origin}: two arms have one name among {', '.join(names)}")
    if len(set(study.seeds)) < len(study.seeds):
        raise ConfigError(f"{origin}: a seed is given twice in {list(study.seeds)}")
    if study.baseline not in names:
        raise ConfigError(f"{origin}: {unknown('baseline arm', study.baseline, names)}")
    values = study.tune.values if study.tune else (None,)
    for arm, value in product(study.arm, values):
        check_name(arm.name, f"{origin}: arm")
        config = study.config(arm, study.seeds[0], value)
        if study.tune and not config.data.val:
            raise ConfigError(f"{origin}: {study.tune.key} is chosen on validation; set data.val")


__all__ = ["Arm", "Study", "Tune", "load_study", "studies"]
