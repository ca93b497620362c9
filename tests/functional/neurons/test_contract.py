"""What every neuron function keeps to, whatever its equation."""

import pytest
import torch
from torch import Tensor

from spikeloom.functional import NO_DECAY, encode, factor


def inputs(*shape, seed=0, dtype=torch.float32):
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def same(ours, theirs):
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_two_chunks_with_carried_state_equal_the_whole(case):
    neuron, reset = case
    x_seq = inputs(9, 2, 3)
    options = neuron.options(reset)
    whole, end = neuron(x_seq, **options)
    first, middle = neuron(x_seq[:4], **options)
    second, last = neuron(x_seq[4:], middle, **options)
    assert torch.equal(torch.cat((first, second)), whole)
    assert same(last, end)


def test_gradients_cross_the_carried_state(case):
    neuron, reset = case
    x_seq = inputs(6, 2, 3, dtype=torch.float64)
    options = neuron.options(reset)

    def grad(run):
        leaf = x_seq.clone().requires_grad_()
        run(leaf).sum().backward()
        return leaf.grad

    def in_chunks(leaf):
        first, middle = neuron(leaf[:2], **options)
        return torch.cat((first, neuron(leaf[2:], middle, **options)[0]))

    whole = grad(lambda leaf: neuron(leaf, **options)[0])
    torch.testing.assert_close(grad(in_chunks), whole)


def test_samples_do_not_meet(case):
    neuron, reset = case
    x_seq = inputs(5, 4, 3)
    whole, _ = neuron(x_seq, **neuron.options(reset))
    alone = [neuron(x_seq[:, n : n + 1], **neuron.options(reset))[0] for n in range(4)]
    assert torch.equal(torch.cat(alone, 1), whole)


def test_state_given_is_not_written_to(case):
    neuron, reset = case
    x_seq = inputs(4, 2, 3)
    states = tuple(inputs(2, 3, seed=k) for k in range(neuron.states))
    kept = [state.clone() for state in states]
    neuron(x_seq, states, **neuron.options(reset))
    assert same(states, kept)


def test_trace_and_step_agree_with_the_plain_call(traced_case):
    neuron, reset = traced_case
    x_seq = inputs(5, 2, 3)
    options = neuron.options(reset)
    out, states = neuron(x_seq, **options)
    trace = neuron.trace(x_seq, **options)
    assert torch.equal(trace.spike_seq, out)
    names = getattr(neuron.run(x_seq, **options)[1], "_fields", ("v",))
    assert same([getattr(trace, f"{name}_seq")[-1] for name in names], states)

    _, before = neuron(x_seq[:4], **options)
    spike, h, after = neuron.step(x_seq[4], before[0] if len(before) == 1 else before, **options)
    assert torch.equal(spike, out[4])
    assert torch.equal(h, trace.h_seq[4])
    assert same((after,) if isinstance(after, Tensor) else after, states)


@pytest.mark.parametrize("decay_input", [False, True])
def test_parameters_per_channel_equal_a_loop_over_channels(case, tensor_options, decay_input):
    neuron, reset = case
    x_seq = inputs(6, 2, 3, 2, 2, dtype=torch.float64)
    options, _ = tensor_options(neuron, (3, 1, 1), decay_input=decay_input)
    whole, states = neuron(x_seq, **options, **neuron.options(reset))

    for c in range(3):
        at_c = {
            name: type(value)(value.keep[c].item(), value.decay_input)
            if hasattr(value, "keep")
            else value[c].item()
            for name, value in options.items()
        }
        alone, ends = neuron(x_seq[:, :, c], **at_c, **neuron.options(reset))
        assert torch.equal(whole[:, :, c], alone)
        assert same([state[:, c] for state in states], ends)


def test_parameters_per_neuron_equal_a_loop_over_neurons(case, tensor_options):
    neuron, reset = case
    x_seq = inputs(6, 2, 2, 2, 1, dtype=torch.float64)
    options, _ = tensor_options(neuron, (2, 2, 1), decay_input=True)
    whole, _ = neuron(x_seq, **options, **neuron.options(reset))

    for c, h in [(0, 0), (0, 1), (1, 0), (1, 1)]:
        at = {
            name: type(value)(value.keep[c, h], value.decay_input)
            if hasattr(value, "keep")
            else value[c, h]
            for name, value in options.items()
        }
        alone, _ = neuron(x_seq[:, :, c, h], **at, **neuron.options(reset))
        assert torch.equal(whole[:, :, c, h], alone)


def test_every_tensor_parameter_gets_a_gradient(case, tensor_options):
    neuron, reset = case
    options, leaves = tensor_options(neuron, (3, 1, 1), decay_input=True)
    out, _ = neuron(inputs(6, 2, 3, 2, 2), **options, **neuron.options(reset))
    out.sum().backward()
    assert all(leaf.grad is not None and leaf.grad.abs().min() > 0 for leaf in leaves)


def test_channels_last_stays_channels_last(neuron):
    x_seq = inputs(8, 3, 4, 5).to(memory_format=torch.channels_last).view(4, 2, 3, 4, 5)
    x_seq.requires_grad_()
    out, states = neuron(x_seq)
    # Asked for directly: .grad of a leaf always takes the layout of the leaf.
    (grad,) = torch.autograd.grad(out, x_seq, out.detach())
    assert out.stride() == grad.stride() == x_seq.stride()
    assert all(s.is_contiguous(memory_format=torch.channels_last) for s in states)


