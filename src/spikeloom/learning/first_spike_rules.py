"""Supervised local rules for layers of first spikes: S2-STDP, SSTDP and R-STDP."""

from spikeloom.functional.first_spike import Regulation, Rule
from spikeloom.layers.first_spike import PAPER
from spikeloom.learning.first_spike import FirstSpikeLearner
from spikeloom.papers import Paper
from spikeloom.registry import register

S2 = Paper(
    key="goupy2024paired",
    title="Paired Competing Neurons Improving STDP Supervised Local Learning in Spiking Neural "
    "Networks",
    authors=("Gaspard Goupy", "Pierre Tirilly", "Ioan Marius Bilasco"),
    venue="Frontiers in Neuroscience",
    year=2024,
    url="https://doi.org/10.3389/fnins.2024.1401690",
    form="article",
)
SSTDP_PAPER = Paper(
    key="liu2021sstdp",
    title="SSTDP: Supervised Spike Timing Dependent Plasticity for Efficient Spiking Neural "
    "Network Training",
    authors=("Fangxin Liu", "Wenbo Zhao", "Yongbiao Chen", "Zongwu Wang", "Tao Yang", "Li Jiang"),
    venue="Frontiers in Neuroscience",
    year=2021,
    url="https://doi.org/10.3389/fnins.2021.756876",
    form="article",
)


@register("learner", "s2_stdp", paper=S2, status="exact")
class S2STDP(FirstSpikeLearner):
    """S2-STDP: every neuron is drawn to a time around the layer's mean, its class's before it.

    e = t - d,  Δw = e a_plus where the input came up to the spike, e a_minus elsewhere. PCN is
    ``size = 2`` of the model with ``spared = 1, compete = true``; NCG is ``size = 5`` with these
    and ``regulation = "competition"``.

    Args:
        a_plus, a_minus: rates, a_minus <= 0.
        gap: how much earlier the class of a sample is to fire than others.
        w_min, w_max: bounds of weights.
        spared: L, the first neurons of a class that are no targets: pushed away from its samples.
        compete: only the first neuron of each class learns; with one neuron it changes nothing.
        regulation: of the competition: ``competition`` has thresholds in training that rise where
            a neuron wins a sample of its class and fall where it loses one, never below that of the
            layer, and start anew at every epoch; ``neuron`` moves each neuron's own threshold the
            same way, without bound and for good (the ablation CR-1).
        eta: η_θ, step of these thresholds, in potential.
        eta_decay: ξ, what eta is multiplied by after every epoch.
        dropout: share of neurons that cannot fire for a sample.
        decay: what all rates are multiplied by after every epoch.
        normalise: keep what the magnitudes of a neuron's weights add up to.
        beta: changes shrink by exp(-β distance) towards the bounds; None for additive ones.
    Raises:
        Unsupported: a model that is no layer of first spikes, or has too few neurons a class.
        ValueError: an argument out of range.
    Source:
        Goupy, Tirilly and Bilasco, Frontiers in Neuroscience 18, 2024; NeurIPS 2024.
    """

    def __init__(
        self,
        *,
        a_plus: float = 0.01,
        a_minus: float = -0.05,
        gap: float = 0.01,
        w_min: float = 0.0,
        w_max: float = 1.0,
        spared: int = 0,
        compete: bool = False,
        regulation: Regulation = "none",
        eta: float = 0.0,
        eta_decay: float = 1.0,
        dropout: float = 0.0,
        decay: float = 0.98,
        normalise: bool = True,
        beta: float | None = None,
    ) -> None:
        rule = Rule(
            "s2_stdp", a_plus=a_plus, a_minus=a_minus, gap=gap, w_min=w_min, w_max=w_max,
            compete=compete, regulation=regulation, eta=eta, beta=beta,
        )  # fmt: skip
        super().__init__(
            rule, spared=spared, eta_decay=eta_decay, dropout=dropout, decay=decay,
            normalise=normalise,
        )  # fmt: skip


@register("learner", "sstdp", paper=SSTDP_PAPER, status="exact")
class SSTDP(FirstSpikeLearner):
    """SSTDP: as S2-STDP, but a neuron that is early or late enough learns nothing.

    Args:
        a_plus, a_minus, gap, w_min, w_max: as of :class:`S2STDP`.
        spared, compete, regulation, eta, eta_decay, dropout, decay, beta: likewise.
        normalise: likewise; off as published.
    Raises:
        Unsupported, ValueError: as :class:`S2STDP`.
    Source:
        Liu et al., Frontiers in Neuroscience 15, 2021, as in the code of Goupy, Tirilly and
        Bilasco.
    """

    def __init__(
        self,
        *,
        a_plus: float = 0.05,
        a_minus: float = -0.005,
        gap: float = 0.04,
        w_min: float = 0.0,
        w_max: float = 1.0,
        spared: int = 0,
        compete: bool = False,
        regulation: Regulation = "none",
        eta: float = 0.0,
        eta_decay: float = 1.0,
        dropout: float = 0.0,
        decay: float = 0.98,
        normalise: bool = False,
        beta: float | None = None,
    ) -> None:
        rule = Rule(
            "sstdp", a_plus=a_plus, a_minus=a_minus, gap=gap, w_min=w_min, w_max=w_max,
            compete=compete, regulation=regulation, eta=eta, beta=beta,
        )  # fmt: skip
        super().__init__(
            rule, spared=spared, eta_decay=eta_decay, dropout=dropout, decay=decay,
            normalise=normalise,
        )  # fmt: skip


@register("learner", "r_stdp", paper=PAPER, status="exact")
class RSTDP(FirstSpikeLearner):
    """R-STDP: the first neuron of all is rewarded if it is of the sample's class, else punished.

    Rewards are scaled by the share of wrong answers of the epoch before, punishments by that of
    right ones; in the first epoch answers count as drawn by chance.

    Args:
        a_plus, a_minus: rates of rewards.
        anti_plus, anti_minus: rates of punishments.
        w_min, w_max: bounds of weights.
        spared, regulation, eta, eta_decay, dropout, decay, beta: as of :class:`S2STDP`.
        normalise: likewise; off as published.
    Raises:
        Unsupported, ValueError: as :class:`S2STDP`.
    Source:
        Mozafari et al., IEEE Transactions on Neural Networks and Learning Systems 29, 2018, as in
        the code of Goupy, Tirilly and Bilasco.
    """

    def __init__(
        self,
        *,
        a_plus: float = 0.05,
        a_minus: float = -0.001,
        anti_plus: float = -0.05,
        anti_minus: float = 0.001,
        w_min: float = 0.2,
        w_max: float = 0.8,
        spared: int = 0,
        regulation: Regulation = "none",
        eta: float = 0.0,
        eta_decay: float = 1.0,
        dropout: float = 0.0,
        decay: float = 0.98,
        normalise: bool = False,
        beta: float | None = None,
    ) -> None:
        rule = Rule(
            "r_stdp", a_plus=a_plus, a_minus=a_minus, anti_plus=anti_plus, anti_minus=anti_minus,
            w_min=w_min, w_max=w_max, regulation=regulation, eta=eta, beta=beta,
        )  # fmt: skip
        super().__init__(
            rule, spared=spared, eta_decay=eta_decay, dropout=dropout, decay=decay,
            normalise=normalise,
        )  # fmt: skip
