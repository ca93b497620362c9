"""Random small event programs, and streams for them."""

import torch

from spikeloom.functional import Events
from spikeloom.functional.events import (
    Connection,
    EventProgram,
    Mixing,
    Pool,
    Population,
    Weights,
)
from spikeloom.functional.program import Window


def numbers(random, *shape):
    """Numbers on a coarse grid, some of them 0, so that potentials also meet thresholds exactly."""
    count = int(torch.tensor(shape).prod())
    drawn = [random.choice((0, 0.25, 0.5, -0.5, 1.0, random.uniform(-1, 1))) for _ in range(count)]
    return torch.tensor(drawn, dtype=torch.float64).reshape(shape)


def convolution(random, shape):
    groups = random.choice([g for g in (1, 2, shape[0]) if shape[0] % g == 0])
    out, (kernel, padding) = groups * random.randint(1, 9), random.choice([(1, 0), (3, 1), (2, 0)])
    kernel = min(kernel, *(side + 2 * padding for side in shape[1:]))
    window = Window((kernel, kernel), (random.randint(1, 2),) * 2, (padding, padding))
    sides = [(s + 2 * padding - kernel) // window.stride[0] + 1 for s in shape[1:]]
    beside = random.choice((0, 3)) if groups == 1 else 0  # channels of somebody else
    weight = numbers(random, out, shape[0] // groups, kernel, kernel)
    return Weights(weight, window, shape, (out + 2 * beside, *sides), first=beside)


def dense(random, shape):
    out = random.randint(1, 20)
    return Weights(numbers(random, out, *shape), Window(shape[1:]), shape, (out, 1, 1))


def mixing(random, shape):
    heads = random.choice([g for g in (1, 2, shape[0]) if shape[0] % g == 0])
    places = shape[1] * shape[2]
    return Mixing(numbers(random, heads, places, places), shape)


def pool(random, shape):
    side = random.randint(1, min(shape[1:]))
    after = [(s - side) // side + 1 for s in shape[1:]]
    return Pool(Window((side, side), (side, side)), shape, (shape[0], *after), 1 / side**2)


def rule(random, name, shape, fires=True):
    def some(*values):
        return torch.tensor(
            [random.choice(values) for _ in range(shape[0] * shape[1] * shape[2])],
            dtype=torch.float64,
        ).reshape(shape)

    reset = random.choice(("hard", "soft", "none")) if fires else "none"
    v_reset = random.choice((0.0, 0.0, -0.25)) if reset == "hard" else 0.0
    bias = some(0.0) if random.random() < 0.4 else some(0.0, 0.0, 0.2, 0.6, -0.3)
    keep, gain = some(0.5, 1.0, 0.0, 0.75), some(1.0, 0.5)
    threshold = some(1.0, 0.5, 1.5)
    return Population(
        name, shape, keep, gain, threshold, bias, reset, v_reset, v_reset,
        strict=random.random() < 0.3, fires=fires,
    )  # fmt: skip


def program(random):
    """Populations in a row, chains of one or two hops, and connections that skip."""
    shapes = [(random.randint(1, 4), random.randint(1, 4), random.randint(1, 4))]
    populations, connections = [], []
    for index in range(1, random.randint(2, 4) + 1):
        source = random.randint(max(0, index - 2), index - 1)
        hops = [random.choice((convolution, dense, mixing, pool))(random, shapes[source])]
        if random.random() < 0.4:
            make = random.choice((convolution, dense, mixing, pool))
            hops.append(make(random, hops[0].out_shape))
        shape = hops[-1].out_shape
        connections.append(Connection(source, index, tuple(hops), random.choice((0, 0, 1, 2))))
        for other in range(index):
            if shapes[other] == shape and random.random() < 0.5:
                own = random.choice((mixing(random, shape), Pool(Window(), shape, shape)))
                connections.append(Connection(other, index, (own,), random.choice((0, 1))))
        shapes.append(shape)
        populations.append(rule(random, f"layer {index}", shape))
    if random.random() < 0.7:
        populations[-1] = rule(random, "read-out", shapes[-1], fires=False)
    return EventProgram(shapes[0], tuple(populations), tuple(connections))


def events(random, program, steps):
    """A stream of spikes and graded events, in no order."""
    C, H, W = program.shape(0)
    count = random.randint(0, 30)
    time = torch.tensor([random.randrange(steps) for _ in range(count)], dtype=torch.int64)
    index = torch.tensor([random.randrange(C * H * W) for _ in range(count)], dtype=torch.int64)
    value = [random.choice((1.0, 1.0, 0.5, random.uniform(-2, 2))) for _ in range(count)]
    return Events(time, index, torch.tensor(value, dtype=torch.float64))
