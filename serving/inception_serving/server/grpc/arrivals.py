"""Messages on their way in, which nobody may keep others from sending.

gRPC bounds each message, inflated too, by the length that it announces; but a thousand calls may
each announce that much, or nothing, and never send the rest. So the calls that wait for their
message are known, and are ended where they have waited too long, or where others need their place
or their memory: those that have waited longest first.
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
        self._since: dict[Any, float] = {}  # by context, oldest first
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
        with self._lock:
            self._since[context] = time.monotonic()
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
                self._since.pop(context, None)

    def make_way(self) -> bool:
        """End the call that has waited longest, if that is long; whether there was one."""
        with self._lock:
            context, since = next(iter(self._since.items()), (None, 0.0))
            if context is None or time.monotonic() - since < _CROWDED_S:
                return False
            del self._since[context]
        context.cancel()
        return True

    def _waiting(self) -> list[tuple[Any, float]]:
        with self._lock:
            return list(self._since.items())

    def _watch(self) -> None:
        while not self._stopping.wait(_LOOK_S):
            now = time.monotonic()
            old = [(context, since) for context, since in self._waiting() if now - since > _YOUNG_S]
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
