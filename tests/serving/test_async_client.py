"""The client on asyncio."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inception_serving import AsyncClient, ModelServer, errors
from tests.serving.caller import free_port, png


def run(work: Any) -> Any:
    return asyncio.run(work)


def test_many_at_once(server: ModelServer, tmp_path: Path) -> None:
    """In any order of answers, each call gets its own; and the loop is free meanwhile."""
    colours = {"red": png(200, 0, 0), "green": png(0, 200, 90), "blue": png(10, 90, 200)}
    (tmp_path / "red.png").write_bytes(colours["red"])

    async def work() -> Any:
        async with AsyncClient(server.address, model="colours") as client:
            version = await client.wait_until_ready(20)
            one = await client.predict(tmp_path / "red.png")
            several = await client.predict(list(colours.values()))
            many = await asyncio.gather(*(client.predict(data) for data in colours.values()))
            (status,) = await client.status()
            metadata = await client.metadata()
            return version, one, several, many, status, metadata

    version, one, several, many, status, metadata = run(work())

    assert version == status.version == metadata.version == 1
    assert one.label == "red"
    assert [result.label for result in several] == list(colours)
    assert several == many


def test_it_takes_turns(server: ModelServer) -> None:
    async def work() -> Any:
        ticks = 0
        async with AsyncClient(server.address, model="arithmetic") as client:
            slow = asyncio.ensure_future(
                client.predict_tensors({"seconds": np.float32(0.3)}, signature="slow")
            )
            while not slow.done():
                await asyncio.sleep(0.01)
                ticks += 1
            tensors = await client.predict_tensors({"x": [1.0]}, outputs=["y"])
            return ticks, tensors

    ticks, tensors = run(work())

    assert ticks > 5
    assert tensors["y"].tolist() == [2.5]


def test_errors_are_the_clients(server: ModelServer) -> None:
    async def work() -> None:
        async with AsyncClient(server.address, model="nobody") as client:
            with pytest.raises(errors.NotFoundError):
                await client.predict(png(1, 2, 3))
        async with AsyncClient(f"127.0.0.1:{free_port()}", model="m", retries=0) as client:
            with pytest.raises(errors.UnavailableError):
                await client.status(timeout_s=5)
        async with AsyncClient(server.address, model="colours") as client:
            with pytest.raises(errors.ImageError):
                await client.predict(b"no image")

    run(work())
