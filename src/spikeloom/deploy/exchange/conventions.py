"""How to step through a node that does not say it: conventions, each with a name.

The equations of NIR know no steps, so every library chose its own. A convention that is named
after a library runs a file as that library's importer does by default; ``euler`` and
``exponential`` solve the equations of the node over steps of a length that the caller gives.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from spikeloom.deploy.exchange.arrays import Array, as_tensor, fewest
from spikeloom.deploy.exchange.pieces import MultiSpike, Scale
from spikeloom.deploy.exchange.unfold import neuron_layer
from spikeloom.functional import Decay
from spikeloom.registry import Unsupported, unknown

Chain = list[tuple[str, nn.Module]]  # suffix of the name, layer
NEURONS = ("I", "IF", "LI", "LIF", "CubaLI", "CubaLIF")


@dataclass(frozen=True)
class Steps:
    """What a convention makes of a node's numbers.

    A state keeps ``keep`` of itself and takes ``gain`` times its input; ``synapse`` the same of the
    synaptic current, if there is one. ``leak`` is where the potential sinks to.
    """

    keep: Array
    gain: Array
    leak: Array
    v_reset: Array
    strict: bool = True
    synapse: tuple[Array, Array] | None = None


@dataclass(frozen=True)
class Convention:
    """A named way to step through nodes; ``dt`` None: the caller must say it.

    ``at_rest``: whether the bias of a map that leads back counts from the first step.
    """

    name: str
    about: str
    read: Callable[[str, Any, float], Steps | nn.Module]
    dt: float | None = None
    at_rest: bool = True


def chain_of(name: str, node: Any, convention: Convention, dt: float) -> Chain:
    """The layers that a node of neurons becomes under a convention, one after the other.

    Raises:
        Unsupported: the convention cannot read the node; says why.
    """
    try:
        with np.errstate(all="ignore"):  # what comes of a tau of 0 is refused below
            found = convention.read(name, node, dt)
            return [("", found)] if isinstance(found, nn.Module) else _layers(node, found)
    except Unsupported:
        raise
    except ValueError as error:
        raise Unsupported(
            f"{name}: {type(node).__name__} does not work with the convention {convention.name!r} "
            f"and dt = {dt:g}: {error}"
        ) from error


def named(name: str) -> Convention:
    """The convention of that name.

    Raises:
        Unsupported: there is none; lists those there are.
    """
    if name not in CONVENTIONS:
        raise Unsupported(unknown("convention", name, CONVENTIONS))
    return CONVENTIONS[name]


def listed() -> str:
    """All conventions, a line each."""
    return "\n".join(f"  {each.name}: {each.about}" for each in CONVENTIONS.values())


def _layers(node: Any, s: Steps) -> Chain:
    chain: Chain = []
    decay = Decay(fewest(s.keep))
    if s.synapse is not None:
        keep, gain = s.synapse
        synapse = neuron_layer("li", {"decay": Decay(fewest(keep))})
        chain += [*_driven(gain, None), ("synapse", synapse)]
    spiking = hasattr(node, "v_threshold")
    rest = s.v_reset if spiking else np.zeros_like(s.leak)
    if spiking and (rest != rest.reshape(-1)[0]).any():
        raise ValueError("v_reset differs from neuron to neuron; here it is one for the layer")
    shift = (1 - s.keep) * (s.leak - rest)
    chain += _driven(s.gain, shift, "drive" if s.synapse is None else "current")
    if not spiking:
        return [*chain, ("", neuron_layer("li", {"decay": decay}))]
    given = {
        "decay": decay,
        "v_threshold": fewest(node.v_threshold),
        "reset": "hard",
        "v_reset": float(rest.reshape(-1)[0]),
        "strict": s.strict,
    }
    return [*chain, ("", neuron_layer("lif", given))]


def _driven(gain: Array, shift: Array | None, suffix: str = "drive") -> Chain:
    shifts = shift is not None and shift.any()
    if not shifts and (gain == 1).all():
        return []
    return [(suffix, Scale(as_tensor(gain), as_tensor(shift) if shifts else None))]  # type: ignore[arg-type]


def _solved(how: Callable[[Array, float], Array]) -> Callable[[str, Any, float], Steps]:
    """The node's own equations, with a share kept that comes from tau and dt."""

    def read(_name: str, node: Any, dt: float) -> Steps:
        r, kind = wide(node.r), type(node).__name__
        zero = np.zeros_like(r)
        reset = wide(getattr(node, "v_reset", zero))
        if kind in ("I", "IF"):
            return Steps(zero + 1, r * dt, zero, reset)
        cuba = kind.startswith("Cuba")
        keep = how(wide(node.tau_mem if cuba else node.tau), dt)
        synapse = None
        if cuba:
            stays = how(wide(node.tau_syn), dt)
            synapse = (stays, (1 - stays) * wide(node.w_in))
        return Steps(keep, (1 - keep) * r, wide(node.v_leak), reset, synapse=synapse)

    return read


