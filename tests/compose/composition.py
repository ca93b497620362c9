"""Which parts work together: every pair of kinds, trained for two updates; writes a page of docs.

Run ``make composition`` (``python -m tests.compose.composition``) after adding a part.
"""

import inspect
from collections.abc import Iterator
from itertools import combinations, product
from pathlib import Path
from typing import Any

import torch

from spikeloom.data import Augment, Source, Splits, TensorImages, TensorNumbers
from spikeloom.functional import encode
from spikeloom.functional.radiance import RAY, orbit, pixel_rays, ray_vectors, view_of
from spikeloom.learning import Progress, Unsupported
from spikeloom.registry import entries, find
from spikeloom.run.config import Config, ConfigError, Part, validate
from spikeloom.run.distributed import Processes
from spikeloom.run.loop import Training
from spikeloom.run.session import Silent
from spikeloom.run.task import Task, network
from tests.compose.test_grid import FAMILIES

PAGE = Path(__file__).parents[2] / "docs" / "composition.md"
COMMAND = "make composition"
NONE = "none"  # of what may be left out

# What stands in for a kind while others vary.
BASE = {
    "learner": "bptt",
    "model": "spiking_vgg5",
    "neuron": "lif",
    "norm": "bn",
    "surrogate": "arctan",
    "loss": "rate_ce",
    "callback": NONE,
    "weight": NONE,
}
# Small versions, but of two hidden layers; and a learner that changes with the epoch in what it
# does beside BPTT.
ARGUMENTS: dict[str, dict[str, Any]] = {
    **{name: {"desired": 2.0} for name in ("count", "count_plus", "count_zero")},
    "double_exponential": {"per": "channel"},
    "dspike": {"samples": 4, "weights": 2},
    "event_bp": {"spikes_at_start": 0.1},  # what few outputs can fire in two steps
    "eicil": {"cycle": "IJ", "eta": 0.1},
    "firing": {"rate": 0.1},
    "graded_mlp": {"grades": 2, "hidden": [256, 128]},
    "nerf": {"coarse": 4, "fine": 2, "width": 32, "depth": 3, "density_noise": 1.0},
    "hetsyn_mlp": {"hidden": [256, 128], "v_threshold": 0.25},
    "sleep": {"ratio": 1.0, "steps": 0},
    "spiking_mlp": {"hidden": [256, 128]},
    "stmixer": {"depth": 2},
    "sub_bit": {"period": 1},
}
# What a part needs around it that BASE does not have; what is varied itself is left as it is.
COUNTING = ("ce_plus", "count", "count_plus", "count_zero", "spike_kernel", "ttfs")
AROUND: dict[str, dict[str, Any]] = {
    **{name: {"readout": "spikes", "weight": "standardised"} for name in COUNTING},
    "event_bp": {
        "neuron": "double_exponential", "norm": "none", "loss": "count", "pool": "average",
        "readout": "early_spikes", "weight": "standardised",
    },
    "distil_nerf": {"model": "nerf", "loss": "photometric"},
    "mgdl": {"model": "graded_mlp", "loss": "mse"},
    "nerf": {"loss": "photometric"},
    "output_times": {"readout": "spikes"},
}  # fmt: skip
IMAGES, CLASSES = (3, 8, 8), 3
RAYS = "nerf"  # the model of rays, which no images are
Case = tuple[tuple[str, str], ...]  # kind and name of all that is not as in BASE or is varied


def names(kind: str) -> list[str]:
    """What is combined of a kind: of models one of each family, of learners those by gradients."""
    if kind == "model":
        return [*(name for name, _ in FAMILIES.values()), RAYS]
    found = [entry.name for entry in entries(kind) if not getattr(entry.build, "online", False)]
    return [NONE, *(name for name in found if name != NONE)] if BASE[kind] == NONE else found


def cases() -> list[Case]:
    """Every pair of parts of different kinds, and learners, callbacks and norms all three."""
    found: dict[Case, None] = {}
    for kinds in (*combinations(BASE, 2), ("learner", "callback", "norm")):
        for chosen in product(*map(names, kinds)):
            found[tuple(zip(kinds, chosen, strict=True))] = None
    return list(found)


