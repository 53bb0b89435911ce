"""A bound on the bytes of requests that the server holds at a time."""

from __future__ import annotations

import os
import threading
from types import TracebackType

from inception_serving import errors

_LARGEST = 2**31 - 1  # gRPC carries no message over 2 GiB


def default_limit() -> int:
    """An eighth of the memory, since a request is held as bytes, as arrays and as tensors."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not a POSIX system
        return _LARGEST
    return min(memory // 8, _LARGEST)


class ByteBudget:
    """The bytes of all requests in flight, over gRPC and REST together."""

    def __init__(self, limit: int) -> None:
        """At most `limit` bytes."""
        self.limit = limit
        self._held = 0
        self._lock = threading.Lock()

    def reserve(self, size: int = 0) -> Reservation:
        """Take `size` bytes until the `with` block ends; a reservation can grow meanwhile.

        Raises:
            errors.ResourceExhaustedError: the request is larger than the budget.
            errors.UnavailableError: it is not, but others hold too much of it.
        """
        reservation = Reservation(self)
        reservation.grow(size)
        return reservation

    def take(self, size: int, already: int) -> None:
        """Take more for a request that holds `already`; see `reserve`."""
        with self._lock:
            if size + already > self.limit:
                raise errors.ResourceExhaustedError(
                    f"The request is larger than the {self.limit} bytes that this server takes."
                )
            if self._held + size > self.limit:
                raise errors.UnavailableError(
                    f"The requests in flight hold {self._held} bytes, of at most {self.limit}: "
                    "try again later."
                )
            self._held += size

    def give_back(self, size: int) -> None:
        """Give back what was taken."""
        with self._lock:
            self._held -= size


class Reservation:
    """One request's part of a budget."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self._size = 0

    def grow(self, size: int) -> None:
        """Take more; see `ByteBudget.reserve`."""
        self._budget.take(size, self._size)
        self._size += size

    def release(self) -> None:
        """Give everything back."""
        self._budget.give_back(self._size)
        self._size = 0

    def __enter__(self) -> Reservation:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()
