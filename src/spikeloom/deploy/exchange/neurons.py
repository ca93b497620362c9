"""Neurons as nodes of NIR: differential equations, and in their metadata how to step through them.

A neuron of ours keeps a share ``keep`` of its state at every step and takes ``gain`` times its
input. Under the rule ``euler`` the node's tau is dt / (1 - keep), under ``exponential`` it is
-dt / log(keep); under both r is gain / (1 - keep).
"""

from typing import Any, Literal

import numpy as np
from torch import nn

from spikeloom.deploy.exchange.arrays import OURS, Array, Meta, full, loaded, stored
from spikeloom.deploy.exchange.package import DamagedFileError
from spikeloom.deploy.exchange.unfold import neuron_layer
from spikeloom.functional import Decay, Value
from spikeloom.kernels import operator_of
from spikeloom.layers import Neuron, Temporal
from spikeloom.registry import Unsupported

Rule = Literal["euler", "exponential"]
LEAKS = {"decay": ("tau", "r"), "synapse": ("tau_syn", "w_in")}


def neuron_node(
    name: str, layer: Temporal, shape: tuple[int, ...], dt: float, rule: Rule, nir: Any
) -> Any:
    """The node of a layer of neurons or integrators.

    Args:
        name: of the layer, for errors.
        layer: the neurons.
        shape: [*] of one sample.
        dt: length of a step [s].
        rule: how tau comes from the share that is kept.
        nir: the package.
    Raises:
        Unsupported: neurons that no primitive describes.
    """
    kind = operator_of(layer.function)
    own_forward = isinstance(layer, Neuron) and type(layer).forward is not Neuron.forward
    if kind not in ("lif", "cuba_lif", "li") or own_forward:
        raise Unsupported(f"{name}: no primitive of NIR describes {type(layer).__name__}")
    given = layer.arguments()
    about = about_neuron(kind, given) | {"dt": dt, "rule": rule}
    parts = {key: full(part, shape) for key, part in parameters(name, about).items()}
    form = _form(kind, about)
    if form in ("I", "IF"):
        parts.pop("tau")
        parts.pop("v_leak")
    if form.startswith("Cuba"):
        parts["tau_mem"] = parts.pop("tau")
    return getattr(nir, form)(**parts, metadata={OURS: about})


def about_neuron(kind: str, given: Meta) -> Meta:
    """What a reader needs to take the same steps, as plain values."""
    about: Meta = {"neuron": kind}
    for key in LEAKS:
        if key in given:
            about[f"{key}_keep"] = stored(given[key].keep)
            about[f"{key}_scales_input"] = given[key].decay_input
    if kind != "li":
        about["v_threshold"] = stored(given["v_threshold"])
        about["fires"] = ">" if given["strict"] else ">="
        about["reset"] = given["reset"]
        about["v_reset"] = float(given["v_reset"])
        about["order"] = "charge, fire, reset"
    return about


def parameters(name: str, about: Meta) -> dict[str, Value | Array]:
    """The numbers of the node that the metadata stand for."""
    parts: dict[str, Value | Array] = {}
    for leak, (tau, r) in LEAKS.items():
        if f"{leak}_keep" in about:
            parts[tau], parts[r] = _constants(name, leak, about)
    rest = about["v_reset"] if about.get("reset") == "hard" else 0.0
    parts["v_leak"] = rest
    if about["neuron"] != "li":
        parts["v_threshold"], parts["v_reset"] = about["v_threshold"], rest
    return parts


def _constants(name: str, leak: str, about: Meta) -> tuple[Array, Array]:
    keep = np.asarray(about[f"{leak}_keep"], dtype=np.float64)
    scaled = bool(about[f"{leak}_scales_input"])
    dt, rule = float(about["dt"]), about["rule"]
    if (keep == 1).all() and not scaled and leak == "decay" and about["neuron"] != "cuba_lif":
        return np.full_like(keep, np.inf), np.full_like(keep, 1 / dt)
    if (keep == 1).any() or (rule == "exponential" and (keep == 0).any()):
        raise Unsupported(
            f"{name}: keeps {keep.min():g} to {keep.max():g} of its state per step, which no time "
            f"constant does under the rule {rule!r}"
        )
    tau = dt / (1 - keep) if rule == "euler" else -dt / np.log(keep)
    return tau, (np.ones_like(keep) if scaled else 1 / (1 - keep))


def _form(kind: str, about: Meta) -> str:
    if kind == "cuba_lif":
        return "CubaLIF"
    forgets = not (np.asarray(about["decay_keep"]) == 1).all()
    if kind == "li":
        return "LI" if forgets else "I"
    return "LIF" if forgets else "IF"


def neuron_from(name: str, node: Any, about: Meta) -> nn.Module:
    """The layer that a node's metadata describe.

    Raises:
        DamagedFileError: they are incomplete, or say something else than the node.
    """
    try:
        given: Meta = {
            key: Decay(loaded(about[f"{key}_keep"]), bool(about[f"{key}_scales_input"]))
            for key in LEAKS
            if f"{key}_keep" in about
        }
        if about["neuron"] != "li":
            given["v_threshold"] = loaded(about["v_threshold"])
            given["strict"] = {">": True, ">=": False}[about["fires"]]
            given["reset"], given["v_reset"] = about["reset"], float(about["v_reset"])
        layer = neuron_layer(about["neuron"], given)
        expected = parameters(name, about)
    except (KeyError, ValueError, TypeError) as error:
        raise DamagedFileError(f"{name}: its metadata are damaged ({error!r})") from error
    for key, value in expected.items():
        own = getattr(node, "tau_mem" if key == "tau" and hasattr(node, "tau_mem") else key, None)
        if own is not None and not np.allclose(own, full(value, np.shape(own)), rtol=1e-5):
            raise DamagedFileError(
                f"{name}: its {key} is not what its metadata say; somebody changed one of them. "
                "Name a convention to read the node alone"
            )
    return layer


def silent_about(about: Meta) -> list[str]:
    """What the node alone does not say, so that only readers of the metadata know."""
    if about["neuron"] == "li":
        return []
    notes = [] if about["fires"] == ">" else ["fires at the threshold"]
    if about["reset"] != "hard":
        notes.append(f"reset {about['reset']!r}")
    return notes
