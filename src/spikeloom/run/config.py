"""What to run: typed configuration, read from TOML recipes and ``key=value`` overrides."""

import json
import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    ValidationError,
    model_validator,
)

from spikeloom.kernels import Memory
from spikeloom.registry import unknown

RECORDED = "recorded"  # the encoder of data with steps of their own


class ConfigError(ValueError):
    """The configuration cannot be run; the message says what to mend."""


class Part(BaseModel):
    """A registered thing and the arguments to build it with: ``{ name = "lif", tau = 2.0 }``."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str

    @property
    def arguments(self) -> dict[str, Any]:
        """Everything but the name."""
        return dict(self.model_extra or {})


def _part(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


AnyPart = Annotated[Part, BeforeValidator(_part)]


class Strict(BaseModel):
    """Refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelConfig(Part):
    """The network; keys beyond these are arguments of its builder."""

    T: StrictInt = Field(4, ge=1, description="time steps")
    neuron: AnyPart = Part(name="lif")
    norm: AnyPart = Part(name="bn")
    weight: AnyPart | None = Field(None, description="transform of all weights")
    encoder: AnyPart = Part(name="constant")


class DataConfig(Part):
    """The data set and its splits; keys beyond these are arguments of its loader."""

    batch: StrictInt = Field(128, ge=1, description="samples per update, over all processes")
    val: StrictInt = Field(
        5000, ge=0, description="samples of the training set kept for validation"
    )
    val_from: Literal["last", "random"] = "last"
    train: StrictInt | None = Field(None, ge=1, description="use a seeded subset of this size")
    test: StrictInt | None = Field(None, ge=1, description="use the first so many test samples")
    passes: StrictInt = Field(1, ge=1, description="of the training set that make an epoch")
    augment: tuple[AnyPart, ...] = ()
    root: str | None = None
    workers: StrictInt = Field(0, ge=0)
    cache: StrictBool | str = Field(
        False, description="keep binned recordings on disk: true, or the folder"
    )


class Group(Strict):
    """Parameters that are trained otherwise than the rest."""

    match: tuple[str, ...] = Field(..., min_length=1, description="parameter name patterns")
    lr_scale: StrictFloat = Field(1.0, ge=0)
    weight_decay: StrictFloat | None = Field(None, ge=0)


class Phase(Strict):
    """One stretch of training with its own learner, loss, optimizer and schedule."""

    learner: AnyPart = Part(name="bptt")
    loss: AnyPart = Part(name="rate_ce")
    callback: tuple[AnyPart, ...] = Field((), description="what goes along with the learner")
    optimizer: AnyPart = Part.model_validate({"name": "sgd", "lr": 0.1, "momentum": 0.9})
    schedule: AnyPart = Part(name="cosine")
    epochs: StrictInt = Field(..., ge=1)
    times: StrictInt = Field(1, ge=1, description="so many phases like this, one after the other")
    if_better: StrictBool = Field(
        False, description="training ends before it if the phase before did not gain in validation"
    )
    patience: StrictInt | None = Field(
        None, ge=1, description="epochs without a better validation that end the phase"
    )
    accumulate: StrictInt = Field(1, ge=1, description="batches whose gradients make one update")
    clip_norm: StrictFloat | None = Field(None, gt=0)
    no_decay: tuple[str, ...] = Field((), description="parameter name patterns without decay")
    group: tuple[Group, ...] = ()
    ema: StrictFloat | None = Field(None, gt=0, lt=1, description="decay of the averaged weights")


class RunConfig(Strict):
    """How to run."""

    seed: StrictInt = Field(0, ge=0, lt=2**63)
    arm: str = Field("", description="what comparisons call runs like this one")
    device: str = "auto"
    precision: Literal["fp32", "bf16", "fp16", "fp64"] = "fp32"
    threads: StrictInt | None = Field(None, ge=1)
    memory: Memory = Field("auto", description="what is kept for the backward pass")
    select: Literal["last", "best"] = "last"
    twin: StrictBool = Field(False, description="also train the ReLU twin of the model")
    checkpoint_minutes: StrictFloat = Field(5.0, gt=0)
    tensorboard: StrictBool = False


