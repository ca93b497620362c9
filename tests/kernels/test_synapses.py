"""Sweeps, transforms and kernels of synapses against naive autograd, which keeps every current."""

import ctypes
from typing import Any

import pytest
import torch
from torch import Tensor

from spikeloom.functional import (
    Decay,
    HetSynState,
    MultiGaussian,
    Sigmoid,
    Smooth,
    hetsyn_lif,
    synapses,
)
from spikeloom.functional.surrogate import spike
from spikeloom.kernels import CannotServeError, door, explain, use
from spikeloom.kernels.cpu import native
from spikeloom.kernels.cpu import synapses as compiled

SLOPE = MultiGaussian(alpha=2.0, scale=0.5)
TIGHT = 1e-9  # relative, in float64
SHAPES = {  # T, N, IN, OUT
    "one step": (1, 2, 3, 2),
    "small": (9, 3, 4, 5),
    "a vector": (11, 2, 16, 16),
    "beyond a vector": (7, 3, 33, 37),
    "chunks": (5, 2, 131, 66),
    "shared": (30, 9, 41, 20),  # enough for several threads
}
VARIANTS = ("avx512", "avx2", "baseline")
SWEEPS = ["two_pass", pytest.param("cpu", marks=pytest.mark.skipif(
    native.OPENED is None, reason=native.PROBLEM))]  # fmt: skip


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> Any:
    if native.OPENED is None:
        pytest.skip(native.PROBLEM)
    before = native.variant()
    if native.variant(request.param) != request.param:
        pytest.skip(f"no {request.param} here")
    yield request.param
    native.variant(before)


def naive(x_seq: Tensor, w: Tensor, r: Tensor, u: Tensor, q: Tensor, **options: Any):
    """The equations once more, all of them in the graph of autograd."""
    N, (OUT, IN) = x_seq.shape[1], w.shape
    current, heard = x_seq.new_zeros(N, OUT, IN), x_seq.new_zeros(N, OUT, OUT)
    b = a = z = x_seq.new_zeros(N, OUT)
    kappa, fade, beta = options["kappa"], options["fade"], options["beta"]
    potentials, fired = [], []
    for x in x_seq:
        current = r * current + w * x[:, None]
        heard = q * heard + u * z[:, None]
        b = kappa * b + z
        a = fade * a + beta * z
        v = current.sum(-1) + heard.sum(-1) - b - a
        z = spike(v - 1.0, SLOPE, strict=True)
        potentials.append(v)
        fired.append(z)
    return torch.stack(fired), torch.stack(potentials)


