"""Results: a server's answers as a client returns them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from inception_serving import messages
from inception_serving.tensors import Tensor

_Part = TypeVar("_Part")


@dataclass(frozen=True)
class Classification:
    """The labels and scores of one image.

    Attributes:
        labels: best first.
        scores: one for each label, 0 to 1 where the model ends in a softmax.
    """

    labels: tuple[str, ...]
    scores: tuple[float, ...]

    @property
    def label(self) -> str:
        """The best label."""
        return self.labels[0]

    @property
    def score(self) -> float:
        """The best label's score."""
        return self.scores[0]


@dataclass(frozen=True)
class VersionStatus:
    """One version of a model on the server.

    Attributes:
        state: START, LOADING, AVAILABLE, UNLOADING or END.
        error: why it is not available, or "".
    """

    version: int
    state: str
    error: str


def classifications(outputs: Mapping[str, Tensor]) -> list[Classification]:
    """One of each row of `classes`, string [batch, k], and `scores`, float [batch, k]."""
    return [
        Classification(
            tuple(label.decode(errors="replace") for label in labels), tuple(row.tolist())
        )
        for labels, row in zip(outputs["classes"], outputs["scores"], strict=True)
    ]


def version_statuses(response: Any) -> list[VersionStatus]:
    """The versions in a GetModelStatusResponse, in its order."""
    state_name = messages.ModelVersionStatus.State.Name
    return [
        VersionStatus(entry.version, state_name(entry.state), entry.status.error_message)
        for entry in response.model_version_status
    ]


def gather(
    futures: Sequence[Future[_Part]],
    join: Callable[[list[_Part]], Any],
) -> Future[Any]:
    """One future for all: their results joined in order, or the first error."""
    joined: Future[Any] = Future()
    joined.set_running_or_notify_cancel()
    if not futures:
        joined.set_result(join([]))
    waiting = len(futures)
    lock = threading.Lock()

    def on_done(done: Future[_Part]) -> None:
        nonlocal waiting
        with lock:
            waiting -= 1
            last = waiting == 0
            if joined.done() or done.cancelled():
                return
            error = done.exception()
            if error is not None:
                joined.set_exception(error)
            elif last:
                joined.set_result(join([future.result() for future in futures]))
        if error is not None:
            for future in futures:
                future.cancel()

    for future in futures:
        future.add_done_callback(on_done)
    return joined
