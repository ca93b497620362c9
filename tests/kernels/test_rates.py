"""LIF that notes its rate, alone and after a batch norm, against the readable functions.

As for the other neurons: in the exact lane nothing rounds and all must agree to the bit; in the
random lane spikes and potentials must still agree to the bit without a norm, and sums of slopes to
rounding. After a norm a spike may turn where the potential is near the threshold: such neurons are
counted and left out.
"""

import pytest
import torch

from spikeloom.functional import Decay, RateState, batch_statistics, bn_lif_rate, lif_rate
from spikeloom.kernels import CannotServeError, door, explain, use
from spikeloom.kernels.cpu import native, rates
from tests.kernels.cases import DYADIC, SHAPES, SMOOTH, SPIKING, VALUES, Draw, covering, sequence

pytestmark = pytest.mark.usefixtures("fresh_memory_is_nan")

OPTIONS = SPIKING | {
    "shape": tuple(SHAPES),
    "dtype": (torch.float32, torch.bfloat16),
    "keep": VALUES,
    "decay_input": (False, True),
    "state": (False, True),
    "threads": (1, 2, 3),
    "variant": ("avx512", "avx2", "baseline"),
}
PARTS = 4


def neuron(row, draw, step):
    return {
        "decay": Decay(draw.value("keep", row["keep"], step, 0.3, 0.95), row["decay_input"]),
        "v_threshold": draw.value("v_threshold", row["v_threshold"], step, 0.5, 1.2),
        "reset": row["reset"][0],
        "v_reset": row["reset"][1],
    } | {name: row[name] for name in ("detach_reset", "strict", "surrogate")}


def earlier(row, draw, step):
    """A state as three steps may have left it."""
    if not row["state"]:
        return None
    wide = Draw(draw.exact, torch.float32, draw.generator)
    v, p, gain_sum = (wide.numbers(step, 0.5, 0.0) for _ in range(3))
    return RateState(v, p, torch.randint(4, step, generator=draw.generator).float(), gain_sum, 3)


def outcome(run, row, exact, seed):
    draw = Draw(exact, row["dtype"], torch.Generator().manual_seed(seed))
    x_seq = sequence(draw, row["shape"]).detach()
    step = tuple(x_seq.shape[1:])
    return run(x_seq, earlier(row, draw, step), **neuron(row, draw, step))


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("lane", ["exact", "random"])
def test_equals_the_truth(lane, part, threads):
    exact = lane == "exact"
    options = OPTIONS | {"surrogate": DYADIC if exact else SMOOTH + DYADIC}
    for seed, row in enumerate(covering(options, seed=5)[part::PARTS]):
        threads(row["threads"])
        native.variant(row["variant"])
        (want, after), (got, state) = (
            outcome(run, row, exact, seed) for run in (lif_rate, rates.lif_rate)
        )
        assert got.dtype == want.dtype == row["dtype"]
        assert torch.equal(got, want), row
        assert state.steps == after.steps
        assert all(part.dtype == torch.float32 for part in state[:4])
        assert torch.equal(state.v, after.v), row
        assert torch.equal(state.spike_sum, after.spike_sum), row
        for ours, theirs in ((state.p, after.p), (state.gain_sum, after.gain_sum)):
            if exact:
                assert torch.equal(ours, theirs), row
            else:
                torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


NORMED = {
    "image": (3, 2, 5, 3, 7),
    "channels last": (4, 3, 20, 5, 7),
    "flat": (5, 6, 37),
    "constant": (4, 3, 6, 5, 5),
    "one step": (1, 3, 17, 4, 5),
    "shared": (4, 3, 37, 19, 21),
}
NORM_OPTIONS = OPTIONS | {
    "shape": tuple(NORMED),
    "surrogate": SMOOTH,
    "affine": ("both", "weight", "none"),
    "keep": ("number", "scalar", "channel", "neuron", "all"),
    "v_threshold": ("number", "scalar", "channel", "neuron", "all"),
}


