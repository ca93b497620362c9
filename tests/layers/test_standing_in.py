"""What stands in for layers leaves them as they were; and what a network consists of."""

import pytest
import torch
from torch import nn

from spikeloom.layers import BatchNorm, Dropout, OverTime, Stack, standing_in, units, whole_only
from tests.small import small


def twice(layer: nn.Module, x_seq: torch.Tensor) -> torch.Tensor:
    return 2 * x_seq


def failing(layer: nn.Module, x_seq: torch.Tensor) -> torch.Tensor:
    raise ZeroDivisionError


def test_layers_of_a_kind_compute_something_else_inside_the_block() -> None:
    model, x_seq = Stack(BatchNorm(3), Dropout(0.0)), torch.randn(2, 4, 3)
    own = model(x_seq)
    with standing_in(model, BatchNorm, twice), standing_in(model, Dropout, twice):
        assert torch.equal(model(x_seq), 4 * x_seq)
    torch.testing.assert_close(model(x_seq), own)
    assert not any("forward" in vars(layer) for layer in model)


def test_nested_and_failing_blocks_are_put_back() -> None:
    model, x_seq = Stack(Dropout(0.0)), torch.ones(2, 1, 3)
    with standing_in(model, Dropout, twice):
        with pytest.raises(ZeroDivisionError), standing_in(model, Dropout, failing):
            model(x_seq)
        assert torch.equal(model(x_seq), 2 * x_seq)
    assert torch.equal(model(x_seq), x_seq)


def test_units_are_the_layers_inside_rows_and_an_empty_row_is_none() -> None:
    model = nn.Sequential(OverTime(nn.Linear(3, 2)), Stack(), nn.Sequential(nn.Tanh()))
    assert [name for name, _ in units("", model)] == ["0.module", "2.0"]


def test_a_residual_network_may_come_in_pieces() -> None:
    assert whole_only(small("spiking_resnet20").eval()) is None
