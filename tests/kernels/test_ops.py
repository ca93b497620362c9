"""The kernels are operators of PyTorch: they register well, compile and export."""

import pytest
import torch
from torch import library, nn

from spikeloom.functional import factor
from spikeloom.kernels import door, use
from spikeloom.kernels.cpu import native
from spikeloom.kernels.cpu.neurons import ONE_POTENTIAL
from spikeloom.kernels.cpu.ops import KINDS, NOTHING, POTENTIAL, Numbers, Options
from spikeloom.layers import ALIF, LI, LIF, OverTime, ParametricLIF

pytestmark = pytest.mark.skipif(native.OPENED is None, reason=native.PROBLEM)
NUMBERS = Numbers(0.5, 0.5, 0.25, 1.0, 1.0, 0.5, alpha=2.0, slope=2.0)
CHECKS = (
    "test_schema",
    "test_autograd_registration",
    "test_faketensor",
    "test_aot_dispatch_static",
)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("learnt", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_registration(kind, learnt):
    two = kind in ("cuba_lif", "alif")
    state = torch.randn(3, 5, requires_grad=True)
    second = torch.randn(3, 5, requires_grad=True) if two else None
    keep = torch.full((5,), 0.5, requires_grad=True) if learnt else None
    trace = POTENTIAL if kind in ONE_POTENTIAL else NOTHING
    x_seq = torch.randn(4, 3, 5, requires_grad=True)
    values = keep, None, None, None
    operator = getattr(torch.ops.spikeloom, kind).default
    arguments = (x_seq, state, second, *values, list(NUMBERS), list(Options(trace=trace)))
    library.opcheck(operator, arguments, test_utils=CHECKS)


def network(**options):
    torch.manual_seed(0)
    return nn.Sequential(
        OverTime(nn.Conv2d(2, 3, 3)), LIF(**options), OverTime(nn.Flatten()),
        OverTime(nn.Linear(48, 5)), ParametricLIF(), OverTime(nn.Linear(5, 4)), ALIF(), LI(tau=2.0),
    )  # fmt: skip


def gradients(model, x_seq, run=None):
    (run or model)(x_seq).square().sum().backward()
    found = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("memory", ["off", "low"])
def test_compiles_into_one_graph_with_the_same_gradients(memory):
    model, x_seq = network(), torch.randn(3, 2, 2, 6, 6)
    with use("cpu", memory=memory):
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
        assert torch.equal(compiled(x_seq), model(x_seq))
        for ours, theirs in zip(
            gradients(model, x_seq, compiled), gradients(model, x_seq), strict=True
        ):
            torch.testing.assert_close(ours, theirs)


@pytest.mark.filterwarnings("ignore")
def test_exports_with_the_operator_in_the_graph():
    model, x_seq = network().eval(), torch.randn(3, 2, 2, 6, 6)
    exported = torch.export.export(model, (x_seq,))
    assert "spikeloom.lif" in exported.graph_module.code
    assert torch.equal(exported.module()(x_seq), model(x_seq))


def test_fake_tensors_pass_without_touching_memory():
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode():
        x_seq = torch.empty(4, 2, 3, 5, 7).requires_grad_()
        out, v = door("lif")(x_seq)
        assert (out.shape, v.shape) == (x_seq.shape, x_seq.shape[1:])


def test_a_second_derivative_is_refused():
    x_seq = torch.randn(3, 2, 4, requires_grad=True)
    out, _ = door("lif")(x_seq)
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(out.sum(), x_seq, create_graph=True)


def test_no_trace_is_kept_without_gradients():
    keep = torch.tensor(0.5, requires_grad=True)
    with torch.no_grad():
        out, v = door("lif")(torch.randn(3, 2, 4), decay=factor(keep))
    assert not out.requires_grad
    assert not v.requires_grad


@pytest.mark.parametrize(("memory", "kept"), [("off", 4), ("rounded", 2), ("low", 0)])
def test_memory_says_how_much_is_kept_beside_the_input(memory, kept):
    x_seq = torch.randn(8, 4, 16, requires_grad=True)
    found = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with use("cpu", memory=memory), torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        door("lif")(x_seq)
    found.pop(x_seq.untyped_storage().data_ptr(), None)
    assert sum(found.values()) == kept * x_seq.numel()
