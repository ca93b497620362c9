"""The door picks, explains, can be forced, and hides no error."""

import inspect

import pytest
import torch

from spikeloom import functional
from spikeloom.functional import Smooth, Surrogate, factor
from spikeloom.kernels import CannotServeError, door, explain, use
from spikeloom.kernels.cpu import native
from spikeloom.kernels.door import _door
from spikeloom.kernels.setting import current
from spikeloom.kernels.table import TABLE, Implementation

X = torch.randn(3, 2, 4)
library_needed = pytest.mark.skipif(native.OPENED is None, reason=native.PROBLEM)


@pytest.mark.parametrize("op", TABLE)
def test_the_door_has_the_name_and_signature_of_the_truth(op):
    truth = getattr(functional, op)
    assert inspect.signature(door(op)) == inspect.signature(truth)
    assert door(op).__name__ == truth.__name__
    assert TABLE[op][-1].run is truth


def test_a_door_is_made_once():
    assert door("lif") is door("lif")


def test_an_unknown_operator_is_told_with_those_there_are():
    with pytest.raises(ValueError, match=r"no operator 'lfi'.*lif"):
        door("lfi")


@library_needed
def test_explain_names_the_choice_and_the_refusals():
    assert explain("lif", X).startswith("lif: cpu (")
    text = explain("lif", X.double())
    assert text.splitlines() == [
        "lif: truth",
        "  not cpu: x_seq is torch.float64, not float32 or bfloat16",
    ]


class Own(Surrogate):
    def slope(self, z):
        return z

    def curve(self, z):
        return z


@library_needed
@pytest.mark.parametrize(
    ("args", "options", "reason"),
    [
        ((X.to("meta"),), {}, "on meta"),
        ((X.double(),), {}, "float64"),
        ((X.to_sparse(),), {}, "sparse"),
        ((X, X[0].double()), {}, "a state is torch.float64"),
        ((X,), {"decay": factor(torch.full((4,), 0.5, dtype=torch.float64))}, "decay is torch.f"),
        ((X,), {"v_threshold": torch.ones(3)}, "does not broadcast"),
        ((X,), {"v_threshold": torch.ones(2, 2, 4)}, "does not broadcast"),
        ((X,), {"surrogate": Own()}, "no kernel for the surrogate"),
        ((X,), {"surrogate": Smooth(functional.Arctan())}, "no kernel for the surrogate"),
        ((X,), {"reset": "sof"}, "reset must be"),
        ((X[:, 0, 0],), {}, "no sequence"),
    ],
)
def test_what_the_kernels_cannot_do_is_refused_by_name(args, options, reason):
    assert reason in explain("lif", *args, **options)
    with use("cpu"), pytest.raises(CannotServeError, match=reason):
        door("lif")(*args, **options)


def test_refusals_of_the_truth_come_through():
    with pytest.raises(ValueError, match="reset must be 'hard', 'soft' or 'none', got 'sof'"):
        door("lif")(X, reset="sof")
    with pytest.raises(ValueError, match="carried state has shape"):
        door("lif")(X, torch.zeros(5, 4))
    with pytest.raises(ValueError, match="time-first sequence"):
        door("lif")(X[:, 0, 0])


@library_needed
def test_inside_torch_func_the_truth_is_chosen():
    seen = []

    def loss(x):
        seen.append(explain("lif", x))
        return x.sum()

    torch.func.grad(loss)(X)
    assert "not cpu: a transform of torch.func is active" in seen[0]


def test_the_truth_can_be_forced():
    with use("truth"):
        assert explain("lif", X).startswith("lif: truth (asked for: truth)")


def test_a_forced_name_that_does_not_exist_raises():
    with (
        use("gpu"),
        pytest.raises(CannotServeError, match="no implementation 'gpu', only cpu, truth"),
    ):
        door("lif")(X)


def test_settings_nest_and_are_restored_after_an_exception():
    def fail():
        with use("truth", memory="low"):
            with use(memory="off"):
                assert (current().name, current().memory) == ("truth", "off")
            assert current().memory == "low"
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert (current().name, current().memory) == (None, "auto")


def test_unknown_memory_is_told():
    with (
        pytest.raises(ValueError, match="memory must be one of auto, low, off, rounded"),
        use(memory="x"),
    ):
        pass


def test_an_error_inside_a_kernel_is_not_hidden():
    def broken(*args, **options):
        raise RuntimeError("broken kernel")

    truth = TABLE["lif"][-1]
    broken_one = Implementation("cpu", broken, lambda *a, **o: (), lambda: "cpu")
    with pytest.raises(RuntimeError, match="broken kernel"):
        _door("lif", broken_one, truth)(X)
