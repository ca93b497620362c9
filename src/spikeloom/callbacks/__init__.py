"""What goes along with any learner: terms of the loss, searches, things to note; one a file."""

from spikeloom.callbacks.base import Callback, Term
from spikeloom.callbacks.code_use import CodeUse
from spikeloom.callbacks.distil import DistilLogits, DistilRates
from spikeloom.callbacks.distil_nerf import DistilNeRF
from spikeloom.callbacks.dspike import DspikeSearch
from spikeloom.callbacks.esg import EvolutionarySurrogate
from spikeloom.callbacks.firing import Firing
from spikeloom.callbacks.im_loss import IMLoss
from spikeloom.callbacks.mpfd import MPFD
from spikeloom.callbacks.output_times import OutputTimes
from spikeloom.callbacks.sleep import SleepBetween
from spikeloom.callbacks.tandem_fit import TandemFit
from spikeloom.callbacks.thresholds import Thresholds

__all__ = [
    "MPFD",
    "Callback",
    "CodeUse",
    "DistilLogits",
    "DistilNeRF",
    "DistilRates",
    "DspikeSearch",
    "EvolutionarySurrogate",
    "Firing",
    "IMLoss",
    "OutputTimes",
    "SleepBetween",
    "TandemFit",
    "Term",
    "Thresholds",
]
