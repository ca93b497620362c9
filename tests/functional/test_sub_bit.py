"""Sub-bit weights and OS-Quant against the numbers of their specification."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from spikeloom.functional.sub_bit import (
    PATTERNS,
    Normalise,
    binary_weight,
    codebook_bits,
    codeword_conv2d,
    index_bits,
    mean_size,
    nearest_codeword,
    operations,
    outliers,
    pattern,
    pattern_number,
    signs,
    sub_bit_weight,
    tame_outliers,
)

ALL = pattern(torch.arange(PATTERNS))
# Inputs, outputs and side of the output of the 3x3 layers of a ResNet-18 for images of 224 x 224.
LAYERS = [(64, 64, 56)] * 4 + [
    layer
    for c, side in ((128, 28), (256, 14), (512, 7))
    for layer in [(c // 2, c, side), *[(c, c, side)] * 3]
]
SPIKE = torch.tensor([0.1, -0.1, 0.1, -0.1, 5.0, -0.1, 0.1, -0.1, 0.1])


def random_book(bits: int, seed: int = 0) -> Tensor:
    drawn = torch.randperm(PATTERNS, generator=torch.Generator().manual_seed(seed))
    return pattern(drawn[: 2**bits])


def test_with_nine_bits_every_kernel_gets_its_signs() -> None:
    kernels = torch.randn(20_000, 9, dtype=torch.float64)
    assert torch.equal(ALL.double()[nearest_codeword(kernels, ALL)], kernels.sign())
    assert torch.equal(ALL[pattern_number(kernels)].double(), kernels.sign())


@pytest.mark.parametrize("bits", [4, 5, 6])
def test_the_nearest_codeword_has_the_largest_product(bits: int) -> None:
    kernels, book = torch.randn(2_000, 9, dtype=torch.float64), random_book(bits).double()
    distances = (kernels[:, None] - book).square().sum(2)
    assert torch.equal(nearest_codeword(kernels, book), distances.argmin(1))


def test_of_equally_near_codewords_the_lowest_is_taken() -> None:
    book = torch.ones(3, 9)
    book[1:, 0] = -1
    kernels = torch.ones(4, 9)
    kernels[:, 0] = 0.0
    assert nearest_codeword(kernels, book).tolist() == [0] * 4
    assert nearest_codeword(torch.zeros(2, 9), book).tolist() == [0, 0]
    assert torch.equal(signs(torch.tensor([0.0, -0.0, -1.0])), torch.tensor([1.0, 1.0, -1.0]))


def test_autocast_changes_no_choice() -> None:
    kernels, book = torch.randn(5_000, 9), random_book(6)
    with torch.autocast("cpu", torch.bfloat16):
        there = nearest_codeword(kernels, book)
    assert torch.equal(there, nearest_codeword(kernels, book))


def test_storage_of_resnet18() -> None:
    weights = sum(9 * a * b for a, b, _ in LAYERS)
    assert weights == 10_985_472
    stored = {bits: index_bits(weights, bits) / 1e6 for bits in (9, 6, 5, 4)}
    assert stored == pytest.approx({9: 10.985, 6: 7.324, 5: 6.103, 4: 4.882}, abs=1e-3)
    books = {bits: len(LAYERS) * codebook_bits(bits) for bits in (6, 5, 4)}
    assert books == {6: 9216, 5: 4608, 4: 2304}


def test_operations_of_resnet18() -> None:
    found = {
        bits: sum(operations(a, b, side**2, bits) for a, b, side in LAYERS) // 1e6
        for bits in (None, 6, 5, 4)
    }
    assert found == {None: 1676, 6: 883, 5: 501, 4: 297}, "millions, cut off as published"


@pytest.mark.parametrize(("stride", "padding"), [(1, 1), (2, 1), (1, 0)])
def test_a_shared_convolution_equals_the_direct_one(stride: int, padding: int) -> None:
    x, book = torch.randn(2, 5, 8, 8), random_book(4)
    index, scale = torch.randint(16, (24, 5)), torch.rand(24)
    weight = scale.view(-1, 1, 1, 1) * book[index].view(24, 5, 3, 3)
    want = F.conv2d(x, weight, stride=stride, padding=padding)
    found = codeword_conv2d(x, index, book, scale, stride=stride, padding=padding)
    assert (found - want).abs().max() < 1e-5


def test_gradients_are_those_of_a_loop() -> None:
    latent = torch.randn(6, 3, 9, dtype=torch.float64).requires_grad_()
    proxy = random_book(4).double().requires_grad_()
    index, scale = torch.randint(16, (6, 3)), torch.rand(6, dtype=torch.float64)
    g = torch.randn(6, 3, 9, dtype=torch.float64)
    weight = sub_bit_weight(latent, proxy, index, scale)
    weight.backward(g)
    kernels, book = torch.zeros_like(latent), torch.zeros_like(proxy)
    for o in range(6):
        for c in range(3):
            kernels[o, c] = scale[o] * g[o, c] * (latent[o, c].abs() <= 1)
            book[index[o, c]] += scale[o] * g[o, c]
    assert torch.equal(weight, scale.view(-1, 1, 1) * proxy[index])
    torch.testing.assert_close(latent.grad, kernels)
    torch.testing.assert_close(proxy.grad, book)
    assert (latent.abs() > 1).any()
    assert (latent.grad[latent.abs() > 1] == 0).all()


def test_binary_weights_are_scaled_signs() -> None:
    raw = torch.tensor([[0.5, -2.0, 0.0], [0.1, 0.1, -0.1]], requires_grad=True)
    scale = mean_size(raw)
    torch.testing.assert_close(scale, torch.tensor([2.5 / 3, 0.1]))
    weight = binary_weight(raw, scale)
    assert torch.equal(weight, scale[:, None] * torch.tensor([[1.0, -1, 1], [1, 1, -1]]))
    weight.backward(torch.ones(2, 3))
    each = scale[:, None].expand(2, 3).clone()
    each[0, 1] = 0
    torch.testing.assert_close(raw.grad, each)


def test_fences_are_those_of_linear_quartiles() -> None:
    kernels = torch.randn(500, 9, dtype=torch.float64)
    first, third = kernels.quantile(torch.tensor([0.25, 0.75], dtype=torch.float64), 1)
    reach = 1.5 * (third - first)
    far = (kernels < (first - reach)[:, None]) | (kernels > (third + reach)[:, None])
    assert torch.equal(outliers(kernels), far)
    assert outliers(SPIKE).tolist() == [False] * 4 + [True] + [False] * 4


@pytest.mark.parametrize(("normalise", "book_row"), [(None, 1), ("none", 1), ("kernel_median", 0)])
def test_the_kernel_of_the_specification(normalise: Normalise | None, book_row: int) -> None:
    right = SPIKE.sign()
    right[4] = -1
    wrong = -SPIKE.sign()
    wrong[4] = 1
    seen = SPIKE if normalise is None else tame_outliers(SPIKE, normalise=normalise)
    assert nearest_codeword(seen, torch.stack([right, wrong])) == book_row
    if normalise == "none":
        assert seen[4] == 1.0
        assert torch.equal(seen[[0, 1, 2, 3, 5, 6, 7, 8]], SPIKE[[0, 1, 2, 3, 5, 6, 7, 8]])


def test_neighbours_of_a_corner() -> None:
    kernel = torch.tensor([9.0, 1, 2, 3, 4, 3, 2, 1, 2], dtype=torch.float64)
    near = tame_outliers(kernel, normalise="none")[0]
    every = tame_outliers(kernel, normalise="none", neighbours="all")[0]
    assert near.item() == pytest.approx(9 / ((8 + 6 + 5) / 3))
    assert every.item() == pytest.approx(9 / ((8 + 7 + 6 + 5 + 6 + 7 + 8 + 7) / 8))


def test_a_kernel_without_outliers_passes_bit_by_bit() -> None:
    kernels = torch.randn(1_000, 9)
    calm = kernels[~outliers(kernels).any(1)]
    assert torch.equal(tame_outliers(calm, normalise="none"), calm)
    middle = calm.abs().median(1, keepdim=True).values
    assert torch.equal(tame_outliers(calm), calm / middle)


@pytest.mark.parametrize(
    "kernel", [[0.0] * 9, [1.0] * 9, [0.0] * 8 + [3.0], [1.0, 1.0] + [0.0] * 7]
)
def test_degenerate_kernels_stay_finite(kernel: list[float]) -> None:
    for normalise in ("kernel_median", "none"):
        assert tame_outliers(torch.tensor(kernel), normalise=normalise).isfinite().all()


def agreement(kernels: Tensor, bits: int, normalise: Normalise | None) -> float:
    """Share of cells whose codeword has their sign, among kernels with an outlier."""
    hit = kernels[outliers(kernels).any(1)]
    seen = hit if normalise is None else tame_outliers(hit, normalise=normalise)
    found = []
    for seed in range(5):
        book = random_book(bits, seed)
        found.append((book[nearest_codeword(seen, book)] == signs(hit)).float().mean())
    return torch.stack(found).mean().item()


@pytest.fixture(scope="module")
def gaussian() -> Tensor:
    return torch.randn(40_000, 9, generator=torch.Generator().manual_seed(0))


def test_how_many_cells_of_gaussian_kernels_are_outliers(gaussian: Tensor) -> None:
    far = outliers(gaussian)
    assert far.float().mean().item() == pytest.approx(0.051, abs=0.003)
    assert far.any(1).float().mean().item() == pytest.approx(0.30, abs=0.01)


@pytest.mark.parametrize(
    ("bits", "plain", "scaled"), [(4, 0.741, 0.753), (5, 0.793, 0.804), (6, 0.838, 0.844)]
)
def test_signs_agree_more_often_with_os_quant(
    bits: int, plain: float, scaled: float, gaussian: Tensor
) -> None:
    before, after = (agreement(gaussian, bits, kind) for kind in (None, "kernel_median"))
    assert before == pytest.approx(plain, abs=0.005)
    assert after == pytest.approx(scaled, abs=0.005)
    assert after - before == pytest.approx(scaled - plain, abs=0.003)


def test_read_literally_it_helps_at_scale_one_and_hurts_at_that_of_weights(
    gaussian: Tensor,
) -> None:
    at_one = agreement(gaussian, 4, "none") - agreement(gaussian, 4, None)
    assert at_one == pytest.approx(0.748 - 0.741, abs=0.003)
    small = agreement(0.05 * gaussian, 4, "none") - agreement(0.05 * gaussian, 4, None)
    assert small == pytest.approx(0.732 - 0.739, abs=0.003)


def test_heavier_tails_gain_more() -> None:
    torch.manual_seed(0)
    kernels = torch.distributions.StudentT(3.0).sample((40_000, 9))
    far = outliers(kernels)
    assert far.float().mean().item() == pytest.approx(0.09, abs=0.005)
    assert far.any(1).float().mean().item() == pytest.approx(0.52, abs=0.01)
    before, after = (agreement(kernels, 4, kind) for kind in (None, "kernel_median"))
    assert before == pytest.approx(0.737, abs=0.005)
    assert after == pytest.approx(0.753, abs=0.005)
    assert after - before == pytest.approx(0.753 - 0.737, abs=0.003)


@pytest.mark.parametrize(("bits", "share"), [(4, 0.26), (5, 0.22), (6, 0.15)])
def test_how_many_kernels_with_outliers_get_another_codeword(
    bits: int, share: float, gaussian: Tensor
) -> None:
    hit = gaussian[outliers(gaussian).any(1)]
    moved = []
    for seed in range(5):
        book = random_book(bits, seed)
        other = nearest_codeword(tame_outliers(hit), book) != nearest_codeword(hit, book)
        moved.append(other.float().mean())
    assert torch.stack(moved).mean().item() == pytest.approx(share, abs=0.02)


def test_scale_changes_the_choice_of_the_literal_form_alone() -> None:
    kernels, book = torch.randn(5_000, 9, dtype=torch.float64), random_book(4).double()

    def choices(normalise: Normalise | None, factor: float) -> Tensor:
        seen = factor * kernels
        return nearest_codeword(
            seen if normalise is None else tame_outliers(seen, normalise=normalise), book
        )

    for normalise in (None, "kernel_median"):
        assert torch.equal(choices(normalise, 3.0), choices(normalise, 1.0))
    assert not torch.equal(choices("none", 3.0), choices("none", 1.0))
