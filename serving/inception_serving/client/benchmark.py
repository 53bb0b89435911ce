"""A load generator for a server: how many answers it gives, and how long each takes.

Closed loop: so many clients, each of which asks again once it is answered. Open loop: requests at
random moments, so many a second on average, whether or not those before them are answered; the
time of each counts from the moment that it was due, so that a server (or a client) that falls
behind is seen. Requests are encoded beforehand, and none is sent a second time.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from inception_serving.client.async_client import open_async_channel
from inception_serving.client.client import DEFAULT_SIGNATURE, Client
from inception_serving.client.connection import Send
from inception_serving.client.images import Image, encode, is_one
from inception_serving.errors import AnswerError, StatusError

# Of the one thread that sends and receives: where it works longer than this share of the time, the
# numbers are its own rather than the server's.
BUSY = 0.8
# Connections of an open loop, among which requests take turns.
_CONNECTIONS = 16
# Requests under way, beyond which a loop sends no more: the server will not catch up.
_MOST_UNDER_WAY = 10_000
# How long requests that were due are still sent once the time is over.
_BEHIND_S = 1.0
NOT_SENT = "NOT_SENT"
NO_ANSWER = "NO_ANSWER"


class Sample(NamedTuple):
    """One request.

    Attributes:
        start_s: when it was sent or due, from the beginning of the measurement.
        seconds: what it took.
        code: "OK", the name of its status, `NOT_SENT` where too many were under way, or
            `NO_ANSWER` where what was answered is none.
    """

    start_s: float
    seconds: float
    code: str


@dataclass(frozen=True)
class BenchResult:
    """What was measured.

    Attributes:
        clients: of a closed loop, else None.
        rate: requests a second, of an open loop, else None.
        batch_size: images a request.
        samples: every request begun while it was measured, in the order of their ends.
        seconds: from the first to the end of the last.
        loop_share: of that time, the share that the thread worked which sends and receives.
        process_share: processor time of the whole process, in processors.
    """

    clients: int | None
    rate: float | None
    batch_size: int
    samples: Sequence[Sample]
    seconds: float
    loop_share: float
    process_share: float

    @property
    def errors(self) -> dict[str, int]:
        """How many requests failed, by the name of their status, the most first."""
        return dict(Counter(each.code for each in self.samples if each.code != "OK").most_common())

    @property
    def requests_per_s(self) -> float:
        """Requests answered a second."""
        return sum(each.code == "OK" for each in self.samples) / self.seconds

    @property
    def images_per_s(self) -> float:
        """Images answered a second."""
        return self.requests_per_s * self.batch_size

    def percentile_ms(self, percent: float) -> float | None:
        """The time that so many percent of the requests answered took at most; None for none."""
        times = sorted(each.seconds for each in self.samples if each.code == "OK")
        # The nearest rank: a time that was measured, and none between two.
        return 1000 * times[max(0, math.ceil(percent / 100 * len(times)) - 1)] if times else None

    @property
    def client_is_the_limit(self) -> bool:
        """Whether the client was too busy for the numbers to be the server's."""
        return self.loop_share > BUSY

    def as_dict(self) -> dict[str, Any]:
        """All figures, and the requests themselves."""
        times = {f"p{each}_ms": self.percentile_ms(each) for each in (50, 90, 99, 100)}
        return {
            "clients": self.clients,
            "rate": self.rate,
            "batch_size": self.batch_size,
            "seconds": self.seconds,
            "requests": len(self.samples),
            "requests_per_s": self.requests_per_s,
            "images_per_s": self.images_per_s,
            **times,
            "errors": self.errors,
            "client": {
                "loop_share": self.loop_share,
                "process_share": self.process_share,
                "is_the_limit": self.client_is_the_limit,
            },
            "samples": [[round(a, 6), round(b, 6), code] for a, b, code in self.samples],
        }