class TeacherConfig(Strict):
    """A trained network: that of a finished run, or one trained first.

    Learners and callbacks may ask for it, and the model may start from its weights.
    """

    run: str | None = Field(None, description="folder of a finished run")
    recipe: str | None = Field(None, description="trained into FOLDER/teacher on the run's data")
    set: tuple[str, ...] = Field((), description="overrides of that recipe")
    start: StrictBool = Field(
        False, description="the model starts from its values where names and shapes agree"
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.run is None) == (self.recipe is None):
            raise ValueError(
                'give run = "FOLDER" of a finished run, or recipe = "NAME"; one of both'
            )
        if self.run is not None and self.set:
            raise ValueError("set changes a recipe; a finished run stays as it is")
        return self


class Config(Strict):
    """A whole run."""

    title: str = ""
    model: ModelConfig
    data: DataConfig
    phase: tuple[Phase, ...] = Field(..., min_length=1)
    teacher: TeacherConfig | None = None
    run: RunConfig = RunConfig()
    paper: dict[str, str | float] = {}


def recipes() -> dict[str, Traversable]:
    """The recipes shipped with the package: ``method/name`` -> file."""
    root = resources.files("spikeloom") / "recipes"
    return {
        f"{room.name}/{file.name.removesuffix('.toml')}": file
        for room in sorted(root.iterdir(), key=lambda entry: entry.name)
        if room.is_dir()
        for file in sorted(room.iterdir(), key=lambda entry: entry.name)
        if file.name.endswith(".toml")
    }


def load(recipe: str | Path, overrides: Sequence[str] = ()) -> Config:
    """The configuration of a shipped recipe (by name) or of a TOML file (by path).

    Args:
        recipe: ``digits_vgg``, ``bptt/digits_vgg`` or a path that ends in ``.toml``.
        overrides: ``key=value`` with dotted keys, as ``phase.0.epochs=3``; values are TOML, and
            bare words are text.

    Raises:
        ConfigError: unknown recipe, unreadable TOML, unknown key, wrong type or range.
    """
    text, origin = _text(str(recipe))
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{origin} is not valid TOML: {error}") from error
    return validate(with_overrides(tree, overrides), origin)