def walk() -> dict[Case, str]:
    """Every case, with the reason why it is refused, or nothing where it trains."""
    known: dict[Case, str] = {}
    out = {}
    for case in cases():
        # A surrogate that is named is another recipe than one that is left to the neuron.
        same = tuple((k, n) for k, n in case if n != BASE[k] or k == "surrogate")
        if same not in known:
            known[same] = refusal(dict(case))
        out[case] = known[same]
    return out


def refusal(chosen: dict[str, str]) -> str:
    """Train for two updates, in two epochs; what a run would say if it refuses.

    Raises:
        AssertionError: no weight has moved.
    """
    torch.manual_seed(0)
    try:
        config = configuration(chosen)
        training = Training(task(config), Path("nowhere"), Silent())
        model = training.stage.model
        before = [p.detach().clone() for p in model.parameters()]
        for epoch in range(2):
            progress = Progress(epoch, 2, epoch, 2)
            training._begin(progress)
            training._update([samples(config)], progress)
    except (ConfigError, Unsupported) as error:
        return str(error)
    moved = [not torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True)]
    assert any(moved), chosen
    assert all(p.isfinite().all() for p in model.parameters()), chosen
    return ""


def configuration(chosen: dict[str, str]) -> Config:
    """The recipe of a case."""
    around: dict[str, Any] = {}
    for kind in reversed(BASE):  # a learner comes first, so what it needs goes last
        around |= AROUND.get(chosen.get(kind, ""), {})
    name = {**BASE, **around, **chosen}
    neuron = part(name["neuron"])
    if "v_threshold" in inspect.signature(find("neuron", name["neuron"]).build).parameters:
        neuron["v_threshold"] = 0.25  # so that all layers fire in two steps
    if "surrogate" in chosen:
        neuron["surrogate"] = chosen["surrogate"]
    model = {"width": 0.125, **part(name["model"]), "T": 2, "neuron": neuron, "norm": name["norm"]}
    if name["weight"] != NONE:
        model["weight"] = part(name["weight"])
    taken = inspect.signature(find("model", name["model"]).build).parameters
    for kind in ("neuron", "norm"):
        if kind not in taken and kind not in chosen:
            del model[kind]  # it has its own
    if "surrogate" in taken and "surrogate" in chosen:
        model["surrogate"] = chosen["surrogate"]
    fits = {*taken, "readout"}
    model |= {key: value for key, value in around.items() if key in fits - BASE.keys()}
    phase = {"loss": part(name["loss"]), "learner": part(name["learner"]), "epochs": 2}
    phase["callback"] = [] if name["callback"] == NONE else [part(name["callback"])]
    phase["optimizer"] = {"name": "sgd", "lr": 0.01}
    return validate({"model": model, "data": {"name": "made up", "batch": 4}, "phase": [phase]})


def part(name: str) -> dict[str, Any]:
    return {"name": name, **ARGUMENTS.get(name, {})}


def images() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randint(0, 256, (4, *IMAGES), dtype=torch.uint8), torch.arange(4) % CLASSES


def samples(config: Config) -> tuple[torch.Tensor, torch.Tensor]:
    """Images with classes, or with numbers where the loss is of these."""
    if config.model.name == RAYS:
        found = pixel_rays(orbit(1, radius=4.0)[0], *torch.rand(2, 4), size=(1, 1), focal=1.0)
        return ray_vectors(found, view_of(found.direction), 2.0, 6.0), torch.rand(4, CLASSES)
    x, y = images()
    return (x, torch.eye(CLASSES)[y]) if of_numbers(config) else (x, y)


def shape(config: Config) -> tuple[int, ...]:
    """Of a sample."""
    return (RAY,) if config.model.name == RAYS else IMAGES


def of_numbers(config: Config) -> bool:
    return config.model.name == RAYS or bool(
        getattr(find("loss", config.phase[0].loss.name).build, "numbers", False)
    )


def task(config: Config) -> Task:
    """What a run prepares, on made-up images."""
    middle = () if config.model.name == RAYS else (0.5,) * 3
    if of_numbers(config):
        numbers = TensorNumbers(*samples(config))
        source = Source(
            "made up", numbers, numbers, shape(config), (), middle, middle, measure="rse",
            outputs=CLASSES,
        )  # fmt: skip
    else:
        made_up = TensorImages(*images())
        labels = tuple(map(str, range(CLASSES)))
        source = Source("made up", made_up, made_up, IMAGES, labels, middle, middle)
    everything = torch.arange(4)
    splits = Splits(everything, everything[:0], everything)
    model = network(config, shape(config), CLASSES).to(memory_format=torch.channels_last)
    cpu = torch.device("cpu")
    built = Task(config, cpu, Processes(), source, splits, Augment([]), encode.constant, model)
    phase = config.phase[0]
    if taught("learner", phase.learner):
        built.teacher = teacher(config, neuron=Part(name="relu"), norm=Part(name="bn"))
    elif any(taught("callback", each) for each in phase.callback):
        built.teacher = teacher(config)
    return built


