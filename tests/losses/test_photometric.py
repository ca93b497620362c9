"""The errors of all answers to a ray are added up."""

import pytest
import torch
from torch.nn import functional as F

from spikeloom.learning import Unsupported
from spikeloom.losses import Photometric


def test_errors_of_all_answers_are_added():
    fine, coarse, y = torch.rand(5, 3), torch.rand(5, 3), torch.rand(5, 3)
    out = torch.cat([fine, coarse])[None]
    want = F.mse_loss(fine, y) + F.mse_loss(coarse, y)
    torch.testing.assert_close(Photometric()(out, y), want)
    torch.testing.assert_close(Photometric()(fine[None], y), F.mse_loss(fine, y))


def test_outputs_are_averaged_over_time_first():
    out, y = torch.rand(4, 5, 3), torch.rand(5, 3)
    torch.testing.assert_close(Photometric()(out, y), F.mse_loss(out.mean(0), y))


@pytest.mark.parametrize("shape", [(1, 7, 3), (1, 10, 4)])
def test_rows_that_do_not_fit_are_refused(shape):
    with pytest.raises(Unsupported, match="rows of outputs"):
        Photometric()(torch.rand(shape), torch.rand(5, 3))