def with_overrides(tree: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """The tree, changed in place by ``key=value`` with dotted keys, as in :func:`load`.

    Raises:
        ConfigError: an override of another form, or of what is not there.
    """
    for override in overrides:
        _override(tree, override)
    return tree


def validate(tree: Mapping[str, Any], origin: str = "configuration") -> Config:
    """The typed configuration of a parsed TOML tree.

    Raises:
        ConfigError: lists every key that is unknown or has a wrong type or range.
    """
    for where, value in _numbers(tree):
        if not math.isfinite(value):
            raise ConfigError(f"{origin}:\n  {where} = {value}: expected a finite number")
    try:
        return _repeated(Config.model_validate(tree))
    except ValidationError as error:
        raise ConfigError(f"{origin}:\n  " + "\n  ".join(sentences(error, Config))) from error


def _repeated(config: Config) -> Config:
    """The same with phases of several ``times`` written out."""
    phases = [
        phase.model_copy(update={"times": 1}) for phase in config.phase for _ in range(phase.times)
    ]
    return config.model_copy(update={"phase": tuple(phases)})


def says(recipe: str, overrides: Sequence[str], key: str) -> bool:
    """Whether overrides give a key, or anything below it, a value, however they are written."""
    tree = tomllib.loads(_text(recipe)[0])
    silent: dict[str, Any] = {}
    with suppress(ConfigError):  # the recipe has no such place; overrides may make it
        _put(tree, key, silent, key)
    for override in overrides:
        _override(tree, override)
    found: Any = tree
    for name in key.strip().split("."):
        try:
            found = found[int(name)] if isinstance(found, list) else found[name]
        except (LookupError, ValueError, TypeError):
            return False
    return found is not silent or bool(silent)


def sentences(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """What is wrong with a table of that model, one sentence for each key."""
    problems = [dict(problem) for problem in error.errors()]
    # A list whose items are wrong is also called too short, which says nothing new.
    told = [p for p in problems if p["type"] != "too_short"] or problems
    return [_sentence(problem, model) for problem in told]


def full_name(recipe: str) -> str:
    """``method/name`` of a shipped recipe given in full or in short; the stem of a file's path.

    Raises:
        ConfigError: no such recipe, or several.
    """
    if recipe.endswith(".toml"):
        return Path(recipe).stem
    shipped = recipes()
    hits = [name for name in shipped if recipe in (name, name.partition("/")[2])]
    if len(hits) > 1:
        raise ConfigError(f"recipe {recipe!r} is ambiguous: {', '.join(hits)}")
    if not hits:
        short = {name.partition("/")[2] for name in shipped}
        raise ConfigError(unknown("recipe", recipe, short) + " Or give a path ending in .toml.")
    return hits[0]


def _text(recipe: str) -> tuple[str, str]:
    if not recipe.endswith(".toml"):
        name = full_name(recipe)
        return recipes()[name].read_text(encoding="utf-8"), f"recipe {name}"
    try:
        return Path(recipe).read_text(encoding="utf-8"), recipe
    except OSError as error:
        raise ConfigError(f"no recipe file {recipe} ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{recipe} is not a text file in UTF-8: {error}") from error


def _override(tree: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"override {override!r} is not of the form key=value")
    _put(tree, key, _value(value), override)


def _put(tree: dict[str, Any], key: str, value: Any, override: str) -> None:
    node: Any = tree
    *path, last = key.strip().split(".")
    try:
        for name in path:
            node = node[int(name)] if isinstance(node, list) else node.setdefault(name, {})
            if isinstance(node, str):
                raise ConfigError(
                    f"override {override!r}: {name!r} is a name, not a table; "
                    f'write it as {name}={{ name = "{node}", ... }}'
                )
        if isinstance(node, list):
            node[int(last)] = value
        else:
            node[last] = value
    except (IndexError, ValueError, TypeError, AttributeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"override {override!r}: there is no {key!r} to set") from error


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()


def _sentence(problem: dict[str, Any], model: type[BaseModel]) -> str:
    where = ".".join(str(step) for step in problem["loc"])
    if problem["type"] == "extra_forbidden":
        *path, last = problem["loc"]
        return f"{'.'.join(map(str, path)) or 'top level'}: " + unknown(
            "key", str(last), _table(model, path).model_fields
        )
    if problem["type"] == "tuple_type":
        given = problem["input"]
        shape = f"[[{where}]]" if isinstance(given, dict) else f"[{json.dumps(given, default=str)}]"
        return f"{where} = {given!r}: expected a list, as {shape}"
    if problem["type"] == "missing":
        table = where.removesuffix(".name")
        hint = f'; write {table} = {{ name = "...", ... }}' if table != where else ""
        return f"{where} is missing{hint}"
    return f"{where} = {problem['input']!r}: {problem['msg']}"


def _numbers(value: Any, where: str = "") -> Iterator[tuple[str, float]]:
    """Every fractional number in a tree, by its dotted key."""
    if isinstance(value, float):
        yield where, value
    pairs = enumerate(value) if isinstance(value, list) else ()
    for key, item in value.items() if isinstance(value, Mapping) else pairs:
        yield from _numbers(item, f"{where}.{key}".lstrip("."))


def _table(model: type[BaseModel], path: Sequence[str | int]) -> type[BaseModel]:
    """The model of the table at a path, as ``phase.0.group.1``."""
    for step in path:
        if isinstance(step, str) and step in model.model_fields:
            model = next(_models(model.model_fields[step].annotation), Part)
    return model


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that an annotation speaks of, as ``tuple[Arm, ...]`` does."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
