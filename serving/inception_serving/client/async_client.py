"""The client for programs that run on asyncio."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar

import grpc.aio
from numpy.typing import ArrayLike

from inception_serving import errors
from inception_serving.client.client import DEFAULT_SIGNATURE, ClientBase, Version, chunked
from inception_serving.client.connection import GrpcChannel, Pause, Send, Setup, Step, Steps, Wait
from inception_serving.client.images import (
    Image,
    NamedImage,
    check_several,
    is_one,
    name_image,
    name_images,
)
from inception_serving.client.remote_model import RemoteModel
from inception_serving.client.results import Classification, Comparison, VersionStatus
from inception_serving.client.signatures import ModelMetadata
from inception_serving.tensors import Tensor

_Result = TypeVar("_Result")


def open_async_channel(setup: Setup) -> Any:
    """gRPC's, or REST's where the address is of HTTP, for the event loop that runs."""
    if not setup.address.is_http:
        return GrpcChannel(setup, grpc.aio)
    from inception_serving.client.rest import RestChannel  # which imports httpx

    return RestChannel(setup)


class AsyncClient(ClientBase):
    """A `Client` whose calls are awaited.

        async with AsyncClient("localhost:8500", model="flowers") as client:
            results = await asyncio.gather(*(client.predict(path) for path in paths))

    Its options, methods and errors are those of `Client`, and so is what it does between sending
    and being answered. It sends with `grpc.aio`, on the event loop; a thread reads and encodes
    images and tensors, which would hold the loop up. Cancelling a call cancels its request. In
    another event loop, one after the other, it connects anew.
    """

    _IN_FLIGHT = 16
    _home: tuple[int, asyncio.AbstractEventLoop] | None = None

    # ---- images ----

    async def predict(
        self,
        images: Image | Iterable[Image] | AsyncIterable[Image],
        *,
        signature: str = DEFAULT_SIGNATURE,
        timeout_s: float | None = None,
    ) -> Any:
        """See `Client.predict`: a `Classification` for one image, a list of them for several."""
        if isinstance(images, AsyncIterable) or not is_one(images):
            stream = self._stream(self._remote, images, signature, timeout_s)
            return [result async for result in stream]
        self._open()
        deadline = self._deadline(timeout_s)
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                await self._turns.acquire()
        except TimeoutError:
            raise self._late() from None
        try:
            steps = self._remote.classify([name_image(images)], signature, deadline)
            return (await self._run(steps))[0]
        finally:
            self._turns.release()

    def predict_stream(
        self,
        images: Iterable[Image] | AsyncIterable[Image],
        *,
        signature: str = DEFAULT_SIGNATURE,
        timeout_s: float | None = None,
    ) -> AsyncIterator[Classification]:
        """See `Client.predict_stream`; the images may come from an asynchronous iterator too."""
        if not isinstance(images, AsyncIterable):
            check_several(images, "predict_stream")
        return self._stream(self._remote, images, signature, self._seconds(timeout_s))

    async def compare(
        self,
        images: Iterable[Image],
        one: Version,
        other: Version,
        *,
        signature: str = DEFAULT_SIGNATURE,
        timeout_s: float | None = None,
    ) -> list[Comparison]:
        """See `Client.compare`."""
        both = itertools.tee([images] if is_one(images) else images)

        async def ask(version: Version, copy: Iterable[Image]) -> list[Classification]:
            stream = self._stream(self._remote_of(version), copy, signature, timeout_s)
            return [result async for result in stream]

        asked = [
            asyncio.ensure_future(ask(version, copy))
            for version, copy in zip((one, other), both, strict=True)
        ]
        try:
            answers = await asyncio.gather(*asked)
        finally:
            for task in asked:
                task.cancel()
        return [Comparison(*pair) for pair in zip(*answers, strict=True)]

    async def _stream(
        self,
        remote: RemoteModel,
        images: Iterable[Image] | AsyncIterable[Image],
        signature: str,
        timeout_s: float | None,
    ) -> AsyncIterator[Classification]:
        self._open()

        async def classify(chunk: list[NamedImage]) -> list[Classification]:
            async with self._turns:
                return await self._run(remote.classify(chunk, signature, self._deadline(timeout_s)))

        window: deque[asyncio.Task[list[Classification]]] = deque()
        try:
            async for chunk in self._chunks(images):
                if len(window) == self._limits.in_flight:
                    for result in await window.popleft():
                        yield result
                window.append(asyncio.create_task(classify(chunk)))
            while window:
                for result in await window.popleft():
                    yield result
        finally:
            for task in window:
                task.cancel()
            await asyncio.gather(*window, return_exceptions=True)

    async def _chunks(
        self, images: Iterable[Image] | AsyncIterable[Image]
    ) -> AsyncIterator[list[NamedImage]]:
        size = self._limits.batch_size
        if not isinstance(images, AsyncIterable):
            for chunk in chunked(name_images(images), size):
                yield chunk
            return
        chunk, place = [], 0
        async for image in images:
            chunk.append(name_image(image, f"images[{place}]"))
            place += 1
            if len(chunk) == size:
                yield chunk
                chunk = []
        if chunk:
            yield chunk

    # ---- tensors and the model ----

    async def predict_tensors(
        self,
        inputs: Mapping[str, ArrayLike],
        *,
        signature: str = DEFAULT_SIGNATURE,
        outputs: Sequence[str] = (),
        timeout_s: float | None = None,
    ) -> dict[str, Tensor]:
        """See `Client.predict_tensors`."""
        deadline = self._deadline(timeout_s)
        return await self._run(self._remote.predict(inputs, signature, outputs, deadline))

    async def metadata(self, *, timeout_s: float | None = None) -> ModelMetadata:
        """See `Client.metadata`."""
        return await self._run(self._remote.metadata(self._deadline(timeout_s)))

    async def status(self, *, timeout_s: float | None = None) -> list[VersionStatus]:
        """See `Client.status`."""
        return await self._run(self._remote.status(self._deadline(timeout_s)))

    async def wait_until_ready(self, timeout_s: float = 60.0) -> int:
        """See `Client.wait_until_ready`."""
        return await self._run(self._remote.wait_until_ready(self._seconds(timeout_s)))

    async def close(self) -> None:
        """Hang up; the requests under way are cancelled, and a later call connects anew."""
        if self._home == (os.getpid(), asyncio.get_running_loop()):
            self._home = None
            await self._channel.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    # ---- steps carried out ----

    def _open(self) -> None:
        """A connection of this process and event loop."""
        home = os.getpid(), asyncio.get_running_loop()
        if self._home == home:
            return
        for remote in (self._remote, *self._versions.values()):
            remote.forget_calls()
        self._turns = asyncio.Semaphore(self._limits.in_flight)
        self._channel = open_async_channel(self._setup)
        self._home = home

    async def _run(self, steps: Steps[_Result]) -> _Result:
        """As `connection.drive`, awaiting each step."""
        self._open()
        try:
            step = next(steps)
            while True:
                try:
                    done = await self._do(step)
                except Exception as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(done)
        except StopIteration as end:
            result: _Result = end.value
            return result
        finally:
            steps.close()

    async def _do(self, step: Step) -> Any:
        if isinstance(step, Send):
            return await self._channel.send_and_wait(step)
        if isinstance(step, Pause):
            return await asyncio.sleep(step.seconds)
        if isinstance(step, Wait):
            other = asyncio.shield(asyncio.wrap_future(step.future))
            try:
                return await asyncio.wait_for(other, max(0.0, step.timeout_s))
            except TimeoutError:
                raise errors.DeadlineExceededError("Deadline exceeded") from None
        return await asyncio.to_thread(step.run)
