"""Trained networks run one event at a time, as on a chip without a clock."""

from spikeloom.deploy.events.network import (
    Clocked,
    EventNetwork,
    EventRun,
    compile_events,
    differing,
    differing_spikes,
)

__all__ = ["Clocked", "EventNetwork", "EventRun", "compile_events", "differing", "differing_spikes"]
