"""HTTP/1.0 and 1.1 as TF Serving speaks it, on connections that nobody can hold up for long.

uvicorn with h11 cannot be taught libevent's manners: h11 answers nothing but HTTP/1.1, refuses a
request without Host, and spells its errors itself. httptools, a parser alone, refuses more than
libevent does. Source: libevent 2.1.12, http.c.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import lru_cache

from inception_serving import errors
from inception_serving.server.budget import ByteBudget, Reservation
from inception_serving.server.rest import http_request
from inception_serving.server.rest.http_request import BadRequest, FirstLine, Request

_log = logging.getLogger(__name__)

_LONGEST_HEAD, _MOST_LINES = 1 << 16, 1000  # libevent's has no end
# Parts of requests, lines and chunks, that are read of a connection before others have their turn.
_STEPS_AT_ONCE = 64
# Where more of a body comes at once, others have their turn before more is read; asyncio reads up
# to four times as much.
_MUCH_AT_ONCE = 1 << 16
# Of a body so much must come in this time, where others need its place.
_STEADY_BYTES, _STEADY_S = 1 << 16, 0.25
_TAKEN_S = 1.0  # in which an answer need not have been taken
_LINGER_S = 2.0  # for a client that still sends while it is refused

# libevent's own, which end where HTTP/1.1's first specification did; then the name of the class.
_PHRASES = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
    413: "Request Entity Too Large",
    417: "Expectation Failed",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    504: "Gateway Time-out",
}


@dataclass(frozen=True)
class Response:
    """An answer.

    Attributes:
        media_type: None for libevent's own, which is "text/html; charset=ISO-8859-1".
        headers: further ones; "Connection: close" ends the connection.
    """

    status: int
    content: bytes
    media_type: str | None = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def page(status: int) -> Response:
    """What libevent answers where no application does."""
    phrase = _phrase(status)
    content = (
        f"<HTML><HEAD>\n<TITLE>{status} {phrase}</TITLE>\n</HEAD><BODY>\n"
        f"<H1>{phrase}</H1>\n</BODY></HTML>\n"
    )
    return Response(status, content.encode(), "text/html", {"Connection": "close"})


class Rounds:
    """Turns of the connections whose clients have sent more than is read at a time.

    Of all of them one has its turn in a round of the loop, however many they are: a round takes no
    longer then, and whoever has sent a single request waits for some rounds.
    """

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()

    def wait(self, go_on: Callable[[], None]) -> None:
        """Have `go_on` called, behind those that wait already."""
        self._waiting.append(go_on)
        if len(self._waiting) == 1:
            self._call_next_soon()

    def _call_next_soon(self) -> None:
        asyncio.get_running_loop().call_soon(self._call_next)

    def _call_next(self) -> None:
        go_on = self._waiting.popleft()
        if self._waiting:
            self._call_next_soon()
        go_on()


class Connection(asyncio.Protocol):
    """One client's connection: a request at a time, answered before the next is read."""

    def __init__(
        self,
        answer: Callable[[Request], Awaitable[Response]],
        refuse: Callable[[errors.StatusError], Response],
        budget: ByteBudget,
        connections: set[Connection],
        rounds: Rounds,
        *,
        idle_s: float,
    ) -> None:
        """See `asyncio.Protocol`.

        Args:
            answer: answers a request, and sees to it that what the request holds is released.
            refuse: the answer to a request whose body may not be held.
            budget: what the bodies of all requests may hold.
            connections: the open ones, to which this one adds itself.
            rounds: where all of them wait for their turns.
            idle_s: how long a request's head may take, and anything more of a body, or of an
                answer that is to be taken.
        """
        self._answer = answer
        self._refuse = refuse
        self._budget = budget
        self._connections = connections
        self._rounds = rounds
        self._idle_s = idle_s
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._is_ending = False  # nothing more is read of it
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._waits_for_turn = False  # to send more of a body
        self._untaken = 0  # bytes of the answer that had not been taken at the last look
        self._held_answer: Reservation | None = None  # until it has been taken
        self._begin()

    def _begin(self) -> None:
        """Be ready for the next request."""
        self._read: Callable[[], bool] = self._read_first_line
        self._place = self._lines = 0  # of the buffer, that have been read
        self._first: FirstLine | None = None
        self._headers: dict[str, str] = {}
        self._last_header: str | None = None
        self._size = 0
        self._body = bytearray()
        self._held: Reservation | None = None
        self._since = self._loop.time()
        self._began = self._since
        self._steady = self._since  # the last time that a good part of a body had come
        self._since_steady = 0  # bytes

    @property
    def is_steady(self) -> bool:
        """Whether what comes of a body comes fast, or is little; or an answer is new."""
        if self._held_answer is not None:
            return self._steady > self._loop.time() - _TAKEN_S
        if self._held is None or self._held.size < _STEADY_BYTES or self._waits_for_turn:
            return True
        return self.steady_since > self._loop.time() - _STEADY_S

    @property
    def steady_since(self) -> float:
        """When a good part of a body came last, or the answer was given."""
        return self._steady

    @property
    def waiting_since(self) -> float | None:
        """When its wait for the request that is next, or has begun, began; None where one is
        answered."""
        return self._began if self._task is None else None

    @property
    def is_sending(self) -> bool:
        """Whether something of a request has come."""
        return self._first is not None or bool(self._buffer)

    def shut_down(self) -> None:
        """End as soon as the request under way, if there is one, has been answered."""
        self._is_ending = True
        if self._task is None:
            self._transport.close()

    def make_way(self) -> None:
        """End in the middle of a body, or of an answer, whose place others need."""
        if self._held_answer is not None:
            self._release_answer()
            self._transport.abort()
            return
        text = "The request came slowly, and others needed its place: try again later."
        self._end_with(self._refuse(errors.UnavailableError(text)))

    def abort(self) -> None:
        """End now."""
        self._transport.abort()

    # ---- asyncio's side ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        # So that `resume_writing` comes once an answer is taken, however little of it was left.
        transport.set_write_buffer_limits(0)
        self._connections.add(self)
        self._timer = self._loop.call_later(self._idle_s, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._connections.discard(self)
        self._is_ending = True
        if self._timer is not None:
            self._timer.cancel()
        self._release()
        self._release_answer()

    def eof_received(self) -> bool:
        """See `asyncio.Protocol`: a client that has said all may wait for the answer."""
        self._is_ending = True
        return self._task is not None

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if not self._is_ending:
            if not self.is_sending:
                self._began = self._loop.time()
            self._buffer += data
            self._go_on()
            sends_on = self._task is None and not self._is_ending and self._transport.is_reading()
            if sends_on and len(data) > _MUCH_AT_ONCE:
                self._waits_for_turn = True
                self._wait_for_turn()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`: the answer has been taken."""
        self._release_answer()
        if self._task is None:
            self._read_next()

    def _look(self) -> None:
        """End the connection where it has been idle for too long."""
        untaken = self._transport.get_write_buffer_size()
        left = self._since + self._idle_s - self._loop.time()
        is_stuck = untaken > 0 and untaken == self._untaken
        self._untaken = untaken
        if self._task is None and (is_stuck or (untaken == 0 and left <= 0)):
            if self._held is None or is_stuck:
                self._transport.abort()
                return
            text = f"Nothing more of the request came within {self._idle_s:g} s"
            self._end_with(self._refuse(errors.DeadlineExceededError(text)))
            return
        wait = left if left > 0 else self._idle_s
        self._timer = self._loop.call_later(wait, self._look)

    # ---- a request, part by part; each part says whether it is complete ----

    def _go_on(self) -> None:
        try:
            for _ in range(_STEPS_AT_ONCE):
                if self._task is not None or self._is_ending or not self._read():
                    return
            self._wait_for_turn()
        except BadRequest as error:
            self._end_with(page(error.status))
        except errors.StatusError as error:
            self._end_with(self._refuse(error))

    def _wait_for_turn(self) -> None:
        """Read no more before others have had their turn."""
        self._transport.pause_reading()
        self._rounds.wait(self._go_on_again)

    def _go_on_again(self) -> None:
        """Go on with what has come."""
        if self._waits_for_turn:
            self._waits_for_turn = False
            self._steady = self._loop.time()
        if self._task is None:
            self._transport.resume_reading()
            self._go_on()

    def _read_line(self) -> bytes | None:
        """The next line, without its end; None where it is not there yet."""
        end = self._buffer.find(b"\n", self._place)
        is_too_long = (end if end >= 0 else len(self._buffer)) > _LONGEST_HEAD
        if is_too_long or self._lines > _MOST_LINES:
            raise BadRequest(400)
        if end < 0:
            return None
        self._lines += 1
        line = bytes(self._buffer[self._place : end])
        self._place = end + 1
        return line[:-1] if line.endswith(b"\r") else line

    def _read_first_line(self) -> bool:
        if (line := self._read_line()) is None:
            return False
        self._first = http_request.read_first_line(line)
        self._read = self._read_header
        return True

    def _read_header(self) -> bool:
        if (line := self._read_line()) is None:
            return False
        if line:
            self._last_header = http_request.add_header(self._headers, self._last_header, line)
            return True
        assert self._first is not None
        self._drop_read()
        self._held = self._budget.reserve()
        size = http_request.body_size(self._first, self._headers)
        if size == 0:
            self._start()
            return False
        self._expect_body()
        self._since = self._steady = self._loop.time()
        if size is None:
            self._read = self._read_chunk_size
            return True
        if size > self._budget.largest:
            self._held.grow(size)  # which says so, before anything of it is read
        self._size = size
        self._read = self._read_body
        return True

    def _expect_body(self) -> None:
        assert self._first is not None
        if (expected := self._headers.get("expect")) is None or self._first.version < (1, 1):
            return
        if expected.lower() != "100-continue":
            raise BadRequest(417)
        if not self._buffer:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _take(self) -> bool:
        """Move what has come of a body, or of a chunk, to it; whether that was all."""
        assert self._held is not None
        part = min(len(self._buffer), self._size)
        held, self._held = self._held, None  # or it might have to make way for itself
        try:
            held.grow(part)
        finally:
            self._held = held
        if part == len(self._buffer) and not self._body:
            self._body, self._buffer = self._buffer, self._body
        else:
            self._body += memoryview(self._buffer)[:part]
            del self._buffer[:part]
        self._size -= part
        self._since = self._loop.time()
        self._since_steady += part
        if self._since_steady >= _STEADY_BYTES:
            self._since_steady, self._steady = 0, self._since
        return self._size == 0

    def _read_body(self) -> bool:
        if self._take():
            self._start()
        return False

    def _read_chunk_size(self) -> bool:
        if (line := self._read_line()) is None:
            return False
        self._drop_read()
        if line:
            self._size = http_request.chunk_size(line)
            self._read = self._read_chunk if self._size else self._read_trailer
        return True

    def _read_chunk(self) -> bool:
        if self._take():
            self._read = self._read_chunk_size
            return True
        return False

    def _read_trailer(self) -> bool:
        if (line := self._read_line()) is None:
            return False
        if line:
            if b":" not in line and line[:1] not in b" \t":
                raise BadRequest(413)
            return True
        self._drop_read()
        self._start()
        return False

    def _drop_read(self) -> None:
        del self._buffer[: self._place]
        self._place = self._lines = 0

    # ---- its answer ----

    def _start(self) -> None:
        assert self._first is not None and self._held is not None
        path = http_request.find_path(self._first)
        request = Request(
            self._first.method,
            path,
            self._first.version,
            self._headers,
            bytes(self._body),
            self._held,
        )
        self._held = None  # from here on it is the request's
        self._transport.pause_reading()
        self._task = self._loop.create_task(self._respond(request))

    async def _respond(self, request: Request) -> None:
        try:
            response = await self._answer(request)
        except Exception:
            _log.exception("A request failed.")
            response = page(500)
        finally:
            self._task = None
        if self._transport.is_closing():
            return
        self._transport.write(self._head(response, request))
        if request.method != "HEAD":  # libevent sends one here too, and nobody could go on
            self._transport.write(response.content)
            self._hold_answer()
        if (
            request.asks_to_close
            or (request.version < (1, 1) and not request.asks_to_keep)
            or response.headers.get("Connection") == "close"
            or http_request.is_ambiguous(request.headers)
            or self._is_ending
        ):
            self._is_ending = True
            self._transport.close()
            return
        self._begin()
        if self._transport.get_write_buffer_size() == 0:
            self._read_next()

    def _read_next(self) -> None:
        if not self._is_ending:
            self._since = self._began = self._loop.time()
            if self._buffer:  # a client that has not waited for its answer
                self._wait_for_turn()
            else:
                self._transport.resume_reading()

    def _end_with(self, response: Response) -> None:
        """Answer what is no request, and end."""
        self._release()
        self._is_ending = True
        self._transport.write(self._head(response, None))
        self._transport.write(response.content)
        # What a client still sends is taken and forgotten for a moment: a connection that is
        # closed over it would be reset, and the client never see the answer.
        if self._transport.can_write_eof():
            with suppress(OSError):  # the client has gone meanwhile
                self._transport.write_eof()
        self._loop.call_later(_LINGER_S, self._transport.close)

    def _release(self) -> None:
        if self._held is not None:
            self._held.release()
            self._held = None
        self._body = bytearray()

    def _hold_answer(self) -> None:
        """Count what has not been taken of an answer, if it is much."""
        untaken = self._transport.get_write_buffer_size()
        if untaken >= _STEADY_BYTES:
            self._steady = self._loop.time()
            self._held_answer = self._budget.hold(untaken)
            self._budget.make_room()

    def _release_answer(self) -> None:
        if self._held_answer is not None:
            self._held_answer.release()
            self._held_answer = None

    def _head(self, response: Response, request: Request | None) -> bytes:
        """The head of an answer, in libevent's order."""
        major, minor = (1, 1) if request is None else request.version
        is_kept = request is not None and request.asks_to_keep
        has_body = request is None or request.method != "HEAD"
        status = response.status
        lines = [f"HTTP/{major}.{minor} {status} {_phrase(status)}"]
        if response.media_type is not None:
            lines.append(f"Content-Type: {response.media_type}")
        asks_to_close = request is not None and request.asks_to_close
        for name, value in response.headers.items():
            if not (asks_to_close and name == "Connection"):  # it comes below
                lines.append(f"{name}: {value}")
        if minor >= 1:
            lines.append(f"Date: {_date(int(time.time()))}")
        elif is_kept:
            lines.append("Connection: keep-alive")
        if (minor >= 1 or is_kept) and has_body:
            lines.append(f"Content-Length: {len(response.content)}")
        if response.media_type is None and has_body:
            lines.append("Content-Type: text/html; charset=ISO-8859-1")
        if asks_to_close:
            lines.append("Connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


def _phrase(status: int) -> str:
    return _PHRASES.get(status, "Client Error" if status < 500 else "Server Error")


class Refusal(asyncio.Protocol):
    """A connection beyond those that are served at a time: told so, and closed."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        assert isinstance(transport, asyncio.Transport)
        response = page(503)
        transport.write(b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n")
        transport.write(b"Content-Type: text/html\r\n\r\n" + response.content)
        transport.close()
