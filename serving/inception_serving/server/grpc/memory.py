"""The memory of this process, and what the C library keeps of it that nobody uses.

A head of thousands of fields is hundreds of KB to gRPC. After a flood of them it has let all go,
and the C library keeps it, some gigabytes. To give it back costs time of who needs it again.
"""

from __future__ import annotations

import ctypes
import math
import os
import time

# What is in use now may be let go of soon: it is tried again, each time later while little comes.
_GIVE_BACK_S, _LAST_S, _MUCH = 5.0, 60.0, 1 << 26


class KeptMemory:
    """Gives back what is kept, where the process has grown by much."""

    def __init__(self, limit: int) -> None:
        """Nothing is given back before the process has grown by `limit` bytes."""
        self._limit = limit
        self._least = 1 << 63  # since some was last given back
        self._pause_s = _GIVE_BACK_S  # from one time to the next
        self._may_give_back, self._try_again = 0.0, math.inf  # times of `time.monotonic()`

    def look(self) -> None:
        """Give back what there is, if it is time to; to be called some times a second."""
        memory, now = memory_in_use(), time.monotonic()
        self._least = min(self._least, memory)
        has_grown = memory - self._least > self._limit
        if (has_grown and now >= self._may_give_back) or now >= self._try_again:
            _give_back()
            self._least = memory_in_use()
            had_much = memory - self._least > _MUCH
            self._pause_s = _GIVE_BACK_S if had_much or has_grown else 2 * self._pause_s
            self._may_give_back = now + _GIVE_BACK_S
            self._try_again = math.inf if self._pause_s > _LAST_S else now + self._pause_s


def memory_in_use() -> int:
    """The bytes of this process in memory; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _give_back() -> None:
    """Give the system what the C library keeps of memory that nobody uses; GNU's alone can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)