def case(shape: str, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    T, N, IN, OUT = SHAPES[shape]
    draw = torch.Generator().manual_seed(len(shape))

    def uniform(*sizes: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return low + (high - low) * torch.rand(*sizes, generator=draw, dtype=torch.float64)

    given = {
        "x": (uniform(T, N, IN) < 0.3).double(),
        "w": uniform(OUT, IN, low=-1.0, high=2.0) * IN**-0.5,
        "r": uniform(OUT, IN, low=0.5),
        "u": uniform(OUT, OUT, low=-1.0) * OUT**-0.5,
        "q": uniform(OUT, OUT, low=0.5),
        "kappa": uniform(OUT, low=0.7, high=0.99),
        "g": uniform(T, N, OUT, low=-1.0),
    }
    return {name: tensor.to(dtype) for name, tensor in given.items()}


def layer(given: dict[str, Tensor], **options: Any) -> tuple[Tensor, HetSynState]:
    y_seq, _ = door("synapses")(given["x"], weight=given["w"], decay=Decay(given["r"]))
    return door("hetsyn_lif")(
        y_seq, weight=given["u"], decay=Decay(given["q"]), reset_decay=Decay(given["kappa"]),
        adaptation_decay=Decay(0.97), beta=0.05, surrogate=SLOPE, **options,
    )  # fmt: skip


LEAVES = ("x", "w", "r", "u", "q", "kappa")


def far(one: Tensor, other: Tensor) -> float:
    """The greatest difference as a share of the greatest number."""
    return float((one - other).detach().abs().max() / other.detach().abs().max().clamp(min=1e-300))


def gradients(given: dict[str, Tensor], run: Any, names: Any = LEAVES):
    leaves = {n: t.detach().clone().requires_grad_(n in names) for n, t in given.items()}
    z_seq = run(leaves)
    wanted = [leaves[n] for n in names]
    found = torch.autograd.grad(
        (z_seq * given["g"]).sum(), wanted, allow_unused=True, materialize_grads=True
    )
    return z_seq.detach(), dict(zip(names, found, strict=True))


def by_autograd(given: dict[str, Tensor]) -> Tensor:
    numbers = {"kappa": given["kappa"], "fade": 0.97, "beta": 0.05}
    return naive(*(given[n] for n in ("x", "w", "r", "u", "q")), **numbers)[0]


def check(shape: str, way: str) -> None:
    given = case(shape)
    want, grads = gradients(given, by_autograd)
    with use(way):
        found, ours = gradients(given, lambda leaves: layer(leaves)[0])
    assert torch.equal(found, want)
    assert shape == "one step" or want.any()
    for name, grad in grads.items():
        assert far(ours[name], grad) < TIGHT, name


@pytest.mark.parametrize("shape", SHAPES)
def test_truth_and_two_sweeps_are_naive_autograd(shape: str) -> None:
    check(shape, "truth")
    check(shape, "two_pass")


@pytest.mark.parametrize("shape", SHAPES)
def test_kernels_are_naive_autograd(shape: str, variant: str) -> None:
    check(shape, "cpu")


@pytest.mark.parametrize("shape", ["small", "beyond a vector"])
def test_kernels_in_single_precision(shape: str, variant: str) -> None:
    """Spikes follow float64 potentials within rounding; then gradients are close too."""
    given = case(shape)
    want, grads = gradients(given, by_autograd)
    with use("cpu"):
        found, ours = gradients(
            {n: t.float() for n, t in given.items()}, lambda leaves: layer(leaves)[0]
        )
    assert torch.equal(found.double(), want)
    for name, grad in grads.items():
        assert far(ours[name].double(), grad) < 1e-5, name


@pytest.mark.skipif(native.OPENED is None, reason=native.PROBLEM)
def test_results_do_not_depend_on_the_number_of_threads(threads: Any) -> None:
    given = case("shared", torch.float32)
    found = []
    for count in (1, 2):
        threads(count)
        with use("cpu"):
            found.append(gradients(given, lambda leaves: layer(leaves)[0]))
    assert torch.equal(found[0][0], found[1][0])
    for name in LEAVES:
        assert torch.equal(found[0][1][name], found[1][1][name]), name


@pytest.mark.parametrize("way", SWEEPS)
def test_detached_resets_and_no_recurrence(way: str) -> None:
    y_seq = 2 * torch.rand(12, 3, 21, dtype=torch.float64)
    found = {}
    for name in ("truth", way):
        leaf = y_seq.clone().requires_grad_()
        with use(name):
            z_seq, state = door("hetsyn_lif")(
                leaf, reset_decay=Decay(0.8), detach_reset=True, surrogate=SLOPE
            )
        found[name] = z_seq, torch.autograd.grad(z_seq.sum(), leaf)[0], state.reset
    for one, other in zip(found["truth"], found[way], strict=True):
        assert far(one, other) < TIGHT


@pytest.mark.parametrize("way", SWEEPS)
@pytest.mark.parametrize("recurrent", [False, True])
def test_a_carried_state_is_one_run(way: str, recurrent: bool) -> None:
    given = case("small")
    options: dict[str, Any] = {"surrogate": SLOPE, "adaptation_decay": Decay(0.9), "beta": 0.1}
    if recurrent:
        options |= {"weight": given["u"], "decay": Decay(given["q"])}
    maps = {"weight": given["w"], "decay": Decay(given["r"])}
    y_seq, end = synapses(given["x"], **maps)
    z_seq, last = hetsyn_lif(y_seq, **options)
    sums, neurons = door("synapses"), door("hetsyn_lif")
    state = now = None
    with use(way):
        for x in given["x"].split(4):
            y, state = sums(x, state, **maps)
            z, now = neurons(y, now, **options)
    assert torch.equal(z, z_seq[-len(z) :])
    assert far(state, end) < TIGHT
    for one, other in zip(now, last, strict=True):
        assert (one is None) == (other is None)
        assert one is None or (one - other).abs().max() < TIGHT


def test_gradients_of_carried_states_by_two_sweeps() -> None:
    given, names = case("small"), ("x", "w", "r", "u", "q", "kappa", "i", "j", "b", "z")
    _, N, IN, OUT = SHAPES["small"]
    given |= {"i": torch.rand(N, OUT, IN).double(), "j": torch.rand(N, OUT, OUT).double()}
    given |= {"b": torch.rand(N, OUT).double(), "z": torch.ones(N, OUT).double()}

    def run(leaves: dict[str, Tensor]) -> Tensor:
        y_seq, end = door("synapses")(
            leaves["x"], leaves["i"], weight=leaves["w"], decay=Decay(leaves["r"])
        )
        before = HetSynState(leaves["j"], leaves["b"], None, leaves["z"])
        z_seq, last = door("hetsyn_lif")(
            y_seq, before, weight=leaves["u"], decay=Decay(leaves["q"]),
            reset_decay=Decay(leaves["kappa"]), surrogate=SLOPE,
        )  # fmt: skip
        rest = (end * 0.3).sum() + (last.synapses * 0.7).sum() + (last.reset * 1.1).sum()
        return z_seq + rest / given["g"].sum()

    found = {}
    for way in ("truth", "two_pass"):
        with use(way):
            found[way] = gradients(given, run, names)[1]
    for name in names:
        assert far(found["two_pass"][name], found["truth"][name]) < TIGHT, name


@pytest.mark.skipif(native.OPENED is None, reason=native.PROBLEM)
def test_gradients_of_a_last_state_are_not_lost() -> None:
    given = case("small")
    found = []
    for way in ("truth", "cpu"):
        leaves = {n: t.clone().requires_grad_(n in "wruq") for n, t in given.items()}
        with use(way):
            y_seq, end = door("synapses")(leaves["x"], weight=leaves["w"], decay=Decay(leaves["r"]))
            _, last = door("hetsyn_lif")(
                y_seq, weight=leaves["u"], decay=Decay(leaves["q"]), surrogate=SLOPE
            )
        value = end.square().sum() + last.synapses.sum() + last.reset.sum()
        found.append(torch.autograd.grad(value, [leaves[n] for n in "wruq"]))
    for one, other in zip(*found, strict=True):
        assert far(other, one) < TIGHT


@pytest.mark.parametrize(
    ("dtype", "limit"), [(torch.float32, 1e-5), (torch.float64, 1e-12)], ids=str
)
def test_transforms_are_the_loop(dtype: torch.dtype, limit: float) -> None:
    T, N, IN, OUT = 100, 4, 12, 9
    x_seq = (torch.rand(T, N, IN) < 0.2).to(dtype)
    w, r = torch.randn(OUT, IN, dtype=dtype), torch.rand(OUT, IN, dtype=dtype)
    r[0, 0], r[1, 1] = 0.0, 1.0
    found = {}
    for way in ("truth", "spectral"):
        leaves = [t.clone().requires_grad_() for t in (x_seq, w, r)]
        with use(way):
            y_seq, end = door("synapses")(leaves[0], weight=leaves[1], decay=Decay(leaves[2]))
        g = torch.linspace(-1, 1, y_seq.numel(), dtype=dtype).view_as(y_seq)
        grads = torch.autograd.grad((y_seq * g).sum() + end.sum(), leaves)
        found[way] = y_seq.detach(), end.detach(), *grads
    for one, other in zip(found["spectral"], found["truth"], strict=True):
        assert far(one, other) < limit


@pytest.mark.parametrize("shape", [(5, 1), (1, 4), ()], ids=str)
def test_shared_decays_take_a_linear_map_and_integrators(shape: tuple[int, ...]) -> None:
    given = case("small", torch.float32)
    keep = 0.5 + 0.4 * torch.rand(shape)
    found = {}
    for way in ("truth", "shared"):
        leaves = [t.clone().requires_grad_() for t in (given["x"], given["w"], keep)]
        decay = Decay(leaves[2])
        run = door("synapses")
        if way == "truth":
            with use("truth"):
                y_seq, end = run(leaves[0], weight=leaves[1], decay=decay)
        else:
            assert explain("synapses", leaves[0], weight=leaves[1], decay=decay).startswith(
                "synapses: shared"
            )
            y_seq, end = run(leaves[0], weight=leaves[1], decay=decay)
        grads = torch.autograd.grad((y_seq * given["g"]).sum() + end.sum(), leaves)
        found[way] = y_seq.detach(), end.detach(), *grads
    for one, other in zip(found["shared"], found["truth"], strict=True):
        assert far(one, other) < 1e-5


def test_a_shared_leak_without_recurrence_is_an_integrator_and_a_neuron() -> None:
    x_seq, rho = torch.rand(30, 3, 4, 2), torch.rand(4, 1)
    found = {}
    for way in ("truth", None):
        leaves = [x_seq.clone().requires_grad_(), rho.clone().requires_grad_()]
        parts, state = [], None
        with use(way):
            for x in leaves[0].split(11):
                z, state = door("hetsyn_lif")(
                    x, state, leak=Decay(leaves[1]), reset_decay=Decay(0.9), surrogate=SLOPE
                )
                parts.append(z)
        z_seq = torch.cat(parts)
        found[way] = z_seq.detach(), *torch.autograd.grad(z_seq.square().sum(), leaves)
    assert served("hetsyn_lif", x_seq, leak=Decay(0.9)) == "shared"
    for one, other in zip(found["truth"], found[None], strict=True):
        assert far(one, other) < 1e-5


def served(op: str, *args: Any, **options: Any) -> str:
    return explain(op, *args, **options).split("\n")[0].split()[1].rstrip(":")


@pytest.mark.skipif(native.OPENED is None, reason=native.PROBLEM)
def test_the_choice_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    x_seq, w, r = torch.zeros(80, 2, 4), torch.zeros(3, 4), torch.full((3, 4), 0.5)
    call = {"weight": w, "decay": Decay(r)}
    assert served("synapses", x_seq, **call) == "cpu"
    assert served("synapses", x_seq, weight=w, decay=Decay(0.5)) == "shared"
    state = torch.zeros(2, 3, 4, requires_grad=True)
    told = explain("synapses", x_seq, state, **call)
    assert "two_pass" in told.split("\n")[0]
    assert "the carried state wants a gradient" in told
    assert "transforms start at rest" in told
    assert "below 64 the sweeps are as fast" in explain("synapses", x_seq[:9], **call)
    y_seq = torch.zeros(5, 2, 3)
    assert served("hetsyn_lif", y_seq) == "cpu"
    assert served("hetsyn_lif", y_seq, surrogate=Smooth(Sigmoid())) == "truth"
    shared = {"weight": torch.zeros(3, 3), "decay": Decay(0.5)}
    assert "recurrent decays are shared" in explain("hetsyn_lif", y_seq, **shared)
    monkeypatch.setattr(native, "OPENED", None)  # as where nothing is compiled
    assert served("synapses", x_seq, **call) == "spectral"
    assert served("synapses", x_seq[:9], **call) == "two_pass"
    assert served("hetsyn_lif", y_seq) == "two_pass"


def test_transforms_refuse_what_they_cannot() -> None:
    call = {"weight": torch.zeros(3, 4), "decay": Decay(torch.full((3, 4), 0.5))}
    with use("spectral"), pytest.raises(CannotServeError, match="carried on"):
        door("synapses")(torch.zeros(80, 2, 4), torch.zeros(2, 3, 4), **call)


@pytest.mark.parametrize("way", SWEEPS)
def test_a_second_derivative_is_refused(way: str) -> None:
    given = case("small", torch.float32)
    leaf = given["w"].requires_grad_()
    with use(way):
        y_seq, _ = door("synapses")(given["x"], weight=leaf, decay=Decay(given["r"]))
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(y_seq.sum(), leaf, create_graph=True)


@pytest.mark.skipif(native.OPENED is None, reason=native.PROBLEM)
@pytest.mark.parametrize("layout", ["batch first", "one image", "gaps", "empty", "columns"])
def test_layouts_of_the_input(layout: str) -> None:
    x_seq = {
        "batch first": torch.rand(3, 6, 5).transpose(0, 1),
        "one image": torch.rand(3, 5).expand(6, 3, 5),
        "gaps": torch.rand(6, 3, 10)[..., ::2],
        "empty": torch.rand(6, 0, 5),
        "columns": torch.rand(5, 6, 3).permute(1, 2, 0),
    }[layout]
    given = {"w": torch.randn(4, 5), "r": torch.rand(4, 5)}
    found = {}
    for way in ("truth", "cpu"):
        leaves = [
            x_seq.detach().requires_grad_(),
            *(t.clone().requires_grad_() for t in given.values()),
        ]
        with use(way):
            y_seq, _ = door("synapses")(leaves[0], weight=leaves[1], decay=Decay(leaves[2]))
            z_seq, _ = door("hetsyn_lif")(y_seq)
        found[way] = torch.autograd.grad((z_seq + y_seq).sum(), leaves)
    for one, other in zip(found["cpu"], found["truth"], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(native.OPENED is None, reason=native.PROBLEM)
def test_structures_have_the_size_of_their_mirrors() -> None:
    kinds = (compiled.SynapsesCall, compiled.SpikingCall)
    for which, kind in enumerate(kinds):
        assert native.opened().spikeloom_synapses_size(which) == ctypes.sizeof(kind)


@pytest.mark.parametrize("way", SWEEPS)
def test_nothing_that_grows_with_time_and_synapses_is_kept(way: str) -> None:
    T, N, IN, OUT = 50, 4, 30, 20
    x_seq = (torch.rand(T, N, IN) < 0.2).float()
    w, r = torch.randn(OUT, IN, requires_grad=True), torch.rand(OUT, IN, requires_grad=True)
    sizes: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes() // 4
        return tensor

    with use(way), torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        y_seq, _ = door("synapses")(x_seq, weight=w, decay=Decay(r))
        door("hetsyn_lif")(y_seq)
    assert sum(sizes.values()) < T * N * (IN + 4 * OUT) + 4 * OUT * IN
    assert max(sizes.values()) < T * OUT * IN
