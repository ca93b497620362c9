"""A study: which arms are compared over which seeds, and how their learning rate is chosen."""

import json
import tomllib
from collections.abc import Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from itertools import product
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, StrictInt, ValidationError

from spikeloom.registry import unknown
from spikeloom.run.config import Config, ConfigError, Strict, load, says, sentences
from spikeloom.run.record import check_name

RECORD, PAGE = "record", "compare.html"  # what a sweep leaves beside the folders of its arms


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
        own = [f'run.arm="{arm.name}"', f"run.seed={seed}"]
        return load(self.recipe_of(arm), [*self.set, *arm.set, *self.tuning(value), *own])

    def recipe_of(self, arm: Arm) -> str:
        """The recipe that an arm trains."""
        return arm.recipe or self.recipe

    def tuning(self, value: Any) -> list[str]:
        """The override that gives the tuned setting a value."""
        if not self.tune or value is None:
            return []
        return [f"{self.tune.key}={json.dumps(value, ensure_ascii=False)}"]

    @property
    def values(self) -> tuple[Any, ...]:
        """What the tuned setting may come to; None where nothing is tuned."""
        return self.tune.values if self.tune else (None,)

    @property
    def tuned(self) -> tuple[Arm, ...]:
        """The arms that the tuned setting is chosen for."""
        if not self.tune:
            return ()
        return self.arm if self.tune.arms == "each" else (self.find(self.baseline),)

    @property
    def runs(self) -> int:
        """How many runs a sweep makes: what is chosen was tried with the first seed."""
        return len(self.arm) * len(self.seeds) + len(self.tuned) * (len(self.values) - 1)

    def find(self, name: str) -> Arm:
        """The arm of that name."""
        return next(arm for arm in self.arm if arm.name == name)


def value_name(value: Any) -> str:
    """What the folder of a tuned value is called."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def studies() -> dict[str, Traversable]:
    """The studies shipped with the package: name -> file."""
    root = resources.files("spikeloom") / "studies"
    files = sorted(root.iterdir(), key=lambda entry: entry.name)
    return {f.name.removesuffix(".toml"): f for f in files if f.name.endswith(".toml")}


def load_study(study: str, changes: Sequence[str] = ()) -> Study:
    """A shipped study (by name) or one from a TOML file (by path); ``changes`` go to every arm.

    Raises:
        ConfigError: unknown study, unreadable TOML, unknown key, wrong type, an arm that names
            no recipe or no setting, or one that sets what the study decides.
    """
    text, origin = _text(study)
    try:
        tree = tomllib.loads(text)
        if isinstance(given := tree.get("set", []), list):  # what is no list is refused as such
            tree["set"] = [*given, *changes]
        found = Study.model_validate(tree)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{origin} is not a study in valid TOML: {error}") from error
    except ValidationError as error:
        raise ConfigError(f"{origin}:\n  " + "\n  ".join(sentences(error, Study))) from error
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
    for name in names:
        check_name(name, f"{origin}: arm")
        if name.casefold() in (RECORD, PAGE):
            raise ConfigError(f"{origin}: an arm cannot be called {name}: the sweep writes there")
    if len({name.casefold() for name in names}) < len(names):
        raise ConfigError(f"{origin}: two arms have one name among {', '.join(names)}")
    if len(set(study.seeds)) < len(study.seeds):
        raise ConfigError(f"{origin}: a seed is given twice in {list(study.seeds)}")
    if study.baseline not in names:
        raise ConfigError(f"{origin}: {unknown('baseline arm', study.baseline, names)}")
    if study.tune:
        _check_values(study.tune, origin)
    for arm, value, seed in product(study.arm, study.values, study.seeds):
        try:
            config = study.config(arm, seed, value)
        except ConfigError as error:
            raise ConfigError(f"{origin}: arm {arm.name!r}: {error}") from error
        if study.tune and not config.data.val:
            raise ConfigError(f"{origin}: {study.tune.key} is chosen on validation; set data.val")
    for arm in study.arm:
        _check_decided(study, arm, origin)


def _check_values(tune: Tune, origin: str) -> None:
    """Refuse values that are no plain ones, cannot name a folder, or come twice."""
    where = f"{origin}: tune.values"
    for value in tune.values:
        if not isinstance(value, bool | int | float | str):
            raise ConfigError(
                f"{where} holds {value!r}: expected numbers, words, true or false; "
                "what takes a table or a list is an arm of its own"
            )
        if isinstance(value, str):
            check_name(value, where)
    folders = {value_name(value).casefold() for value in tune.values}
    if min(len(folders), len(set(tune.values))) < len(tune.values):
        raise ConfigError(f"{where}: a value is given twice in {list(tune.values)}")


def _check_decided(study: Study, arm: Arm, origin: str) -> None:
    """Refuse settings of an arm that would be overridden by the study."""
    recipe, changes = study.recipe_of(arm), [*study.set, *arm.set]
    decided = {"run.seed": "is one of the study's seeds", "run.arm": "is the name of the arm"}
    for key, how in decided.items():
        if says(recipe, [*changes, *study.tuning(study.values[0])], key):
            raise ConfigError(
                f"{origin}: {key} of arm {arm.name!r} cannot be set or tuned: it {how}"
            )
    if study.tune and says(recipe, changes, study.tune.key):
        raise ConfigError(
            f"{origin}: {study.tune.key} is set for arm {arm.name!r}, and tuned; leave out one"
        )


__all__ = [
    "PAGE", "RECORD", "Arm", "Study", "Tune", "load_study", "studies", "value_name",
]  # fmt: skip
