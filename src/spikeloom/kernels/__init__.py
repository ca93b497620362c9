"""Fast twins of the functions in ``spikeloom.functional``; :func:`door` picks one."""

from spikeloom.kernels.cpu.pool import limit_pool, pool_size, release
from spikeloom.kernels.door import CannotServeError, door, explain, operator_of
from spikeloom.kernels.setting import Memory, Setting, current, use

__all__ = [
    "CannotServeError",
    "Memory",
    "Setting",
    "current",
    "door",
    "explain",
    "limit_pool",
    "operator_of",
    "pool_size",
    "release",
    "use",
]
