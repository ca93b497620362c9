"""Training methods, one a file; ``base`` holds the protocol of learners."""

from spikeloom.learning.base import (
    Batch,
    Learner,
    Loss,
    Metrics,
    Noted,
    Objective,
    Progress,
    Unsupported,
    of_batch,
    to_scale,
)
from spikeloom.learning.bptt import BPTT
from spikeloom.learning.eicil import EICIL
from spikeloom.learning.event_bp import EventBP
from spikeloom.learning.extracting import CsnnSTDP, SoftHebbian
from spikeloom.learning.first_spike_rules import RSTDP, S2STDP, SSTDP
from spikeloom.learning.local_tandem import LocalTandem, Tandem
from spikeloom.learning.multi_grade import MultiGrade
from spikeloom.learning.rate_bp import RateBP
from spikeloom.learning.readout import Readout
from spikeloom.learning.shortcut_bp import ShortcutBP
from spikeloom.learning.sleep_stdp import SleepSTDP
from spikeloom.learning.sml import SurrogateModules
from spikeloom.learning.stdp import STDP

__all__ = [
    "BPTT",
    "EICIL",
    "RSTDP",
    "S2STDP",
    "SSTDP",
    "STDP",
    "Batch",
    "CsnnSTDP",
    "EventBP",
    "Learner",
    "LocalTandem",
    "Loss",
    "Metrics",
    "MultiGrade",
    "Noted",
    "Objective",
    "Progress",
    "RateBP",
    "Readout",
    "ShortcutBP",
    "SleepSTDP",
    "SoftHebbian",
    "SurrogateModules",
    "Tandem",
    "Unsupported",
    "of_batch",
    "to_scale",
]
