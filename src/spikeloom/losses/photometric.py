"""The loss of colours that were looked at along rays."""

from torch import Tensor

from spikeloom.functional.radiance.sources import NERF
from spikeloom.losses.rows import wide
from spikeloom.registry import Unsupported, register


@register("loss", "photometric", paper=NERF, status="exact")
class Photometric:
    """Squared error of every answer to a ray, summed over the answers.

    L = sum_a mean_{n,k} (mean_t out[t, a, n, k] - y[n, k])²; a model that answers twice, with a
    fine and a coarse colour, is told of both errors.

    The mean is over colours too, as in NeRF's code; the norm of the paper is three times that.

    Shape:
        out_seq [T, aN, K], y float [N, K] -> scalar
    Raises:
        Unsupported: rows that are no multiple of the targets, or of another width.
    Source:
        Mildenhall et al., ECCV 2020, eq. 6; their code.
    """

    numbers = True

    def __call__(self, out_seq: Tensor, y: Tensor) -> Tensor:
        out = wide(out_seq).mean(0)
        if not len(y) or len(out) % len(y) or out.shape[1:] != y.shape[1:]:
            raise Unsupported(
                "photometric takes one or more rows of outputs for each target, got "
                f"{tuple(out.shape)} and {tuple(y.shape)}"
            )
        answers = len(out) // len(y)
        return answers * (out - y.repeat(answers, 1)).square().mean()