def taught(kind: str, each: Part) -> bool:
    """Whether a part asks for a teacher."""
    return "teacher" in inspect.signature(find(kind, each.name).build).parameters


def teacher(config: Config, **change: Part) -> torch.nn.Module:
    """The same model with real weights, or another one in parts: for learners of rectifiers."""
    model = config.model.model_copy(update={"weight": None, **change})
    return network(config.model_copy(update={"model": model}), shape(config), CLASSES)


def page(found: dict[Case, str]) -> str:
    """The page of the documentation."""
    refused = {case: reason for case, reason in found.items() if reason}
    lines = [
        f"<!-- Written by `{COMMAND}`; do not edit. -->",
        "# What works together",
        "",
        f"{len(found)} combinations were trained for two updates on made-up images: every pair of",
        "parts of different kinds, the other kinds as in bold, and every learner with every",
        f"callback and norm. {len(found) - len(refused)} train, with finite weights of which some",
        f"move; {len(refused)} are refused with a reason.",
        "",
        *table(("kind", "combined"), ((kind, ", ".join(marked(kind))) for kind in BASE)),
        "",
        "Where the loss is `mse` or `photometric`, targets are numbers; with `mgdl` the model is",
        "`graded_mlp`, with `distil_nerf` it is `nerf`, which is given rays and colours.",
        "Of models each family stands for its members. `eicil` is seen in its epochs without, and",
        "its epochs with back-propagation; `local_tandem` offline, with a teacher of the same",
        "model of rectifiers; `mpfd`, `distil_logits` and `distil_rates` with one of the same",
        "model with real weights. Learners that change the network themselves (`stdp`, `s2_stdp`,",
        "`sleep_stdp`, ...) go with networks made for them alone, and are not in the tables.",
        "",
        "## Refused",
        "",
        *table(("together", "reason"), grouped(refused)),
        "",
        "## Learners",
        "",
        *learners(found),
        "",
        "## Learners, callbacks and norms",
        "",
        *triples(found),
    ]
    return "\n".join(lines) + "\n"


def marked(kind: str) -> list[str]:
    return [f"**{name}**" if name == BASE[kind] else name for name in names(kind)]


def grouped(refused: dict[Case, str]) -> Iterator[tuple[str, str]]:
    """Refusals, those that differ in the last part alone and say the same in one line."""
    rows: dict[tuple[Case, str, str], list[str]] = {}
    for (*first, (kind, name)), reason in refused.items():
        rows.setdefault((tuple(first), kind, reason), []).append(name)
    for (first, kind, reason), last in rows.items():
        together = " + ".join(f"{k} `{n}`" for k, n in first)
        some = "every one" if last == names(kind) else ", ".join(f"`{n}`" for n in last)
        yield f"{together} + {kind} {some}", reason.replace("|", "\\|").replace("\n", " ")


def learners(found: dict[Case, str]) -> Iterator[str]:
    across = names("learner")
    rows = (
        (f"{kind} `{name}`", *(mark(found, ("learner", one), (kind, name)) for one in across))
        for kind in BASE
        if kind != "learner"
        for name in names(kind)
    )
    return table(("with", *(f"`{one}`" for one in across)), rows)


def triples(found: dict[Case, str]) -> Iterator[str]:
    across = names("norm")
    rows = (
        (
            f"`{learner}`, {callback}",
            *(
                mark(found, ("learner", learner), ("callback", callback), ("norm", norm))
                for norm in across
            ),
        )
        for learner, callback in product(names("learner"), names("callback"))
    )
    return table(("learner, callback", *(f"`{norm}`" for norm in across)), rows)


def mark(found: dict[Case, str], *case: tuple[str, str]) -> str:
    return "refused" if found[case] else "yes"


def table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    for row in (head, ("---",) * len(head), *rows):
        yield f"| {' | '.join(row)} |"


if __name__ == "__main__":
    PAGE.write_text(page(walk()), encoding="utf-8")
    print(PAGE)
