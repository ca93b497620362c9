"""Plasticity without gradients: what the timing of spikes does to weights.

``batch`` sums over whole sequences at the weights of their beginning; ``pair``, ``triplet`` and
``reward`` change weights at every step.
"""

from spikeloom.functional.plasticity.batch import (
    Factor,
    Reduction,
    spike_trace,
    stdp_conv2d,
    stdp_linear,
)
from spikeloom.functional.plasticity.bounds import Bounds, normalised
from spikeloom.functional.plasticity.competition import (
    adapted,
    first_winners,
    inhibited,
    one_spike,
)
from spikeloom.functional.plasticity.pair import Pairs, PairSTDP, pair_stdp, pair_step
from spikeloom.functional.plasticity.reward import Eligible, RewardSTDP, reward_stdp
from spikeloom.functional.plasticity.traces import Trace
from spikeloom.functional.plasticity.triplet import Triplets, TripletSTDP, triplet_stdp

__all__ = [
    "Bounds",
    "Eligible",
    "Factor",
    "PairSTDP",
    "Pairs",
    "Reduction",
    "RewardSTDP",
    "Trace",
    "TripletSTDP",
    "Triplets",
    "adapted",
    "first_winners",
    "inhibited",
    "normalised",
    "one_spike",
    "pair_stdp",
    "pair_step",
    "reward_stdp",
    "spike_trace",
    "stdp_conv2d",
    "stdp_linear",
    "triplet_stdp",
]
