"""The client for programs that run on asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

from numpy.typing import ArrayLike

from inception_serving.client import DEFAULT_SIGNATURE, Client
from inception_serving.images import Image
from inception_serving.results import VersionStatus
from inception_serving.signatures import ModelMetadata
from inception_serving.tensors import Tensor

_Result = TypeVar("_Result")


class AsyncClient:
    """A `Client` whose calls are awaited.

        async with AsyncClient("localhost:8500", model="flowers") as client:
            results = await asyncio.gather(*(client.predict(path) for path in paths))

    Its arguments, methods and errors are those of `Client`, which does the work in threads:
    encoding an image or a tensor would hold up the event loop. A call that is cancelled while it
    waits for one of the `in_flight` threads is not made; one that has begun ends unheard.
    """

    def __init__(self, address: str, model: str, *, in_flight: int = 16, **options: Any) -> None:
        """Nothing is sent before the first call.

        Args:
            address: "host:port", or "unix:/path/to/socket".
            model: the model's name on the server.
            in_flight: how many requests are under way at a time.
            **options: any other of `Client`.
        """
        self._client = Client(address, model, in_flight=in_flight, **options)
        self._pool = ThreadPoolExecutor(in_flight, thread_name_prefix="async-client")

    async def predict(
        self,
        images: Image | Sequence[Image],
        *,
        signature: str = DEFAULT_SIGNATURE,
        timeout_s: float | None = None,
    ) -> Any:
        """See `Client.predict`: a `Classification` for one image, a list of them for several."""
        future = self._client.predict_async(images, signature=signature, timeout_s=timeout_s)
        return await asyncio.wrap_future(future)

    async def predict_tensors(
        self,
        inputs: Mapping[str, ArrayLike],
        *,
        signature: str = DEFAULT_SIGNATURE,
        outputs: Sequence[str] = (),
        timeout_s: float | None = None,
    ) -> dict[str, Tensor]:
        """See `Client.predict_tensors`."""
        return await self._run(
            lambda: self._client.predict_tensors(
                inputs, signature=signature, outputs=outputs, timeout_s=timeout_s
            )
        )

    async def metadata(self, *, timeout_s: float | None = None) -> ModelMetadata:
        """See `Client.metadata`."""
        return await self._run(lambda: self._client.metadata(timeout_s=timeout_s))

    async def status(self, *, timeout_s: float | None = None) -> list[VersionStatus]:
        """See `Client.status`."""
        return await self._run(lambda: self._client.status(timeout_s=timeout_s))

    async def wait_until_ready(self, timeout_s: float = 60.0) -> int:
        """See `Client.wait_until_ready`."""
        return await self._run(lambda: self._client.wait_until_ready(timeout_s))

    async def close(self) -> None:
        """Let the requests under way finish, and hang up."""
        await asyncio.to_thread(self._pool.shutdown)
        await asyncio.to_thread(self._client.close)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _run(self, work: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)
