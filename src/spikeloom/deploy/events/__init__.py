"""Trained networks run one event at a time, as on a chip without a clock."""

from spikeloom.deploy.events.network import (
    EventNetwork,
    EventRun,
    compile_events,
    differing_spikes,
)

__all__ = ["EventNetwork", "EventRun", "compile_events", "differing_spikes"]