def test_a_repeated_step_acts_like_its_copies(case):
    neuron, reset = case

    def run(repeat):
        x = inputs(2, 3, dtype=torch.float64).requires_grad_()
        out, states = neuron(repeat(x), **neuron.options(reset))
        sum(part.sum() for part in (out, *states)).backward()
        return out, *states, x.grad

    copied = run(lambda x: x.repeat(5, 1, 1))
    for ours, theirs in zip(run(lambda x: encode.constant(x, 5)), copied, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_dtype_is_kept(neuron, dtype):
    out, states = neuron(inputs(3, 2, 4).to(dtype))
    assert {out.dtype, *(state.dtype for state in states)} == {dtype}


@pytest.mark.parametrize("shape", [(1, 2), (1, 1, 3), (4, 0, 3), (4, 2, 0)])
def test_odd_sizes(neuron, shape):
    out, states = neuron(torch.randn(shape))
    assert out.shape == shape
    assert all(state.shape == shape[1:] for state in states)


@pytest.mark.parametrize("shape", [(0, 2, 3), (5,), ()])
def test_a_missing_time_axis_is_told(neuron, shape):
    with pytest.raises(ValueError, match="time-first sequence"):
        neuron(torch.zeros(shape))


def test_state_of_another_batch_is_refused(neuron):
    _, states = neuron(torch.randn(3, 4, 5))
    with pytest.raises(ValueError, match=r"carried state has shape \(4, 5\).*\(2, 5\)"):
        neuron(torch.randn(3, 2, 5), states)


def test_unknown_reset_is_named(spiking):
    with pytest.raises(ValueError, match="reset must be 'hard', 'soft' or 'none', got 'sof'"):
        spiking(torch.randn(3, 2), reset="sof")


@pytest.mark.parametrize("value", [0.0, -0.0, 1e-45, -1e-45, 1e30, -1e30, 3e37, -3e37])
def test_extreme_inputs_stay_finite(case, value):
    neuron, reset = case
    x_seq = torch.full((6, 2, 3), value, requires_grad=True)
    out, states = neuron(x_seq, **neuron.options(reset))
    sum(part.sum() for part in (out, *states)).backward()
    assert all(part.isfinite().all() for part in (out, *states, x_seq.grad))
    if neuron.spiking:
        assert set(out.unique().tolist()) <= set(neuron.levels)


def test_a_huge_input_is_forgotten_at_the_hard_reset(spiking):
    x_seq = torch.zeros(6, 1, 1)
    x_seq[0] = 1e30
    options = {name: factor(0.0) for name in spiking.decays if name == "synapse"}
    _, state = spiking.run(x_seq, reset="hard", **options)
    assert getattr(state, "v", state).item() == 0


@pytest.mark.parametrize("threshold", [1e-6, 1e6])
def test_thresholds_far_from_1(spiking_case, threshold):
    neuron, reset = spiking_case
    x_seq = torch.full((2, 1, 1), threshold)
    options = dict.fromkeys(neuron.decays, NO_DECAY)
    out, _ = neuron(x_seq, v_threshold=threshold, reset=reset, **options)
    assert out[0].item() == 1
    out, _ = neuron(0.999 * x_seq, v_threshold=threshold, reset=reset, **options)
    assert out[0].item() == 0


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.uint8, torch.complex64])
def test_input_that_is_not_floating_point_is_refused(neuron, dtype):
    with pytest.raises(ValueError, match=rf"x_seq is {dtype}.*floating point.*x_seq\.float\(\)"):
        neuron(torch.ones(3, 2, 4, dtype=dtype))


@pytest.mark.parametrize("shape", [(1, 1, 1, 4), (1, 1, 4), (5, 1), (3,)], ids=str)
def test_values_that_would_change_the_shape_of_a_step_are_refused(neuron, shape):
    # (5, 1) would silently make five samples of one
    value = torch.full(shape, 0.5)
    for name in (*neuron.decays, *neuron.values):
        given = factor(value) if name in neuron.decays else value
        with pytest.raises(ValueError, match=rf"{name} of shape .* does not broadcast to a step"):
            neuron(torch.ones(3, 1, 4), **{name: given})


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_is_float32_rounded_at_the_end(case, tensor_options, half):
    neuron, reset = case
    options, _ = tensor_options(neuron, (4,), decay_input=True)
    options = {
        name: type(value)(value.keep.float(), value.decay_input)
        if hasattr(value, "keep")
        else value.float()
        for name, value in options.items()
    }
    x_seq = inputs(9, 2, 4).to(half)
    out, states = neuron(x_seq, **options, **neuron.options(reset))
    want, ends = neuron(x_seq.float(), **options, **neuron.options(reset))
    assert {out.dtype, *(state.dtype for state in states)} == {half}
    assert torch.equal(out, want.to(half))
    assert same(states, [end.to(half) for end in ends])
    if neuron.trace:
        trace = neuron.trace(x_seq, **options, **neuron.options(reset))
        assert {part.dtype for part in trace} == {half}
        assert torch.equal(trace.spike_seq, out)
