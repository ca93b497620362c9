"""The network of Diehl and Cook: competing neurons that learn prototypes without labels."""

from math import prod

import torch
from torch import Tensor, nn

from spikeloom.functional.diehl_cook import Competing
from spikeloom.functional.sequence import check_sequence
from spikeloom.kernels import door
from spikeloom.papers import Paper
from spikeloom.registry import register

PAPER = Paper(
    key="diehl2015unsupervised",
    title="Unsupervised learning of digit recognition using spike-timing-dependent plasticity",
    authors=("Peter U. Diehl", "Matthew Cook"),
    venue="Frontiers in Computational Neuroscience",
    form="article",
    year=2015,
    url="https://doi.org/10.3389/fncom.2015.00099",
)


@register("model", "diehl_cook", paper=PAPER, status="reconstruction")
class DiehlCook(nn.Module):
    """Neurons that see the whole picture, keep one another quiet, and are labelled afterwards.

    Intensities become spikes of independent steps inside of the model, so the encoder is
    ``intensity``. A class's logit is the mean count of the neurons that are assigned to it: those
    that answered to it most, on training data. Nothing here has a gradient; see the learner
    ``stdp``.

    Args:
        in_shape: of one sample; it is flattened.
        num_classes: K.
        neurons: how many.
        tau, v_rest, v_reset, v_threshold: of the membrane, ms and mV.
        refractory: steps in which a neuron that fired takes no input.
        inhibition: what a spike takes off all other potentials, mV.
        one_spike: of the neurons above threshold only the highest fires.
        theta_step, tau_theta: rise of the threshold by a spike, mV, and its decay, ms; in training.
        dt: length of a step, ms.
        rate: firing rate of an input of intensity 1, Hz.
        least: a sample that makes fewer spikes is shown again, brighter; at most 8 times.
    Shape:
        x_seq [T, N, *in_shape], the same at every step, in 0..1 -> logits_seq [1, N, K]
    Raises:
        ValueError: an option out of range; when called, samples that change with time.
    Source:
        Diehl and Cook (2015), with currents for conductances and direct inhibition, as simulators
        in use have it; weights start at 0.3 times a uniform draw.
    """

    def __init__(
        self,
        *,
        in_shape: tuple[int, ...],
        num_classes: int,
        neurons: int = 100,
        tau: float = 100.0,
        v_rest: float = -65.0,
        v_reset: float = -60.0,
        v_threshold: float = -52.0,
        refractory: int = 5,
        inhibition: float = 120.0,
        one_spike: bool = True,
        theta_step: float = 0.05,
        tau_theta: float = 1e7,
        dt: float = 1.0,
        rate: float = 128.0,
        least: int = 0,
    ) -> None:
        super().__init__()
        if neurons < 1:
            raise ValueError(f"neurons must be >= 1, got {neurons}")
        self.in_shape = tuple(in_shape)
        self.cells = Competing(
            tau=tau, v_rest=v_rest, v_reset=v_reset, v_threshold=v_threshold,
            refractory=refractory, inhibition=inhibition, one_spike=one_spike,
            theta_step=theta_step, tau_theta=tau_theta, dt=dt, rate=rate, least=least,
        )  # fmt: skip
        w = 0.3 * torch.rand(neurons, prod(in_shape))
        self.weight = nn.Parameter(w, requires_grad=False)
        self.theta: Tensor
        self.register_buffer("theta", torch.zeros(neurons))
        self.responses: Tensor  # mean count of each neuron for each class
        self.register_buffer("responses", torch.zeros(num_classes, neurons))

    def samples(self, x_seq: Tensor) -> Tensor:
        """The one picture that a sequence shows at every step.

        Shape:
            x_seq [T, N, *in_shape] -> [N, I]
        """
        check_sequence(x_seq)
        if tuple(x_seq.shape[2:]) != self.in_shape:
            raise ValueError(
                f"expected samples of shape {self.in_shape}, got {tuple(x_seq.shape[2:])}"
            )
        if x_seq.stride(0) and len(x_seq) > 1 and not (x_seq == x_seq[:1]).all():
            raise ValueError(
                "this network is shown one picture for all steps and makes spikes of it itself; "
                'set encoder = "intensity"'
            )
        return x_seq[0].flatten(1)

    def logits(self, counts: Tensor) -> Tensor:
        """Mean counts of the neurons assigned to each class; 0 for a class without any.

        Shape:
            counts [N, O] -> [N, K]
        """
        awake = self.responses.amax(0) > 0
        best = self.responses.argmax(0)
        mine = nn.functional.one_hot(best, len(self.responses)).to(counts) * awake[:, None]
        return counts @ mine / mine.sum(0).clamp(min=1)

    def forward(self, x_seq: Tensor) -> Tensor:
        x = self.samples(x_seq)
        found = door("shown")(x, self.weight, self.theta, len(x_seq), 0, self.cells)
        return self.logits(found.counts)[None]
