"""Training methods, one a file; ``base`` holds the protocol."""

from spikeloom.learning.base import Batch, Callback, Learner, Loss, Metrics, Progress, Unsupported
from spikeloom.learning.bptt import BPTT

__all__ = ["BPTT", "Batch", "Callback", "Learner", "Loss", "Metrics", "Progress", "Unsupported"]
