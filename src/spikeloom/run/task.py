"""Everything a configuration stands for, built and checked before any work starts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from inspect import signature
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.data import (
    Augment,
    Images,
    Order,
    Source,
    Splits,
    batches,
    cached,
    normalise,
    split,
    unit,
)
from spikeloom.layers import transform_weights
from spikeloom.learning import Batch, of_batch
from spikeloom.registry import UnknownNameError, find
from spikeloom.run.aside import reseed
from spikeloom.run.augmentation import augmentation
from spikeloom.run.build import bind, build
from spikeloom.run.config import RECORDED, Config, ConfigError, ModelConfig
from spikeloom.run.distributed import Processes
from spikeloom.run.measures import Measure, measure
from spikeloom.run.start import shared
from spikeloom.run.teacher import teacher_config

CURRENTS = ("constant", RECORDED)  # encoders that take normalised values
STILL = ("intensity", "latency")  # those that make the same of an intensity each time
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}  # of the forward pass alone


@dataclass
class Task:
    """Data, model and how a batch becomes a sequence."""

    config: Config
    device: torch.device
    procs: Processes
    source: Source
    splits: Splits
    augment: Augment
    encode: Any
    model: nn.Module
    teacher: nn.Module | None = None

    @property
    def measure(self) -> type[Measure]:
        """What predictions are scored by."""
        return measure(self.source.measure)

    def order(self, part: str, *, epoch: int = 0, start: int = 0) -> Order:
        """The index lists of this process for one pass over ``train``, ``val`` or ``test``."""
        indices: Tensor = getattr(self.splits, part)
        rest = len(indices) % self.config.data.batch
        if part == "train" and rest < max(self.procs.world, 2) < len(indices):
            # too few to give every process an image, or a norm a variance
            indices = indices[: len(indices) - rest]
        return Order(
            indices, self.config.data.batch, seed=self.config.run.seed,
            epoch=epoch, shuffle=part == "train", start=start,
            passes=self.config.data.passes if part == "train" else 1,
            rank=self.procs.rank, world=self.procs.world,
            plan=self.source.plan if part == "train" else None,
        )  # fmt: skip

    def load(self, part: str, order: Order) -> Iterator[tuple[Tensor, Tensor]]:
        """Samples and targets in that order."""
        images: Images = self.source.test if part == "test" else self.source.train
        return iter(batches(images, order, workers=self.config.data.workers))

    def batch(self, x: Tensor, y: Tensor, *, training: bool, whole: int | None = None) -> Batch:
        """Samples to a sequence on the device: augmented if training, normalised, encoded.

        What comes with steps of its own, [B, T, C, H, W], is put in order by ``recorded``.

        Args:
            whole: samples of the global batch that x is this process's share of, if the encoder is
                to draw for x what it would draw in one process.
        """
        x, y = x.to(self.device, non_blocking=True), y.to(self.device, non_blocking=True)
        if training and len(x):
            x, y = self.augment(x if x.is_floating_point() else unit(x), y)
        if self.normalised:
            x = normalise(x, self.source.mean, self.source.std)
        else:
            x = x if x.is_floating_point() else unit(x)
        x, y = x.to(self.dtype), y.to(self.dtype) if y.is_floating_point() else y
        T, procs = self.config.model.T, self.procs
        if whole is None or procs.world == 1 or not self.draws:
            if x.dim() == 4:
                x = x.contiguous(memory_format=torch.channels_last)
            return Batch(self.encode(x, T), y)
        among = x.new_zeros(whole, *x.shape[1:]).contiguous(memory_format=torch.channels_last)
        among[procs.rank :: procs.world] = x
        return Batch(self.encode(among, T)[:, procs.rank :: procs.world], y)

    def probe(self, samples: int, *, epoch: int) -> Batch:
        """Training samples drawn for an epoch, without augmentation; the same in all processes.

        Starts the global random numbers anew.
        """
        reseed(self.config.run.seed, "probe", epoch)
        chosen = torch.randperm(len(self.splits.train))[:samples]
        x, y = self.source.train.__getitems__(self.splits.train[chosen].tolist())
        return self.batch(x, y, training=False)

    def of_steps(self, T: int) -> "Task":
        """The same with sequences of T steps."""
        model = self.config.model.model_copy(update={"T": T})
        return replace(self, config=self.config.model_copy(update={"model": model}))

    @property
    def normalised(self) -> bool:
        """Currents are normalised; encoders that need intensities get them in 0..1."""
        return self.config.model.encoder.name in CURRENTS and bool(self.source.mean)

    @property
    def draws(self) -> bool:
        """Whether the encoder may turn intensities into random events."""
        return self.config.model.encoder.name not in (*CURRENTS, *STILL)

    def autocast(self) -> torch.autocast:
        """The precision of the forward pass."""
        dtype = DTYPES.get(self.config.run.precision)
        return torch.autocast(self.device.type, dtype, enabled=dtype is not None)

    @property
    def dtype(self) -> torch.dtype:
        """Of weights and of what the network is fed with."""
        return dtype_of(self.config)


def prepare(
    config: Config,
    procs: Processes,
    device: torch.device,
    root: Path | None,
    folder: Path | None = None,
) -> Task:
    """Build all parts of a run; a teacher as yet without its weights.

    Args:
        config: what to run.
        procs: who takes part.
        device: what to compute on.
        root: where the data sets are.
        folder: of the run, if it may be there already: it knows what its teacher is.

    Raises:
        ConfigError: something is unknown, out of range, missing, or does not fit together.
    """
    data = config.data
    source = read(config, root)
    try:
        splits = split(
            source, val=data.val, val_from=data.val_from, train=data.train, test=data.test,
            seed=config.run.seed,
        )  # fmt: skip
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if config.run.select == "best" and data.val == 0:
        raise ConfigError(
            "run.select = 'best' needs a validation split to choose by: set data.val > 0, or "
            "run.select = 'last'"
        )
    augment = augmentation(config, source)
    if data.val == 0 and any(phase.patience for phase in config.phase):
        raise ConfigError(
            "patience needs a validation split to judge epochs by: set data.val > 0, or leave it "
            "out"
        )
    if data.val == 0 and any(phase.if_better for phase in config.phase):
        raise ConfigError(
            "if_better needs a validation split to judge a phase by: set data.val > 0, or leave it "
            "out"
        )
    if len(splits.train) < procs.world:
        raise ConfigError(
            f"{len(splits.train)} training samples cannot be shared by {procs.world} processes"
        )
    if data.batch % procs.world:
        raise ConfigError(
            f"data.batch = {data.batch} cannot be shared evenly by {procs.world} processes; "
            "use a multiple"
        )
    torch.manual_seed(config.run.seed)
    net = placed(
        network(config, source.shape, source.outputs, source.facts), device, dtype_of(config)
    )
    teacher = None
    if config.teacher:
        about = teacher_config(config, folder)
        teacher = network(about, source.shape, source.outputs, source.facts)
        teacher = placed(teacher, device, dtype_of(config))
        if config.teacher.start and not shared(net, teacher):
            raise ConfigError(
                f"teacher.start: {config.model.name} and its teacher {about.model.name} have no "
                "parameter of one name and shape; take a teacher of the same model and width"
            )
    task = Task(
        config, device, procs, source, splits, augment,
        bind(config.model.encoder, "encoder"), net, teacher,
    )  # fmt: skip
    _try(task)
    torch.manual_seed(config.run.seed + 1 + procs.rank)
    return task


def read(config: Config, root: Path | None) -> Source:
    """The data set of a configuration, read from ``root``, else from where it says.

    Raises:
        ConfigError: files are missing or damaged, or an argument is unknown or out of range.
    """
    folder = root or (Path(config.data.root) if config.data.root else None)
    try:
        source: Source = build(config.data, "dataset", root=folder, T=config.model.T)
        measure(source.measure)
        return cached(source, config.data.cache)
    except (OSError, ValueError, UnknownNameError) as error:
        raise ConfigError(str(error)) from error


def network(
    config: Config,
    in_shape: tuple[int, ...],
    num_classes: int,
    facts: Mapping[str, Any] = MappingProxyType({}),
) -> nn.Module:
    """The model of a configuration for images [C, H, W] of so many classes.

    ``facts`` are what else the data set knows; a model that asks for one gets it.

    Raises:
        ConfigError: a part is unknown or out of range, or the images do not fit the model.
    """
    model = config.model
    context = {**facts, "in_shape": in_shape, "num_classes": num_classes, "T": model.T}
    parts = {kind: bind(getattr(model, kind), kind, **context) for kind in ("neuron", "norm")}
    try:
        net: nn.Module = build(model, "model", **context, **parts)
    except RuntimeError as error:  # torch has no other for memory that is not there
        raise ConfigError(f"{model.name} cannot be built: {error}") from error
    _check_parts(model)
    if model.weight is None:
        return net
    make = bind(model.weight, "weight", **context)
    if model.weight.name == "none":
        return net
    try:
        return transform_weights(net, make)
    except ValueError as error:
        raise ConfigError(f"weight {model.weight.name!r}: {error}") from error


def _check_parts(model: ModelConfig) -> None:
    """Refuse neurons and norms for a model that has its own, unless they are what stands there."""
    taken = signature(find("model", model.name).build).parameters
    for kind in ("neuron", "norm"):
        if kind not in taken and getattr(model, kind) != ModelConfig.model_fields[kind].default:
            raise ConfigError(
                f"the model {model.name!r} takes no {kind}, got model.{kind} = "
                f"{getattr(model, kind).name!r}; leave it out"
            )


def needs_classes(task: Task, what: str) -> None:
    """Refuse what compares predicted classes, on data of numbers.

    Raises:
        ConfigError: the targets are numbers.
    """
    if task.source.numbers:
        raise ConfigError(
            f"{what} compares predicted classes, and the targets of {task.source.name} are numbers"
        )


def placed(net: nn.Module, device: torch.device, dtype: torch.dtype = torch.float32) -> nn.Module:
    """A network on a device, its weights laid out as convolutions want them."""
    net = net.to(device, dtype)
    laid_out: nn.Module = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return laid_out


def _try(task: Task) -> None:
    """Push a batch of two through as in training, so that what does not fit fails now."""
    part = task.splits.train[: min(2, task.config.data.batch)].tolist()
    buffers = {name: buffer.clone() for name, buffer in task.model.named_buffers()}
    try:
        x, y = task.source.train.__getitems__(part)
        if x.dim() == 5 and task.config.model.encoder.name != RECORDED:
            raise ConfigError(
                f"{task.source.name} has steps of its own, which leaves nothing to encode; set "
                f"model.encoder = {RECORDED!r}, not {task.config.model.encoder.name!r}"
            )
        task.model.train()
        with torch.no_grad(), task.autocast():
            logits = task.model(task.batch(x, y, training=True).x_seq)
            logits = of_batch(logits, y)
        for name, buffer in task.model.named_buffers():
            buffer.copy_(buffers[name])  # running averages have seen nothing yet
    except ConfigError:
        raise
    except (ValueError, RuntimeError, TypeError) as error:
        raise ConfigError(
            f"{task.source.name} samples {task.source.shape} do not go through "
            f"{task.config.model.name}: {error}"
        ) from error
    want = (task.config.model.T, len(part), task.source.outputs)
    if not answers(logits, want):
        raise ConfigError(
            f"{task.config.model.name} returned {tuple(logits.shape)}, expected logits "
            f"[T, N, {'outputs' if task.source.numbers else 'classes'}] = {want}"
        )


def dtype_of(config: Config) -> torch.dtype:
    """Of weights and inputs of a run."""
    return torch.float64 if config.run.precision == "fp64" else torch.float32


def answers(logits_seq: Tensor, want: tuple[int, int, int]) -> bool:
    """Whether logits have the shape [T, N, K], or [1, N, K] of one answer to the sequence."""
    return tuple(logits_seq.shape) in (want, (1, *want[1:]))


def device_of(name: str) -> torch.device:
    """The device of that name; ``auto`` is the accelerator if there is one, else the CPU.

    Raises:
        ConfigError: no such device here.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if name == "auto":
        return accelerator or torch.device("cpu")
    here = ["cpu"]
    if accelerator:
        count = torch.accelerator.device_count()
        here += [accelerator.type, *(f"{accelerator.type}:{index}" for index in range(count))]
    if name not in here:
        raise ConfigError(
            f"run.device = {name!r} is not available here; use 'auto' or one of {', '.join(here)}"
        )
    return torch.device(name)
