"""A field of densities and colours: what a point of a scene looks like from a direction."""

from typing import NamedTuple

from torch import Tensor, nn

from spikeloom.layers import Linear, OverTime
from spikeloom.models.parts import MakeNeuron


class Field(NamedTuple):
    """What a field says of points, before the rectifier of densities and the sigmoid of colours.

    Shape:
        density [R, K], colour [R, K, 3]
    """

    density: Tensor
    colour: Tensor


class RadianceField(nn.Module):
    """Linear maps and neurons from encoded places and directions to densities and colours.

    ``depth`` layers of ``width`` neurons; the place enters again behind the middle one. From there
    a density, and a feature without neurons, beside which the direction enters a layer of half the
    width, and from this a colour. Densities and colours are means over time of linear maps.

    Places and directions are the same at every step: what the first layer, the repeated place and
    the direction add to a neuron's input is computed once, those of directions once a ray.

    Args:
        place: width of an encoded place.
        view: width of an encoded direction.
        neuron: makes the neurons of a layer from the shape (C,) of one sample.
        depth: layers of neurons before the density, >= 2.
        width: neurons of a layer, >= 2.
    Shape:
        place [R * K, P], view [R, V] -> density [R, K], colour [R, K, 3]
    Raises:
        ValueError: depth or width below 2.
    Source:
        Mildenhall et al., ECCV 2020, fig. 7; their code, which has the direction's layer and the
        repeated place as one matrix with the spikes' columns: here each has its own.
    """

    def __init__(
        self, place: int, view: int, *, neuron: MakeNeuron, depth: int = 8, width: int = 256
    ) -> None:
        super().__init__()
        if depth < 2 or width < 2:
            raise ValueError(f"depth and width must be >= 2, got {depth} and {width}")
        half = width // 2
        self.first = Linear(place, width)
        self.hidden = nn.ModuleList(OverTime(Linear(width, width)) for _ in range(depth - 1))
        self.neurons = nn.ModuleList(neuron((width,)) for _ in range(depth))
        self.again = depth // 2 + 1  # number of the layer that the place enters again
        self.skip: Linear | None = None
        if self.again < depth:
            self.skip = Linear(place, width, bias=False)
            _as_one(self.skip, self.hidden[self.again - 1])
        self.density = OverTime(Linear(width, 1))
        self.feature = OverTime(Linear(width, width))
        self.mix = OverTime(Linear(width, half))
        self.view = Linear(view, half, bias=False)
        _as_one(self.view, self.mix)
        self.last = neuron((half,))
        self.colour = OverTime(Linear(half, 3))

    def forward(self, place: Tensor, view: Tensor, T: int) -> Field:
        R = len(view)
        x = self.first(place)
        spike_seq: Tensor = self.neurons[0](x.expand(T, *x.shape))
        pairs = zip(self.hidden, self.neurons[1:], strict=True)
        for number, (hidden, neurons) in enumerate(pairs, start=1):
            x_seq = hidden(spike_seq)
            if self.skip is not None and number == self.again:
                x_seq = x_seq + self.skip(place)
            spike_seq = neurons(x_seq)
        density = self.density(spike_seq).mean(0)
        mixed = self.mix(self.feature(spike_seq)).unflatten(1, (R, -1))
        spike_seq = self.last((mixed + self.view(view)[:, None]).flatten(1, 2))
        colour = self.colour(spike_seq).mean(0)
        return Field(density.view(R, -1), colour.view(R, -1, 3))


def _as_one(held: nn.Linear, other: nn.Module) -> None:
    """Start two maps that are added up as the one map that reads both inputs would."""
    assert isinstance(other, OverTime)
    assert isinstance(other.module, nn.Linear)
    bound = (held.in_features + other.module.in_features) ** -0.5
    for parameter in (*held.parameters(), *other.module.parameters()):
        nn.init.uniform_(parameter, -bound, bound)


__all__ = ["Field", "RadianceField"]
