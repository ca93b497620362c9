"""A sequence in pieces is the whole sequence: outputs, states and every gradient."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikeloom.kernels import use
from spikeloom.layers import ALIF, LI, LIF, CubaLIF, Dropout, OverTime, carry, unrolled, whole_only
from tests.small import CLASSES, small

T, N = 37, 3


def recurrent_free(neuron: Any) -> nn.Module:
    return nn.Sequential(
        OverTime(nn.Linear(5, 8)), neuron, OverTime(nn.Linear(8, 4)), LIF(learn=["decay"]), LI()
    )


NEURONS = {"lif": LIF, "alif": ALIF, "cuba_lif": CubaLIF}


@pytest.mark.parametrize("name", NEURONS)
@pytest.mark.parametrize("cut", [1, 5, 36])
def test_pieces_give_the_whole(name: str, cut: int) -> None:
    net, x_seq = recurrent_free(NEURONS[name](v_threshold=0.3)), torch.randn(T, N, 5)
    first, states = carry(net, x_seq[:cut])
    second, _ = carry(net, x_seq[cut:], states)
    torch.testing.assert_close(torch.cat([first, second]), net(x_seq), rtol=0, atol=1e-6)


def test_a_residual_network_is_carried_too() -> None:
    net = small("spiking_resnet20", width=1 / 4).eval()
    x_seq = torch.rand(6, 2, 3, 32, 32)
    first, states = carry(net, x_seq[:2])
    second, _ = carry(net, x_seq[2:], states)
    torch.testing.assert_close(torch.cat([first, second]), net(x_seq), rtol=0, atol=1e-5)


def gradients(net: nn.Module, x_seq: Tensor, memory: Any) -> list[Tensor]:
    x_seq = x_seq.clone().requires_grad_()
    with use(memory=memory):
        y_seq = unrolled(net, x_seq)
    (y_seq * torch.linspace(-1, 1, y_seq.numel()).view_as(y_seq)).sum().backward()
    found = [y_seq.detach(), x_seq.grad, *(p.grad for p in net.parameters())]
    net.zero_grad(set_to_none=True)
    return found


@pytest.mark.parametrize("name", NEURONS)
@pytest.mark.parametrize("implementation", [None, "truth"])
def test_low_memory_gives_the_same_gradients(name: str, implementation: str | None) -> None:
    net, x_seq = recurrent_free(NEURONS[name](v_threshold=0.3)), torch.randn(T, N, 5)
    with use(implementation):
        whole, pieces = (gradients(net, x_seq, memory) for memory in ("off", "low"))
    for one, other in zip(whole, pieces, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_low_memory_keeps_states_only() -> None:
    net, x_seq = recurrent_free(LIF()), torch.randn(256, 64, 5)

    def kept(memory: Any) -> int:
        seen: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            seen[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t), use(memory=memory):
            unrolled(net, x_seq)
        return sum(seen.values())

    own = x_seq.untyped_storage().nbytes()
    assert kept("low") - own < 0.2 * (kept("off") - own)


@pytest.mark.parametrize(
    ("module", "says"),
    [
        (Dropout(0.5), "Dropout"),
        (nn.RNN(8, 8), "RNN"),
        (small("spiking_mlp"), "BatchNorm"),
        (small("spiking_mlp", norms="bntt").eval(), "StepBatchNorm"),
        (small("spiking_mlp", norms="tebn").eval(), "TemporalEffectiveBatchNorm"),
    ],
)
def test_networks_that_need_the_whole_sequence_say_why(module: nn.Module, says: str) -> None:
    reason = whole_only(nn.Sequential(module))
    assert reason is not None
    assert says in reason
    assert whole_only(small("spiking_mlp").eval()) is None


def test_such_a_network_runs_whole_under_low_memory() -> None:
    net = small("spiking_mlp")
    with use(memory="low"):
        assert unrolled(net, torch.rand(40, 4, 3, 32, 32)).shape == (40, 4, CLASSES)


def test_states_of_another_network_are_refused() -> None:
    with pytest.raises(ValueError, match="2 states for a network with 1"):
        carry(LIF(), torch.rand(2, 1, 3), (None, None))


def test_a_layer_that_is_called_twice_is_refused() -> None:
    layer = LIF()
    with pytest.raises(ValueError, match="twice"):
        carry(nn.Sequential(layer, layer), torch.rand(2, 1, 3))


class Centred(nn.Module):
    """Takes its mean over time away: not a matter of one step."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Sequential(OverTime(nn.Linear(5, 4)), LIF())

    def forward(self, x_seq: Tensor) -> Tensor:
        y_seq: Tensor = self.layer(x_seq)
        return y_seq - y_seq.mean(0, keepdim=True)


def test_a_module_with_a_forward_of_its_own_runs_whole() -> None:
    net, x_seq = Centred(), torch.randn(64, 2, 5)
    assert "Centred" in str(whole_only(net))
    want = net(x_seq)
    with use(memory="low"):
        assert torch.equal(unrolled(net, x_seq), want)
