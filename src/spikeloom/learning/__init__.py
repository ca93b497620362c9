"""Training methods, one a file; ``base`` holds the protocols of learners and callbacks."""

from spikeloom.learning.base import (
    Batch,
    Callback,
    Learner,
    Loss,
    Metrics,
    Progress,
    Unsupported,
    of_batch,
    weighed,
)
from spikeloom.learning.bptt import BPTT
from spikeloom.learning.dspike import DspikeSearch
from spikeloom.learning.eicil import EICIL
from spikeloom.learning.esg import EvolutionarySurrogate
from spikeloom.learning.im_loss import IMLoss
from spikeloom.learning.shortcut_bp import ShortcutBP
from spikeloom.learning.sml import SurrogateModules
from spikeloom.learning.thresholds import Thresholds

__all__ = [
    "BPTT",
    "EICIL",
    "Batch",
    "Callback",
    "DspikeSearch",
    "EvolutionarySurrogate",
    "IMLoss",
    "Learner",
    "Loss",
    "Metrics",
    "Progress",
    "ShortcutBP",
    "SurrogateModules",
    "Thresholds",
    "Unsupported",
    "of_batch",
    "weighed",
]
