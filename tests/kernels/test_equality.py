"""Every fast implementation against the truth: outputs, final states and all gradients.

The cases walk the door's table. In the exact lane inputs lie on a dyadic grid, decays are powers of
two and T is short, so that sums round nowhere and everything must agree to the bit. In the random
lane outputs and states must still agree to the bit in float32, because the kernels repeat the
operations of the truth in its order; gradients agree within rounding. In bfloat16 both compute in
float32 and round at the end, whatever the dtype of thresholds and decays.
"""

import pytest
import torch

from spikeloom.kernels import use
from spikeloom.kernels.cpu import native
from spikeloom.kernels.table import TABLE
from tests.kernels.cases import DYADIC, OPTIONS, SMOOTH, covering, outcome

pytestmark = pytest.mark.usefixtures("fresh_memory_is_nan")

NEURONS = {op: listed for op, listed in TABLE.items() if op in OPTIONS}  # others: own files
FAST = [(op, i.name) for op, listed in NEURONS.items() for i in listed if i.name != "truth"]
LANES = [(op, name, lane) for op, name in FAST for lane in ("exact", "random")]
PARTS = 6  # so that a failure names a part of the rows


def rows_of(op: str, lane: str):
    options = dict(OPTIONS[op])
    if op != "li":
        options["surrogate"] = DYADIC if lane == "exact" else SMOOTH + DYADIC
    return covering(options, seed=len(op))


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize(("op", "name", "lane"), LANES)
def test_equals_the_truth(op, name, lane, part, threads):
    truth = TABLE[op][-1].run
    fast = next(i for i in TABLE[op] if i.name == name)
    for seed, row in enumerate(rows_of(op, lane)[part::PARTS]):
        threads(row["threads"])
        native.variant(row["variant"])
        want = outcome(truth, op, row, lane == "exact", seed)
        with use(memory=row["memory"]):
            got = outcome(fast.run, op, row, lane == "exact", seed)
        try:
            compare(got, want, row, lane)
        except AssertionError as error:
            raise AssertionError(f"{op} by {name}, row {row}, seed {seed}: {error}") from error


def compare(got, want, row, lane):
    dtype = row["dtype"]
    assert got[0].dtype == got[1][0].dtype == dtype
    for ours, theirs in zip((got[0], *got[1]), (want[0], *want[1]), strict=True):
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs), "outputs or states"
    for leaf, theirs in want[2].items():
        ours = got[2][leaf]
        if ours is None or theirs is None:
            assert not any(g is not None and g.count_nonzero() for g in (ours, theirs)), leaf
        elif lane == "exact" and dtype == torch.float32:
            assert torch.equal(ours, theirs), f"gradient of {leaf}"
        else:
            near(ours, theirs, leaf, dtype)


def near(ours, theirs, leaf, dtype, steepness=1.0, terms=1):
    # Sums over many neurons and steps cancel: what is left is compared with their size, and that
    # of a sum of so many terms of either sign is of the order of the terms' square root. Where
    # potentials themselves may round differently, a slope of steepness alpha turns an error of
    # the potential into one alpha times as large, relative to its own size.
    rounding = (1e-5 if dtype == torch.float32 else 1e-2) * max(1.0, steepness)
    size = max(theirs.abs().max().item() if theirs.numel() else 0.0, terms**0.5)
    torch.testing.assert_close(
        ours.float(), theirs.float(), rtol=rounding, atol=rounding * max(1.0, size),
        msg=lambda text: f"gradient of {leaf}: {text}",
    )  # fmt: skip


def test_rows_make_every_pair_of_values_meet():
    options = {"a": (1, 2, 3), "b": (1, 2), "c": (1, 2, 3, 4)}
    rows = covering(options, seed=0)
    for one, other in (("a", "b"), ("a", "c"), ("b", "c")):
        met = {(row[one], row[other]) for row in rows}
        assert len(met) == len(options[one]) * len(options[other])
