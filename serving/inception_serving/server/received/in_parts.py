"""Work on what a client has sent, in parts between which other requests have their turn.

In one go nothing else runs in the process until 60 MB have been looked through.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import AnyStr

from inception_serving.server.received.pauses import let_others_run, one_at_a_time

_AT_ONCE = 1 << 17  # bytes or characters, in half a millisecond at most
_BLANKS_AT_ONCE = 1 << 16
_PART_S = 3e-4  # of work, after which others have their turn before the next part
_BLANKS = re.compile(rf"[ \n\r\t]{{0,{_BLANKS_AT_ONCE}}}+")


def find(text: AnyStr, wanted: AnyStr, start: int, end: int) -> int:
    """Where something begins, as the method gives it; -1 where it is not."""
    for place in range(start, end, _AT_ONCE):
        if place > start:
            let_others_run()
        # What is at the seam is found whole.
        found = text.find(wanted, place, min(place + _AT_ONCE + len(wanted) - 1, end))
        if found >= 0:
            return found
    return -1


def after_blanks(text: str, at: int) -> int:
    """Where JSON's blanks end that may begin at a place."""
    while True:
        blanks = _BLANKS.match(text, at)
        assert blanks is not None
        if blanks.end() - at < _BLANKS_AT_ONCE:
            return blanks.end()
        at = blanks.end()
        let_others_run()


def parts(most: int) -> Callable[[int], AbstractContextManager[None]]:
    """What each part of some work is done within, told of its bytes.

    Others run between them, whenever there was work for a moment; and of parts that are large, one
    is at work at a time.

    Args:
        most: the bytes that a part has at most, whatever is told.
    """
    began_s = time.thread_time()

    @contextmanager
    def part(size: int) -> Iterator[None]:
        nonlocal began_s
        if time.thread_time() - began_s > _PART_S:
            let_others_run()
            began_s = time.thread_time()
        with one_at_a_time(min(size, most)):
            yield

    return part
