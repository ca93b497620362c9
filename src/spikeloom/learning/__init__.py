"""Training methods, one a file; ``base`` holds the protocols of learners and callbacks."""

from spikeloom.learning.base import (
    Batch,
    Callback,
    Learner,
    Loss,
    Metrics,
    Objective,
    Progress,
    Term,
    Unsupported,
    of_batch,
    to_scale,
)
from spikeloom.learning.bptt import BPTT
from spikeloom.learning.code_use import CodeUse
from spikeloom.learning.distil import DistilLogits, DistilRates
from spikeloom.learning.dspike import DspikeSearch
from spikeloom.learning.eicil import EICIL
from spikeloom.learning.esg import EvolutionarySurrogate
from spikeloom.learning.event_bp import EventBP
from spikeloom.learning.im_loss import IMLoss
from spikeloom.learning.local_tandem import LocalTandem, Tandem
from spikeloom.learning.mpfd import MPFD
from spikeloom.learning.output_times import OutputTimes
from spikeloom.learning.rate_bp import RateBP
from spikeloom.learning.shortcut_bp import ShortcutBP
from spikeloom.learning.sml import SurrogateModules
from spikeloom.learning.tandem_fit import TandemFit
from spikeloom.learning.thresholds import Thresholds

__all__ = [
    "BPTT",
    "EICIL",
    "MPFD",
    "Batch",
    "Callback",
    "CodeUse",
    "DistilLogits",
    "DistilRates",
    "DspikeSearch",
    "EventBP",
    "EvolutionarySurrogate",
    "IMLoss",
    "Learner",
    "LocalTandem",
    "Loss",
    "Metrics",
    "Objective",
    "OutputTimes",
    "Progress",
    "RateBP",
    "ShortcutBP",
    "SurrogateModules",
    "Tandem",
    "TandemFit",
    "Term",
    "Thresholds",
    "Unsupported",
    "of_batch",
    "to_scale",
]
