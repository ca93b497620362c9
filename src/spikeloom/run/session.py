"""Start, resume and evaluate runs: from a configuration to a finished run folder."""

import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from inspect import signature
from itertools import chain, count
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from spikeloom.deploy import infer
from spikeloom.kernels import use
from spikeloom.layers import FirstGrades, Grades
from spikeloom.registry import find
from spikeloom.run import checkpoint
from spikeloom.run.board import Board, Both
from spikeloom.run.build import build
from spikeloom.run.catalogue import uses
from spikeloom.run.config import RECORDED, Config, ConfigError
from spikeloom.run.distributed import Processes, processes
from spikeloom.run.evaluate import evaluate, firing_rates, rated_images, sample
from spikeloom.run.fit import fit
from spikeloom.run.loop import Silent, Training, Watcher
from spikeloom.run.record import (
    CONFIG,
    ENVIRONMENT,
    FIT,
    LAST,
    RESULT,
    SAMPLE,
    check_space,
    environment,
    hold,
    note_session,
    space_needed,
    stored_config,
    write_config,
    write_json,
)  # fmt: skip
from spikeloom.run.rehearse import rehearse
from spikeloom.run.start import start_from
from spikeloom.run.task import Task, device_of, prepare
from spikeloom.run.teach import rehearse_teacher, taught_by, teach
from spikeloom.run.teacher import TEACHER


def train(
    config: Config,
    folder: Path,
    *,
    resume: bool = False,
    root: Path | None = None,
    recipe: str = "",
    teachers: Sequence[Path] = (),
    watch: Callable[[Task], Watcher] = lambda task: Silent(),
) -> dict[str, Any]:
    """Train as configured and leave checkpoints, metrics and results in ``folder``.

    Args:
        config: what to run.
        folder: the run folder; made if it is not there.
        resume: go on from its last checkpoint, to the same end as without the interruption.
        root: where the data sets are; else from the configuration or the environment.
        recipe: name to record.
        teachers: trained for other runs; the one that is wanted here is not trained again.
        watch: makes the watcher once everything is built.

    Returns:
        What is in ``result.json``.

    Raises:
        ConfigError: the run cannot start; nothing has been written over.
        NonFiniteLossError: training diverged; the last good checkpoint is kept.
    """
    if config.run.threads:
        torch.set_num_threads(config.run.threads)
    device = device_of(config.run.device)
    with processes(device) as procs:
        device = procs.own(device)
        folder = Path(procs.agree(str(folder)))
        task = prepare(config, procs, device, root, folder)
        _rehearse(task, root)
        watcher: Watcher = watch(task)
        if config.run.tensorboard and procs.first:
            watcher = Both(watcher, Board(folder, [phase.epochs for phase in config.phase]))
        training = Training(task, folder, watcher)
        check_space(folder, space_needed(config, training.stage.model))
        with hold(folder) if procs.first else nullcontext():
            procs.wait()  # the others need the folder to be there
            old = (folder / LAST).exists()
            if (old or (folder / TEACHER).exists()) and not resume:
                raise ConfigError(
                    f"run folder {folder} already holds a run; resume it, or choose another --out"
                )
            if resume and (folder / ENVIRONMENT).exists():
                recipe = json.loads((folder / ENVIRONMENT).read_text()).get("recipe", recipe)
            if old:
                training.resume()
                if procs.first:
                    note_session(folder, device, procs.world)
                procs.wait()
            elif procs.first:
                write_config(folder, config)
                write_json(folder / ENVIRONMENT, {"recipe": recipe, **environment(device)})
            if config.teacher and not old:
                name = config.teacher.recipe or ""
                again = partial(train, root=root, recipe=name, watch=watch)
                task.teacher = teach(task, folder, again, teachers)
                if config.teacher.start:
                    start_from(task.model, task.teacher)
                training = Training(task, folder, watcher)
            with use(memory=config.run.memory):
                return _finish(training, recipe, root, watch)


def _rehearse(task: Task, root: Path | None) -> None:
    """Rehearse the run and whatever is trained along with it."""
    config = task.config
    rehearse(task)
    if config.teacher and config.teacher.recipe:
        rehearse_teacher(task, root)
    if config.run.twin:
        try:
            rehearse(prepare(twin_of(config), task.procs, task.device, root))
        except ConfigError as error:
            raise ConfigError(f"the ReLU twin: {error}; or set run.twin=false") from error


def resume_folder(folder: Path, **how: Any) -> dict[str, Any]:
    """Go on with the run in ``folder``, with the configuration stored there."""
    return train(stored_config(folder), folder, resume=True, **how)


def score(
    folder: Path, *, weights: str | None = None, root: Path | None = None, packed: bool = False
) -> dict[str, Any]:
    """Evaluate a run's weights (``last`` or ``best``) on the test set; ``packed``: on bits.

    Raises:
        Unsupported: the network cannot be packed.
        ConfigError: this is no run folder.
        CheckpointError: its checkpoint is missing, altered or of another model.
    """
    config = stored_config(folder)
    task = prepare(config, Processes(), device_of(config.run.device), root, folder)
    which = weights or config.run.select
    model = Training(task, folder, Silent()).weights(which)
    loss = build(config.phase[-1].loss, "loss")
    model = infer(model, some_inputs(task)) if packed else model
    return {"weights": which, "measure": task.measure.key, **evaluate(task, model, loss, "test")}


