"""Packed files of runs: written with what a test needs, and tested without the run."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor, nn

from spikeloom import __version__
from spikeloom.data import Augment, split
from spikeloom.deploy import Packed, bytes_of, infer, read_packed, write_packed
from spikeloom.run.build import bind, build
from spikeloom.run.config import Config, ConfigError, validate
from spikeloom.run.distributed import Processes
from spikeloom.run.evaluate import evaluate
from spikeloom.run.loop import Silent, Training
from spikeloom.run.record import stored_config
from spikeloom.run.task import Task, device_of, needs_classes, prepare, read


class Origin(BaseModel):
    """What a packed file of a run says beside its network.

    Args:
        spikeloom: version that wrote it.
        config: of the run, without where its data lay and what taught it.
        weights: ``last`` or ``best``.
        class_names: of the outputs.
        mean, std: that pixels in 0..1 are normalised by, where the encoder is ``constant``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    spikeloom: str
    config: dict[str, Any]
    weights: str
    class_names: list[str]
    mean: list[float]
    std: list[float]


def pack(task: Task, model: nn.Module, weights: str, sample: Tensor, path: Path) -> dict[str, Any]:
    """Write a run's network as a packed file, read it back and compare the answers on a sample.

    Returns:
        ``path``, ``bytes`` of the file; ``float32`` and ``int8``, bytes of the same weights so;
        ``coded`` weights and other ``floats``; ``agreeing`` predictions of those ``compared`` and
        the ``largest_error`` of a logit.
    Raises:
        Unsupported: a layer has no packed form; says which and why.
        ConfigError: the data are numbers.
    """
    needs_classes(task, "a packed file")
    config, source = task.config, task.source
    tree = config.model_dump(mode="json", exclude_none=True, exclude={"teacher": True})
    tree["data"].pop("root", None)
    tree["model"] = {key: value for key, value in tree["model"].items() if not _is_path(value)}
    about = Origin(
        spikeloom=__version__, config=tree, weights=weights, class_names=list(source.class_names),
        mean=list(source.mean), std=list(source.std),
    )  # fmt: skip
    net = infer(model, sample, steps=config.model.T)
    size = write_packed(net, path, about.model_dump())
    again, _ = read_packed(path)
    both = Beside(again, model.eval())
    both(sample)
    other = bytes_of(again.program)
    return {
        "path": str(path), "bytes": size, "float32": other.float32, "int8": other.int8,
        "coded": other.coded, "floats": other.floats, **both.found(),
    }  # fmt: skip


def score_packed(
    path: Path, *, root: Path | None = None, against: Path | None = None
) -> dict[str, Any]:
    """Evaluate a packed file on the test set of its run's data.

    Args:
        path: the file.
        root: where the data sets are.
        against: folder of a run, to count the test images that its network answers alike.
    Raises:
        DamagedFileError: the file is cut off, altered or of another version.
        ConfigError: it was written by hand and names no data, or the data is other data; the run
            to compare with gets other inputs.
    """
    packed, about = read_packed(path)
    origin = _origin(about, path)
    config = validate(origin.config, str(path))
    task = _testing(config, packed, root)
    named = {
        "class_names": list(task.source.class_names), "mean": list(task.source.mean),
        "std": list(task.source.std),
    }  # fmt: skip
    for key, found in named.items():
        if getattr(origin, key) != found:
            raise ConfigError(
                f"{path} is for data with {key} = {getattr(origin, key)}, and the data read has "
                f"{found}; check --data-root"
            )
    loss = build(config.phase[-1].loss, "loss")
    if against is None:
        scores = evaluate(task, packed, loss, "test")
        return {"weights": origin.weights, "bytes": path.stat().st_size, **scores}
    both = Beside(packed, _network(against, origin.weights, root, task))
    scores = evaluate(task, both, loss, "test")
    return {"weights": origin.weights, "bytes": path.stat().st_size, **scores, **both.found()}


class Beside(nn.Module):
    """Answers as a packed network does, and counts where another one predicts the same."""

    def __init__(self, packed: Packed, other: nn.Module) -> None:
        super().__init__()
        self.packed, self.other = packed, other
        self.agreeing = self.count = 0
        self.largest_error = 0.0

    def forward(self, x_seq: Tensor) -> Tensor:
        answers: Tensor = self.packed(x_seq)
        others = self.other(x_seq).detach().float()
        same = answers.mean(0).argmax(-1) == others.mean(0).argmax(-1)
        self.agreeing, self.count = self.agreeing + int(same.sum()), self.count + len(same)
        error = float((answers - others).abs().max())
        self.largest_error = max(self.largest_error, error)
        return answers

    def found(self) -> dict[str, Any]:
        """What was counted."""
        return {
            "agreeing": self.agreeing,
            "compared": self.count,
            "largest_error": self.largest_error,
        }


def _is_path(value: Any) -> bool:
    """Whether a value says where something lies on this machine, as an imported network's file."""
    return isinstance(value, str) and Path(value).is_absolute()


def _origin(about: dict[str, Any], path: Path) -> Origin:
    try:
        return Origin.model_validate(about)
    except ValidationError as error:
        raise ConfigError(
            f"{path} does not say which run it is of, so there is no test set to score it on; "
            "run it from Python with spikeloom.deploy.read_packed"
        ) from error


def _testing(config: Config, packed: Packed, root: Path | None) -> Task:
    """Data and inputs as in the run, around the packed network; no other is built."""
    source, data = read(config, root), config.data
    try:
        splits = split(
            source, val=data.val, val_from=data.val_from, train=data.train, test=data.test,
            seed=config.run.seed,
        )  # fmt: skip
    except ValueError as error:
        raise ConfigError(str(error)) from error
    encode = bind(config.model.encoder, "encoder")
    cpu = device_of("cpu")
    return Task(config, cpu, Processes(), source, splits, Augment([]), encode, packed)


def _network(folder: Path, weights: str, root: Path | None, packed: Task) -> nn.Module:
    """The network of a run with the inputs of a packed one, in evaluation mode on the CPU."""
    config = stored_config(folder)
    config = config.model_copy(update={"run": config.run.model_copy(update={"device": "cpu"})})
    task = prepare(config, Processes(), device_of("cpu"), root, folder)
    for (name, own), other in zip(_inputs(packed).items(), _inputs(task).values(), strict=True):
        if own != other:
            raise ConfigError(
                f"{folder} gets other inputs than the packed network: {name} = {other}, not {own}; "
                "compare with the run that was exported, or one with the same inputs"
            )
    return Training(task, folder, Silent()).weights(weights).eval()


def _inputs(task: Task) -> dict[str, Any]:
    """What decides what a network of the task gets and answers."""
    model, source = task.config.model, task.source
    return {
        "data": source.name, "sample shape": source.shape, "classes": source.class_names,
        "mean": source.mean, "std": source.std,
        "T": model.T, "encoder": model.encoder.model_dump(),
    }  # fmt: skip
