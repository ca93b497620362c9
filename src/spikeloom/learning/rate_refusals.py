"""Which networks rate-based back-propagation can go through, and why not the others."""

from torch import nn

from spikeloom.kernels import operator_of
from spikeloom.layers import (
    BatchNorm,
    Dropout,
    NoNorm,
    StepBatchNorm,
    Temporal,
    TemporalEffectiveBatchNorm,
    ThresholdBatchNorm,
    TokenMixing,
    units,
)
from spikeloom.layers.base import dynamics
from spikeloom.learning.base import Unsupported

LINEAR = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.Flatten,
    nn.Identity,
    TokenMixing,
)


def refuse_now(model: nn.Module) -> None:
    """Check what holds at a step alone: who follows the neurons, and how many processes there are.

    Raises:
        Unsupported: a callback looks into the simulation, or batch norms are shared by processes.
    """
    if any(m.rule is not dynamics for m in model.modules() if isinstance(m, Temporal)):
        raise Unsupported(
            "rate_bp simulates without a graph, and a callback (im_loss, say) takes a term of the "
            "loss from the potentials of the simulation: it could get no gradient; leave it out or "
            "use another learner"
        )
    if any(m.together for m in model.modules() if isinstance(m, BatchNorm)):
        raise Unsupported(
            "rate_bp takes the statistics of batch norms in one process, and here several share "
            "them; run one process, or norm 'none'"
        )


def refuse(model: nn.Module) -> None:
    """Check that a network is LIF neurons, batch norms and linear maps.

    A module of one's own that calls layers in its ``forward`` must say ``step_by_step = True`` of
    its class, and may put them together by what is linear: sums, concatenation.

    Raises:
        Unsupported: with the first part that is not, and why.
    """
    for name, module in units("", model):
        if reason := problem(module):
            raise Unsupported(
                f"rate_bp cannot go through {name} ({type(module).__name__}): {reason}"
            )
    if not any(isinstance(module, Temporal) for module in model.modules()):
        raise Unsupported("rate_bp needs spiking neurons, and the model has none; use bptt")


def problem(module: nn.Module) -> str:
    """Why the two passes cannot go through a layer; empty if they can."""
    if isinstance(module, Temporal):
        return _problem_of_neurons(module)
    if isinstance(module, TemporalEffectiveBatchNorm | StepBatchNorm):
        return (
            "every step has a learnt scale of its own, of which a mean over time knows nothing; "
            "use norm 'bn' or 'tdbn'"
        )
    if type(module) in (BatchNorm, ThresholdBatchNorm, Dropout, NoNorm):
        return ""
    if isinstance(module, nn.MaxPool1d | nn.MaxPool2d | nn.AdaptiveMaxPool2d):
        return "the greatest of rates is not the rate of the greatest; use average pooling"
    if isinstance(module, LINEAR):
        return ""
    return (
        "it is not known to be linear, so that its mean output need not follow from its mean "
        "input; between neurons there may be linear maps, average pooling, norms 'bn' and 'tdbn', "
        "and dropout that is shared by all steps"
    )


def _problem_of_neurons(layer: Temporal) -> str:
    if operator_of(layer.function) != "lif":
        return (
            "firing rate and gain are known for LIF neurons and their kin (lif, if, plif and ltmd "
            "without learnt values) alone; use one of these, and no read-out that integrates"
        )
    learnt = [name for name, _ in layer.named_parameters()]
    if learnt:
        return (
            f"{', '.join(sorted(learnt))} would get no gradient: the published traces are those "
            "of the input current; leave it fixed (learn = []), or use neuron lif"
        )
    return ""