def normed_outcome(run, row, seed):
    draw = Draw(False, row["dtype"], torch.Generator().manual_seed(seed))
    T, N, C, *space = NORMED[row["shape"]]
    x_seq = draw.numbers((1 if row["shape"] == "constant" else T, N, C, *space), shift=1.5)
    if row["shape"] in ("channels last", "shared"):
        flat = x_seq.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        x_seq = flat.unflatten(0, (T, N))
    x_seq = x_seq.expand(T, *x_seq.shape[1:])
    weight, bias = torch.rand(C, generator=draw.generator) + 0.5, torch.zeros(C)
    affine = weight if row["affine"] != "none" else None, bias if row["affine"] == "both" else None
    running = torch.zeros(C), torch.ones(C)
    step = (N, C, *space)
    options = neuron(row, draw, step)
    state = earlier(row, draw, step)
    if run is not bn_lif_rate:
        return *run(x_seq, *affine, *running, state, **options), running
    # In float32, as the kernel computes after reading half precision.
    spikes, *rest = run(x_seq.float(), *affine, *running, state, **options)
    return spikes.to(x_seq.dtype), *rest, running


@pytest.mark.parametrize("part", range(PARTS))
def test_equals_norm_then_neurons(part, threads):
    rows = covering(NORM_OPTIONS, seed=6)[part::PARTS]
    turned = total = 0
    for seed, row in enumerate(rows):
        threads(row["threads"])
        native.variant(row["variant"])
        want, after, mean, rstd, running = normed_outcome(bn_lif_rate, row, seed)
        got, state, *found, moved = normed_outcome(rates.bn_lif_rate, row, seed)
        torch.testing.assert_close(found, [mean, rstd], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(moved, running, rtol=1e-4, atol=1e-5)
        same = (got == want).all(0)
        turned, total = turned + int((~same).sum()), total + same.numel()
        sharp = 10 * row["surrogate"].alpha
        for ours, theirs in zip(state[:4], after[:4], strict=True):
            torch.testing.assert_close(ours[same], theirs[same], rtol=1e-3, atol=1e-5 * sharp * 10)
    assert turned <= total * 1e-3


def test_results_do_not_depend_on_threads(threads):
    x_seq, running = torch.randn(5, 7, 24, 17, 13), (torch.zeros(24), torch.ones(24))

    def run():
        spikes, state = rates.lif_rate(x_seq)
        fused, normed, *statistics = rates.bn_lif_rate(x_seq, None, None, *running)
        return spikes, *state[:4], fused, *normed[:4], *statistics

    threads(1)
    alone = run()
    for number in (2, 3):
        threads(number)
        assert all(map(torch.equal, run(), alone))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pieces_leave_what_the_whole_leaves(dtype):
    x_seq, state = 2 * torch.randn(6, 3, 70).to(dtype), None
    spikes, whole = rates.lif_rate(x_seq, reset="soft")
    pieces = []
    for piece in x_seq.split(1):
        out, state = rates.lif_rate(piece, state, reset="soft")
        pieces.append(out)
    assert torch.equal(torch.cat(pieces), spikes)
    assert all(map(torch.equal, state[:4], whole[:4]))
    assert state.steps == 6


def test_a_repeated_step_has_the_statistics_of_all_its_copies():
    x = torch.randn(3, 4, 5, 5)
    repeated, copied = (torch.zeros(4), torch.ones(4)), (torch.zeros(4), torch.ones(4))
    y, *ours = batch_statistics(x.expand(4, *x.shape), None, None, *repeated)
    z, *theirs = batch_statistics(x.repeat(4, 1, 1, 1, 1), None, None, *copied)
    torch.testing.assert_close((y, *ours, *repeated), (z, *theirs, *copied))
    assert y.stride(0) == 0


def test_nan_and_infinity_go_where_they_go_in_the_truth():
    x_seq = torch.randn(3, 2, 40)
    x_seq[1, 0, 3], x_seq[0, 1, 4], x_seq[2, 1, 5] = float("nan"), float("inf"), -float("inf")
    (want, after), (got, state) = lif_rate(x_seq), rates.lif_rate(x_seq)
    torch.testing.assert_close((got, *state[:4]), (want, *after[:4]), equal_nan=True)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"x_seq": torch.randn(3, 2, 4).double()}, "float64"),
        ({"state": lif_rate(torch.randn(1, 2, 4).double())[1]}, "a state is torch.float64"),
        ({"reset": "up"}, "reset must be"),
    ],
)
def test_what_the_kernel_cannot_do_is_refused(change, reason):
    given = {"x_seq": torch.randn(3, 2, 4)} | change
    with use("cpu"), pytest.raises(CannotServeError, match=reason):
        door("lif_rate")(**given)


def test_the_kernel_is_what_runs():
    x_seq = torch.randn(3, 2, 4)
    assert explain("lif_rate", x_seq).startswith("lif_rate: cpu")
    running = torch.zeros(4), torch.ones(4)
    assert explain("bn_lif_rate", x_seq, None, None, *running).startswith("bn_lif_rate: cpu")
