"""The head of LTMD: lateral interaction, graded neurons, moderate dropout and two passes."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from spikeloom.functional import Decay, factor, graded
from spikeloom.functional.sequence import check_sequence
from spikeloom.layers.base import Temporal
from spikeloom.layers.learnable import Values
from spikeloom.layers.ltmd import KAPPA, KEEP, PAPER, tanh
from spikeloom.layers.moderate_dropout import ModerateDropout
from spikeloom.layers.over_time import OverTime
from spikeloom.layers.readout import Head
from spikeloom.registry import register


class Graded(Temporal):
    """Leaky neurons that put out their potential where it is above tanh(kappa), else nothing.

    h[t] = keep v[t-1] + gain x[t];  g[t] = h[t] where h[t] > tanh(w);  v[t] = 0 where it fired.

    w is a parameter that never moves: as published, no gradient reaches it, and here it asks for
    none, so that neither weight decay nor a mean over processes can move it. The outputs are no
    spikes.

    Args:
        kappa: w.
        decay: leak per step.
    Shape:
        x_seq [T, N, *] -> g_seq [T, N, *]
    Source:
        Wang, Cheng and Lim, NeurIPS 2022 (LTMD); see :func:`spikeloom.functional.graded`.
    """

    function = staticmethod(graded)

    def __init__(self, kappa: float = KAPPA, *, decay: Decay | None = None) -> None:
        super().__init__()
        values = Values(None, ("v_threshold",), "layer", ("v_threshold", "decay"))
        self.decay = values.decay("decay", decay or factor(KEEP))
        self.v_threshold = values.signed("v_threshold", tanh(kappa))
        self.v_threshold.raw.requires_grad_(False)

    def arguments(self) -> dict[str, Any]:
        return {"decay": self.decay.now(), "v_threshold": self.v_threshold.now()}

    def extra_repr(self) -> str:
        return self.decay.extra_repr()


class Lateral(nn.Module):
    """Neighbours along the feature axis add to each other: y = x + conv(x), without a bias.

    Args:
        kernel: length of the convolution, odd.
    Shape:
        x_seq [T, N, F] -> [T, N, F]
    Raises:
        ValueError: kernel is even or < 1; the input is not [T, N, F].
    Source:
        Wang, Cheng and Lim, NeurIPS 2022 (LTMD), as in their code.
    """

    step_by_step: ClassVar[bool] = True

    def __init__(self, kernel: int = 5) -> None:
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"the lateral kernel must be odd and >= 1, got {kernel}")
        self.conv = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x_seq: Tensor) -> Tensor:
        if x_seq.dim() != 3:
            raise ValueError(f"Lateral takes [T, N, F], got {tuple(x_seq.shape)}; flatten first")
        q = self.conv(x_seq.flatten(0, 1).unsqueeze(1))
        y_seq: Tensor = x_seq + q.view_as(x_seq)
        return y_seq


@register("head", "ltmd", paper=PAPER, status="exact")
class LTMDHead(Head):
    """Two linear layers of graded neurons with lateral interaction, and moderate dropout between.

    g = Graded(Lateral(V x + a)), then moderate dropout, then Graded(Lateral(W g + b)): the logits
    of every step, whose mean over time is the answer.

    With ``two_passes`` the features are doubled along the batch in training, so that every sample
    is answered twice, with masks of their own: first all of them, then all of them again. The loss
    ``ltmd`` takes such logits; in evaluation there is one pass.

    Linear weights start as PyTorch has them, uniform within 1 / sqrt(fan-in), and biases at 0. With
    larger ones the cross-entropy pushes most outputs so far below the threshold that no gradient
    brings them back.

    Args:
        features: F, what comes in.
        num_classes: K.
        hidden: width of the first layer.
        p: share of its outputs that moderate dropout drops on average; 0 for none.
        lateral: length of the lateral convolution; 0 for none.
        two_passes: answer twice in training.
        kappa: the thresholds are tanh(kappa), and stay there.
        decay: leak per step of the graded neurons.
        detach_keep_prob: as for :class:`ModerateDropout`.
    Shape:
        x_seq [T, N, F] -> logits_seq [T, N, K], in training with two passes [T, 2N, K]
    Raises:
        ValueError: hidden < 1; p outside [0, 1); a negative or even lateral kernel; an input of
            another shape.
    Source:
        Wang, Cheng and Lim, NeurIPS 2022 (LTMD), as in their code.
    """

    step_by_step: ClassVar[bool] = True  # time passes only inside the layers

    def __init__(
        self,
        features: int,
        *,
        num_classes: int,
        hidden: int = 256,
        p: float = 0.2,
        lateral: int = 5,
        two_passes: bool = True,
        kappa: float = KAPPA,
        decay: Decay | None = None,
        detach_keep_prob: bool = False,
    ) -> None:
        super().__init__()
        if hidden < 1:
            raise ValueError(f"the ltmd head needs hidden >= 1, got {hidden}")
        if lateral < 0:
            raise ValueError(f"the ltmd head needs lateral >= 0 (0 for none), got {lateral}")
        self.features, self.two_passes = features, two_passes
        self.layers = nn.Sequential(
            OverTime(nn.Linear(features, hidden)),
            *([Lateral(lateral)] if lateral else []),
            Graded(kappa, decay=decay),
            ModerateDropout(p, detach_keep_prob=detach_keep_prob),
            OverTime(nn.Linear(hidden, num_classes)),
            *([Lateral(lateral)] if lateral else []),
            Graded(kappa, decay=decay),
        )
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(self, x_seq: Tensor) -> Tensor:
        check_sequence(x_seq)
        if x_seq.dim() != 3 or x_seq.shape[2] != self.features:
            raise ValueError(
                f"the ltmd head was built for features [T, N, {self.features}], got "
                f"{tuple(x_seq.shape)}; pool and flatten before it"
            )
        if self.training and self.two_passes:
            x_seq = torch.cat([x_seq, x_seq], dim=1)
        logits_seq: Tensor = self.layers(x_seq)
        return logits_seq
