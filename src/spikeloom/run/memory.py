"""Keep freed memory in the process, where the C library lets us."""

import ctypes
import sys

# Parameters of glibc's mallopt(3).
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8


def keep_pages() -> bool:
    """Ask glibc not to hand large freed blocks back to the system; True if it agreed.

    By default every tensor above 32 MB is mapped afresh each time, and touching fresh pages costs
    several times what the arithmetic does. For applications only: it is a setting of the process.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False  # another C library
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_ARENA_MAX, 1))
    return all(mallopt(parameter, value) == 1 for parameter, value in settings)
