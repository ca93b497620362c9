"""Classification by who fires first: single-spike neurons and the local rules that train them."""

from spikeloom.functional.first_spike.contrast import (
    dog_filter,
    signed_parts,
    spread,
    whitening_filters,
)
from spikeloom.functional.first_spike.fire import NEVER, first_spikes, latencies, scores
from spikeloom.functional.first_spike.learn import FirstSpikeLayer, first_spike_learn
from spikeloom.functional.first_spike.patches import Filters, learn_filters
from spikeloom.functional.first_spike.rules import Groups, Regulation, Rule, RuleName, updates

__all__ = [
    "NEVER",
    "Filters",
    "FirstSpikeLayer",
    "Groups",
    "Regulation",
    "Rule",
    "RuleName",
    "dog_filter",
    "first_spike_learn",
    "first_spikes",
    "latencies",
    "learn_filters",
    "scores",
    "signed_parts",
    "spread",
    "updates",
    "whitening_filters",
]
