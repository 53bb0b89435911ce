"""Messages on their way in, which nobody may keep others from sending.

gRPC bounds each message, inflated too, by the length that it announces; but a thousand calls may
each announce that much, or nothing, and never send the rest. So the calls that wait for their
message are known, and are ended where they have waited too long, or where others need their place
or their memory: first those of the connection that has most of them, the longest waiting first.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from inception_serving import errors

_MESSAGE_S = 60.0  # a large message over a slow line
_YOUNG_S = 0.25  # nobody is ended who has not waited for so long
_CROWDED_S = 0.05  # but where there is no place for another
_ALONE_S = 1.0  # a connection's only call may wait because this server is busy
_LOOK_S = 0.05


class Arrivals:
    """The calls whose message is not there yet."""

    def __init__(self, *, crowded: Callable[[], int], memory_limit: int) -> None:
        """Nothing is watched before `start`.

        Args:
            crowded: how many calls too many there are.
            memory_limit: bytes by which the process may grow while calls send slowly.
        """
        self._crowded = crowded
        self._memory_limit = memory_limit
        # Since when each waits, by its connection and its context, oldest first.
        self._since: dict[str, dict[Any, float]] = {}
        self._lock = threading.Lock()
        self._memory = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="arrivals", daemon=True)

    def start(self) -> None:
        """Watch from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more, and wait for no message."""
        with self._lock:
            self._stopping.set()
        for context, _ in self._waiting():
            context.cancel()

    def receive(self, messages: Iterator[bytes], context: Any) -> bytes | None:
        """A call's message; None where the call has ended.

        Raises:
            errors.UnimplementedError: the client has said all, and there was none.
        """
        connection = context.peer()
        with self._lock:
            self._since.setdefault(connection, {})[context] = time.monotonic()
            is_stopping = self._stopping.is_set()
        if is_stopping:
            context.cancel()
        try:
            return next(messages)
        except StopIteration:
            raise errors.UnimplementedError("The call needs exactly one message.") from None
        except Exception:  # gRPC's, for a call that has ended; of no other type
            return None
        finally:
            with self._lock:
                self._forget(connection, context)

    def make_way(self) -> bool:
        """End a call of a connection with several, if it has waited long; whether one was."""
        with self._lock:
            connection = max(self._since, key=lambda each: len(self._since[each]), default="")
            if len(self._since.get(connection, ())) < 2:
                return False
            context, since = next(iter(self._since[connection].items()))
            if time.monotonic() - since < _CROWDED_S:
                return False
            self._forget(connection, context)
        context.cancel()
        return True

    def _forget(self, connection: str, context: Any) -> None:
        waiting = self._since.get(connection, {})
        waiting.pop(context, None)
        if not waiting:
            self._since.pop(connection, None)

    def _waiting(self, young_s: float = 0, alone_s: float = 0) -> list[tuple[Any, float]]:
        """Those that have waited for so long, in the order in which they are to be ended.

        Args:
            young_s: seconds, of a connection with several.
            alone_s: seconds, of one with a single call.
        """
        now = time.monotonic()
        with self._lock:
            by_connection = sorted(self._since.values(), key=len, reverse=True)
            return [
                (context, since)
                for waiting in by_connection
                for context, since in waiting.items()
                if now - since >= (alone_s if len(waiting) == 1 else young_s)
            ]

    def _watch(self) -> None:
        while not self._stopping.wait(_LOOK_S):
            now = time.monotonic()
            old = self._waiting(_YOUNG_S, _ALONE_S)
            if not old:
                self._memory = _memory()
                continue
            too_many = self._crowded()
            if _memory() - self._memory > self._memory_limit:
                too_many = len(old) // 2 + 1  # the others may be those whose turn is held up
            for place, (context, since) in enumerate(old):
                if place < too_many or now - since > _MESSAGE_S:
                    context.cancel()


def _memory() -> int:
    """The bytes of this process in memory; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
