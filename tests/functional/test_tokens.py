"""Token mixing and spiking attention against their definitions."""

import pytest
import torch

from spikeloom.functional import spike_attention, token_mixing

T, N, D, M, G = 3, 2, 6, 5, 3


def spikes(share=0.4, *, channels=D):
    return (torch.rand(T, N, channels, M) < share).float()


def test_token_mixing_is_one_matrix_for_each_head():
    x_seq, weight = spikes(), torch.randn(G, M, M)
    expected = torch.cat([x_seq[:, :, 2 * g : 2 * g + 2] @ weight[g].T for g in range(G)], dim=2)
    torch.testing.assert_close(token_mixing(x_seq, weight), expected)


def test_unit_matrices_leave_spikes_as_they_are():
    x_seq = spikes()
    assert torch.equal(token_mixing(x_seq, torch.eye(M).expand(G, M, M)), x_seq)


def test_even_matrices_make_every_token_the_mean_token():
    x_seq = spikes()
    mixed = token_mixing(x_seq, torch.full((G, M, M), 1 / M))
    torch.testing.assert_close(mixed, x_seq.mean(-1, keepdim=True).expand_as(x_seq))


def test_attention_is_the_product_of_the_paper():
    q, k, v = spikes(), spikes(), spikes()
    rows = [x.unflatten(2, (G, 2)).transpose(-1, -2) for x in (q, k, v)]  # [T, N, G, M, d]
    expected = (rows[0] @ rows[1].transpose(-1, -2)) @ rows[2] * 0.125
    found = spike_attention(q, k, v, heads=G)
    torch.testing.assert_close(found, expected.transpose(-1, -2).flatten(2, 3))


def test_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match="3 matrices for 5 tokens"):
        token_mixing(torch.zeros(1, 1, 6, 4), torch.zeros(3, 5, 5))
    with pytest.raises(ValueError, match="multiple of 4"):
        token_mixing(torch.zeros(1, 1, 6, 5), torch.zeros(4, 5, 5))
    with pytest.raises(ValueError, match="6 channels cannot be shared by 4 heads"):
        spike_attention(*[torch.zeros(1, 1, 6, 5)] * 3, heads=4)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_dtype_stays(dtype):
    x = spikes().to(dtype)
    assert token_mixing(x, torch.zeros(G, M, M, dtype=dtype)).dtype == dtype
    assert spike_attention(x, x, x, heads=G).dtype == dtype
