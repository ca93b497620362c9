"""One mask for all steps."""

import pytest
import torch

from spikeloom.layers import Dropout


def test_all_steps_share_one_mask():
    y_seq = Dropout(0.5)(torch.ones(6, 8, 32))
    assert (y_seq == y_seq[0]).all()
    assert set(y_seq.unique().tolist()) == {0.0, 2.0}


def test_samples_have_masks_of_their_own():
    y_seq = Dropout(0.5)(torch.ones(2, 8, 64))
    assert not (y_seq[0] == y_seq[0, 0]).all()


def test_keeps_the_mean():
    y_seq = Dropout(0.25)(torch.ones(1, 100, 400))
    assert y_seq.mean() == pytest.approx(1.0, abs=0.02)


def test_does_nothing_in_evaluation_or_without_probability():
    x_seq = torch.randn(3, 2, 5)
    assert Dropout(0.5).eval()(x_seq) is x_seq
    assert Dropout(0.0)(x_seq) is x_seq


@pytest.mark.parametrize("p", [-0.1, 1.0])
def test_refuses_impossible_shares(p):
    with pytest.raises(ValueError, match="p must be in"):
        Dropout(p)