def bench(
    address: str,
    model: str,
    images: Iterable[Image],
    *,
    clients: int | None = None,
    rate: float | None = None,
    seconds: float = 10.0,
    warmup_s: float = 2.0,
    batch_size: int = 1,
    signature: str = DEFAULT_SIGNATURE,
    **options: Any,
) -> BenchResult:
    """Send a server requests for some seconds, and measure each.

    Args:
        address: of TF Serving or another server of its API; see `Client`.
        model: its name there.
        images: sent in turn; see `Client.predict`. They are held in memory.
        clients: a closed loop of so many; 8 if `rate` is not given either.
        rate: an open loop of so many requests a second.
        seconds: how long requests are begun, after the warm-up.
        warmup_s: how long before that, without measuring.
        batch_size: images a request.
        signature: one that takes encoded images and gives `classes` and `scores`.
        options: of the client: `version`, `version_label`, `timeout_s`, `tls` and the like.

    Raises:
        ValueError: an option makes no sense, or there is no image.
        errors.ServingError: the first request, sent by itself, fails.
    """
    _check(clients, rate, seconds, warmup_s, batch_size)
    encoded = [encode(image) for image in ([images] if is_one(images) else images)]
    if not encoded:
        raise ValueError("There is no image to send.")
    count = max(1, len(encoded) // batch_size)
    batches = [
        [encoded[(start * batch_size + each) % len(encoded)] for each in range(batch_size)]
        for start in range(count)
    ]
    with Client(address, model, batch_size=batch_size, **options) as client:
        client.predict(batches[0], signature=signature)  # which checks what is answered
        requests = client.image_requests(batches, signature=signature)
    load = _Load(client, requests, seconds, warmup_s)
    if rate is not None:
        asyncio.run(load.run(_CONNECTIONS, lambda send: load.at_a_rate(send, rate)))
    else:
        clients = clients or 8
        asyncio.run(load.run(clients, load.by_clients))
    return BenchResult(
        clients, rate, batch_size, load.samples, load.seconds, load.loop_share, load.process_share
    )


def _check(
    clients: int | None, rate: float | None, seconds: float, warmup_s: float, batch_size: int
) -> None:
    if clients is not None and rate is not None:
        raise ValueError("Give clients (a closed loop) or a rate (an open loop), not both.")
    if clients is not None and clients < 1:
        raise ValueError(f"clients is at least 1: received {clients}.")
    if rate is not None and not 0 < rate < math.inf:
        raise ValueError(f"rate is above 0, in requests a second: received {rate}.")
    if not 0 < seconds < math.inf or not 0 <= warmup_s < math.inf:
        raise ValueError(
            "seconds is above 0 and warmup_s at least 0:"
            f" received seconds={seconds}, warmup_s={warmup_s}."
        )
    if batch_size < 1:
        raise ValueError(f"batch_size is at least 1: received {batch_size}.")


# Sends the next request, notes it and gives its code; takes when it was due, or None for now.
_SendOne = Callable[[float | None], Coroutine[Any, Any, str]]


class _Load:
    """One measurement."""

    def __init__(
        self, client: Client, requests: Sequence[Send], seconds: float, warmup_s: float
    ) -> None:
        self._setup = client.setup
        self._requests = itertools.cycle(requests)
        self._wanted_s, self._warmup_s = seconds, warmup_s
        self._begin = self._end = 0.0  # of the time measured, by time.perf_counter()
        self.samples: list[Sample] = []
        self.seconds = self.loop_share = self.process_share = 0.0

    async def run(
        self, connections: int, loop: Callable[[Sequence[_SendOne]], Awaitable[None]]
    ) -> None:
        channels = [open_async_channel(self._setup) for _ in range(connections)]
        self._begin = time.perf_counter() + self._warmup_s
        self._end = self._begin + self._wanted_s
        clocks = asyncio.create_task(self._read_clocks_at_begin())
        try:
            await loop([self._sender(channel) for channel in channels])
            wall, thread, process = await clocks
            self.seconds = max(time.perf_counter() - wall, 1e-9)
            self.loop_share = (time.thread_time() - thread) / self.seconds
            self.process_share = (time.process_time() - process) / self.seconds
        finally:
            clocks.cancel()
            await asyncio.gather(*(channel.close() for channel in channels))

    async def _read_clocks_at_begin(self) -> tuple[float, float, float]:
        await asyncio.sleep(max(0.0, self._begin - time.perf_counter()))
        return time.perf_counter(), time.thread_time(), time.process_time()

    def _sender(self, channel: Any) -> _SendOne:
        async def send(due: float | None) -> str:
            start = time.perf_counter() if due is None else due
            code = "OK"
            try:
                await channel.send_and_wait(next(self._requests))
            except StatusError as error:
                code = error.code
            except AnswerError:
                code = NO_ANSWER
            self._note(start, code)
            return code

        return send

    def _note(self, start: float, code: str) -> None:
        if self._begin <= start < self._end:
            self.samples.append(Sample(start - self._begin, time.perf_counter() - start, code))

    async def by_clients(self, senders: Sequence[_SendOne]) -> None:
        """Each client asks again once it is answered."""

        async def ask(send: _SendOne) -> None:
            while time.perf_counter() < self._end:
                if await send(None) != "OK":
                    await asyncio.sleep(0.01)  # or refusals at once would be all that runs

        await asyncio.gather(*(ask(send) for send in senders))

    async def at_a_rate(self, senders: Sequence[_SendOne], rate: float) -> None:
        """Requests at random moments (a Poisson process), the same every time."""
        moments = random.Random(0)
        due = self._begin - self._warmup_s
        under_way: set[asyncio.Task[str]] = set()
        for send in itertools.cycle(senders):
            due += moments.expovariate(rate)
            # Where the client can't keep up with the rate, it would go on for ever.
            if due >= self._end or time.perf_counter() > self._end + _BEHIND_S:
                break
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            if len(under_way) >= _MOST_UNDER_WAY:
                self._note(due, NOT_SENT)
                continue
            task = asyncio.create_task(send(due))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        await asyncio.gather(*under_way)
