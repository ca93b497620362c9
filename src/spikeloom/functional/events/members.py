"""The neurons of a population while events come: potentials that are brought up to date."""

from typing import Any

import numpy as np

from spikeloom.functional.events.program import Population, by_place

AHEAD = 1024  # steps that a neuron looks ahead; then it looks again
SURELY = 0.999  # of the threshold: what stays below it is not looked at
NEVER = -1


class Members:
    """The neurons of a population: potential, last step it was brought to, what has arrived."""

    def __init__(self, rule: Population, kind: Any) -> None:
        self.rule = rule
        numbers = (rule.keep, rule.gain, rule.threshold, rule.bias)
        each = [by_place(number).flatten().numpy().astype(kind) for number in numbers]
        self.keep, self.gain, self.threshold, self.bias = each
        self.rest, self.v_reset = kind.type(rule.rest), kind.type(rule.v_reset)
        self.v = np.full(self.keep.size, self.rest, kind)
        self.current = np.zeros_like(self.v)
        self.last = np.full(self.v.size, -1)
        self.wake = np.full(self.v.size, NEVER)

    def charge(self, n: Any, v: Any, x: Any) -> Any:
        """The potential a step later."""
        if self.rest:
            return self.rest + self.keep[n] * (v - self.rest) + self.gain[n] * x
        return self.keep[n] * v + self.gain[n] * x

    def update(self, n: int, time: int) -> bool:
        """Bring a neuron to ``time`` with what has arrived; whether it fires."""
        x, h = self.current[n], self.v[n]
        self.current[n] = 0
        if self.last[n] < time:
            for _ in range(self.last[n] + 1, time):
                h, before = self.charge(n, h, self.bias[n]), h
                if h == before:
                    break
            h = self.charge(n, h, self.bias[n] + x)
        else:
            h = h + self.gain[n] * x
        fires = bool(self.fires(n, h))
        self.v[n], self.last[n] = self.after(n, h) if fires else h, time
        return fires

    def fires(self, n: int, h: Any) -> Any:
        """Whether a potential makes the neuron fire."""
        return h > self.threshold[n] if self.rule.strict else h >= self.threshold[n]

    def after(self, n: int, h: Any) -> Any:
        """The potential after a spike."""
        if self.rule.reset == "hard":
            return self.v_reset
        return h - self.threshold[n] if self.rule.reset == "soft" else h

    def crossing(self, n: int, limit: int) -> int:
        """Steps until a neuron fires in silence, or must look again; 0 for not within the limit."""
        if self._surely_silent(n):
            return 0
        h = self.v[n]
        for step in range(1, limit + 1):
            h, before = self.charge(n, h, self.bias[n]), h
            if self.fires(n, h):
                return step
            if h == before:
                return 0
        return limit if limit == AHEAD else 0

    def _surely_silent(self, n: int) -> bool:
        """Whether the potential, and where it goes to, are clearly below the threshold."""
        far = self.keep.dtype.type(SURELY) * self.threshold[n]
        if self.rest or not far > 0 or not self.v[n] < far:
            return False
        drive, leak = self.gain[n] * self.bias[n], 1 - self.keep[n]
        return bool(drive <= 0 or drive < far * leak)
