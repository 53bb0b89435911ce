"""Messages on their way in, which nobody may keep others from sending.

gRPC bounds each message by the length that it announces; but a thousand calls may
each announce that much, or nothing, and never send the rest. So the calls that wait for their
message are known. Where many do, a connection may have its share of them and no more, and those
that have waited too long are ended, or whose place or memory others need: first those of the
connection that has most of them, the longest waiting first.
"""

from __future__ import annotations

import threading
import time
from typing import Protocol

from inception_serving.server.grpc.memory import KeptMemory, memory_in_use

_MESSAGE_S = 60.0  # a large message over a slow line
_YOUNG_S = 0.25  # nobody is ended who has not waited for so long
_ALONE_S = 1.0  # a connection's only call may wait because this server is busy
_LOOK_S = 0.05
# Where memory grows by a part of what it may, those are ended first whose message would be there at
# once if it were what it should be, a small one; but not a few, which may wait for this server.
_PART_FOR_SMALL, _FEW_SMALL = 8, 8


class WaitingCall(Protocol):
    """What is known of a call that waits; gRPC's own."""

    def cancel(self) -> object:
        """End it."""


class Arrivals:
    """The calls whose message is not there yet."""

    def __init__(self, *, most: int, memory_limit: int) -> None:
        """Nothing is ended before `start`.

        Args:
            most: how many may wait in all, before connections have only their share.
            memory_limit: bytes by which the process may grow while calls send slowly.
        """
        self._most = most
        self._memory_limit = memory_limit
        # Since when each waits, by its connection, oldest first.
        self._since: dict[bytes, dict[WaitingCall, float]] = {}
        self._small: dict[WaitingCall, float] = {}  # those of them with a small message
        self._count = 0
        self._lock = threading.Lock()
        self._memory = 0
        self._memory_before_small = 0
        self._kept = KeptMemory(memory_limit)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="arrivals", daemon=True)

    def start(self) -> None:
        """Watch from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more, and wait for no message."""
        with self._lock:
            self._stopping.set()
            calls = [call for waiting in self._since.values() for call in waiting]
        for call in calls:
            call.cancel()

    def begin(self, call: WaitingCall, connection: bytes, *, is_small: bool = False) -> bool:
        """Let a call wait; False where its connection has too many that do.

        Args:
            is_small: nobody sends a large message of its kind.
        """
        with self._lock:
            waiting = self._since.get(connection, {})
            # A connection's only call may always wait.
            is_full = waiting and self._count >= self._most
            if is_full and len(waiting) >= self._most // len(self._since):
                return False
            self._since[connection] = waiting
            waiting[call] = time.monotonic()
            if is_small:
                self._small[call] = waiting[call]
            self._count += 1
            is_stopping = self._stopping.is_set()
        if is_stopping:
            call.cancel()
        return True

    def end(self, call: WaitingCall, connection: bytes) -> None:
        """A call waits no more."""
        with self._lock:
            waiting = self._since.get(connection, {})
            if waiting.pop(call, None) is not None:
                self._count -= 1
                self._small.pop(call, None)
                if not waiting:
                    del self._since[connection]

    def _watch(self) -> None:
        while not self._stopping.wait(_LOOK_S):
            self._look_at_small()
            self._kept.look()
            oldest = self._oldest()
            if oldest is None:
                self._memory = memory_in_use()
                continue
            too_many = self._count - self._most
            is_large = memory_in_use() - self._memory > self._memory_limit
            now = time.monotonic()
            if too_many <= 0 and not is_large and now - oldest <= _MESSAGE_S:
                continue
            old = self._waiting()
            if is_large:
                too_many = len(old) // 2 + 1  # the others may be those whose turn is held up
            for place, (call, since) in enumerate(old):
                if place < too_many or now - since > _MESSAGE_S:
                    call.cancel()

    def _look_at_small(self) -> None:
        if not self._small:
            self._memory_before_small = memory_in_use()
            return
        if memory_in_use() - self._memory_before_small <= self._memory_limit // _PART_FOR_SMALL:
            return
        now = time.monotonic()
        with self._lock:
            old = [call for call, since in self._small.items() if now - since >= _YOUNG_S]
        if len(old) > _FEW_SMALL:
            for call in old:
                call.cancel()

    def _oldest(self) -> float | None:
        """Since when the first waits that may be ended."""
        now = time.monotonic()
        with self._lock:
            firsts = [(next(iter(each.values())), len(each)) for each in self._since.values()]
        return min((since for since, count in firsts if _is_old(now - since, count)), default=None)

    def _waiting(self) -> list[tuple[WaitingCall, float]]:
        """Those that may be ended, and since when they wait, in the order to end them in."""
        now = time.monotonic()
        with self._lock:
            by_connection = sorted(self._since.values(), key=len, reverse=True)
            return [
                (call, since)
                for waiting in by_connection
                for call, since in waiting.items()
                if _is_old(now - since, len(waiting))
            ]


def _is_old(waited_s: float, of_its_connection: int) -> bool:
    return waited_s >= (_ALONE_S if of_its_connection == 1 else _YOUNG_S)