def some_inputs(task: Task, count: int = 8) -> Tensor:
    """Inputs of the first training images, as the network gets them."""
    x, y = task.source.train.__getitems__(task.splits.train[:count].tolist())
    return task.batch(x, y, training=False).x_seq


def _finish(
    training: Training, recipe: str, root: Path | None, watch: Callable[[Task], Watcher]
) -> dict[str, Any]:
    """Score the trained model, then train and score the twin; each is on disk as it is known."""
    task, folder, config = training.task, training.folder, training.task.config
    model = training.run()
    if config.run.select == "best":
        model = Training(task, folder, Silent()).best()
    result = _result(task, model, training, recipe)
    if task.procs.first:
        checkpoint.write_file(folder / SAMPLE, to_bytes(sample(task, model)))
        if drawn := fit(task, model):
            checkpoint.write_file(folder / FIT, to_bytes(drawn))
        write_json(folder / RESULT, result)
    if config.teacher:
        result["teacher"] = taught_by(folder)
        if task.procs.first:
            write_json(folder / RESULT, result)
    if config.run.twin:
        twin = train(
            twin_of(config), folder / "twin", resume=(folder / "twin" / LAST).exists(),
            root=root, recipe=recipe, watch=watch,
        )  # fmt: skip
        result["twin"] = {key: twin[key] for key in ("test", "val", "parameters", "seconds")}
        if task.procs.first:
            write_json(folder / RESULT, result)
    task.procs.wait()
    return result


def _result(task: Task, model: nn.Module, training: Training, recipe: str) -> dict[str, Any]:
    config, state = task.config, training.state
    scores = evaluate(task, model, training.stage.loss, "test")
    last = state.history[-1]
    measure = task.measure
    best = max(
        state.history,
        key=lambda line: measure.rank(line.get("val", line["train"])[measure.key]),
    )
    plain = {key for key, value in scores.items() if isinstance(value, int | float)}
    return {
        "recipe": recipe,
        "arm": config.run.arm,
        "title": config.title,
        "seed": config.run.seed,
        "model": config.model.name,
        "parameters": sum(p.numel() for p in model.parameters()),
        "epochs": len(state.history),
        "seconds": state.seconds,
        "weights": config.run.select,
        "splits": task.splits.describe(),
        "files": task.source.files,
        "train": last["train"],
        "val": last.get("val"),
        "best": {key: best.get(key) for key in ("phase", "epoch", "val")},
        "measure": measure.key,
        "test": {key: value for key, value in scores.items() if key in plain},
        **{key: value for key, value in scores.items() if key not in plain},
        "class_names": list(task.source.class_names),
        **_by_grade(task, model, training),
        **({"stopped": last["stopped"]} if "stopped" in last else {}),
        "firing_rates": firing_rates(task, model),
        "firing_rate_images": rated_images(task),
        "papers": cited(config),
    }


def _by_grade(task: Task, model: nn.Module, training: Training) -> dict[str, Any]:
    """Test scores of a network in grades if it ended with each of those that are open."""
    if not isinstance(model, Grades) or len(model) < 2:
        return {}
    found = {}
    for grade in range(1, model.count + 1):
        scores = evaluate(task, FirstGrades(model, grade), training.stage.loss, "test")
        found[str(grade)] = {k: v for k, v in scores.items() if isinstance(v, int | float)}
    return {"test_by_grade": found}


def twin_of(config: Config) -> Config:
    """The same run with rectifiers for neurons and one time step.

    Raises:
        ConfigError: the model has neurons of its own.
    """
    model = config.model.name
    if "neuron" not in signature(find("model", model).build).parameters:
        raise ConfigError(
            f"the model {model!r} has neurons of its own, which no rectifiers replace"
        )
    tree = config.model_dump(mode="json", exclude_none=True)
    tree["model"] |= {"neuron": {"name": "relu"}, "T": 1}
    if config.model.encoder.name != RECORDED:
        tree["model"]["encoder"] = {"name": "constant"}
    for end in ("readout", "head"):
        tree["model"].pop(end, None)
    for phase in tree["phase"]:
        phase["callback"] = []  # they are about spikes
    tree.pop("teacher", None)
    tree["run"]["twin"] = False
    tree["title"] = f"{config.title} (ReLU twin)".strip()
    return Config.model_validate(tree)


def cited(config: Config) -> list[dict[str, str]]:
    """Name and BibTeX of every paper whose method or data the configuration uses."""
    used = [find(kind, name) for kind, name in sorted(uses(config))]
    return [{"method": e.name, "bibtex": e.paper.bibtex()} for e in used if e.paper]


def new_folder(out: Path, recipe: str, seed: int) -> Path:
    """A run folder that is not there yet: ``out/recipe/seed0``, ``seed0-2`` and so on."""
    base = out / (Path(recipe).name.removesuffix(".toml") or "run")
    names = chain([f"seed{seed}"], (f"seed{seed}-{n}" for n in count(2)))
    return next(base / name for name in names if not (base / name).exists())


__all__ = [
    "CONFIG",
    "Silent",
    "new_folder",
    "resume_folder",
    "score",
    "stored_config",
    "train",
]