def wide(array: Any) -> Array:
    """In float64."""
    return np.asarray(array, dtype=np.float64)


def _euler(tau: Array, dt: float) -> Array:
    return 1 - dt / tau


def _exponential(tau: Array, dt: float) -> Array:
    return np.asarray(np.exp(-dt / tau))


def _spikingjelly(name: str, node: Any, dt: float) -> Steps:
    _only(name, node, ("IF", "LIF", "CubaLIF"), "spikingjelly")
    s = _solved(_euler)(name, node, dt)
    if type(node).__name__ == "CubaLIF":
        assert s.synapse is not None
        _must(name, "r", s.gain, 1.0, "tau_mem / dt")
        _must(name, "w_in", s.synapse[1], 1.0, "tau_syn / dt")
        _must(name, "v_leak", s.leak, 0.0, "0")
        s = Steps(
            s.keep, s.gain / s.gain, s.leak, s.v_reset, False, (s.synapse[0], s.gain / s.gain)
        )
    elif type(node).__name__ == "LIF":
        whole, scaled = np.allclose(s.gain, 1), np.allclose(s.gain, 1 - s.keep)
        if not (whole or scaled):
            raise Unsupported(f"{name}: r must be 1 or tau / dt for spikingjelly")
        _must(name, "v_leak", s.leak, s.v_reset, "v_reset")
        s = Steps(s.keep, s.gain / s.gain if whole else 1 - s.keep, s.leak, s.v_reset, False)
    else:
        _must(name, "r", s.gain, 1.0, "1 / dt")
        s = Steps(s.keep, s.gain / s.gain, s.v_reset, s.v_reset, False)
    return s


def _snntorch(name: str, node: Any, dt: float) -> Steps:
    _only(name, node, ("LIF", "CubaLIF"), "snntorch (which makes an IF node leaky, beta = 0.9)")
    s = _solved(_euler)(name, node, dt)
    _must(name, "v_leak", s.leak, 0.0, "0")
    zero = np.zeros_like(s.leak)
    if s.synapse is None:
        return Steps(s.keep, s.gain, zero, zero)
    _must(name, "r", s.gain, 1.0, "tau_mem / dt")
    return Steps(s.keep, s.gain / s.gain, zero, zero, synapse=s.synapse)


def _norse(name: str, node: Any, dt: float) -> Steps:
    _only(name, node, ("IF", "LIF", "CubaLIF"), "norse")
    s = _solved(_euler)(name, node, dt)
    _must(name, "v_leak", s.leak, 0.0, "0")  # it starts there, and resets to 0
    zero = np.zeros_like(s.leak)
    if type(node).__name__ == "IF":
        return Steps(s.keep, zero + 1, zero, zero)
    gain = s.gain if s.synapse is not None else 1 - s.keep  # r of LIF is left out
    return Steps(s.keep, gain, zero, zero, synapse=s.synapse)


def _sinabs(name: str, node: Any, dt: float) -> Steps | nn.Module:
    kind = type(node).__name__
    _only(name, node, ("IF", "LI", "LIF"), "sinabs")
    if kind == "IF":
        threshold = as_tensor(node.v_threshold)
        return MultiSpike(as_tensor(np.ones_like(node.v_threshold)), threshold, floor=True)
    _must(name, "v_leak", node.v_leak, 0.0, "0")
    keep = _exponential(wide(node.tau), dt)
    if kind == "LIF":
        return MultiSpike(as_tensor(keep), as_tensor(node.v_threshold))
    _must(name, "r", node.r, 1.0, "1")
    zero = np.zeros_like(keep)
    return Steps(keep, zero + 1, zero, zero)


def _only(name: str, node: Any, kinds: Iterable[str], who: str) -> None:
    if type(node).__name__ not in kinds:
        raise Unsupported(
            f"{name}: {type(node).__name__} is not what {who} reads; it reads {', '.join(kinds)}"
        )


def _must(name: str, key: str, value: Any, wanted: Any, words: str) -> None:
    if not np.allclose(value, wanted, rtol=1e-6):
        raise Unsupported(f"{name}: {key} must be {words} under this convention")


CONVENTIONS = {
    each.name: each
    for each in (
        Convention("euler", "forward Euler of the node's equations; needs dt", _solved(_euler)),
        Convention("exponential", "their exact decay over a step; needs dt", _solved(_exponential)),
        Convention(
            "norse",
            "dt 1e-3, Euler, r of LIF left out, reset to 0, fires above",
            _norse,
            1e-3,
            at_rest=False,
        ),
        Convention(
            "sinabs",
            "tau in steps, exp(-1/tau), several spikes a step",
            _sinabs,
            1.0,
            at_rest=False,
        ),
        Convention("snntorch", "dt 1e-4, Euler, reset to 0, fires above", _snntorch, 1e-4),
        Convention(
            "spikingjelly",
            "dt 1e-4, Euler, r 1 or tau/dt, fires at threshold",
            _spikingjelly,
            1e-4,
            at_rest=False,
        ),
    )
}
