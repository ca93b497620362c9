"""The linear map behind the door to fast code."""

from torch import Tensor, nn

from spikeloom.kernels import door

_linear = door("linear")


class Linear(nn.Linear):
    """``torch.nn.Linear``, fast for spikes; arguments, parameters and state dict are the same.

    Shape:
        x_seq [*, K] -> [*, M]
    """

    def forward(self, x_seq: Tensor) -> Tensor:
        y_seq: Tensor = _linear(x_seq, self.weight, self.bias)
        return y_seq
