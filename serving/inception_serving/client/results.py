"""Results: a server's answers as a client returns them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from inception_serving import messages
from inception_serving.errors import AnswerError
from inception_serving.tensors import Tensor

_Part = TypeVar("_Part")


@dataclass(frozen=True)
class Classification:
    """The labels and scores of one image.

    Attributes:
        labels: best first.
        scores: one for each label, 0 to 1 where the model ends in a softmax.
        version: the model's version that answered; None where the server does not say.
        seconds: what the image's request took, retries included.
    """

    labels: tuple[str, ...]
    scores: tuple[float, ...]
    version: int | None = None
    seconds: float = field(default=0.0, compare=False)

    @property
    def label(self) -> str:
        """The best label."""
        return self.labels[0]

    @property
    def score(self) -> float:
        """The best label's score."""
        return self.scores[0]


@dataclass(frozen=True)
class Comparison:
    """The answers of two versions to one image."""

    one: Classification
    other: Classification

    @property
    def agree(self) -> bool:
        """Whether both have the same best label."""
        return self.one.label == self.other.label

    @property
    def difference(self) -> float:
        """The largest difference between the scores of a label that both give; 1.0 for none."""
        scores = dict(zip(self.other.labels, self.other.scores, strict=True))
        pairs = zip(self.one.labels, self.one.scores, strict=True)
        both = [abs(score - scores[label]) for label, score in pairs if label in scores]
        return max(both, default=1.0)


@dataclass(frozen=True)
class VersionStatus:
    """One version of a model on the server.

    Attributes:
        state: START, LOADING, AVAILABLE, UNLOADING or END; UNKNOWN, with its number, for others.
        error: why it is not available, or "".
    """

    version: int
    state: str
    error: str


def classifications(
    outputs: Mapping[str, Tensor], images: int, *, version: int | None, seconds: float
) -> list[Classification]:
    """One of each row of `classes`, string [images, k], and `scores`, float [images, k].

    Raises:
        AnswerError: that is not what the outputs are.
    """
    labels, scores = outputs["classes"], outputs["scores"]
    if labels.dtype.kind != "O" or scores.dtype.kind not in "fV":  # V: bfloat16
        raise AnswerError(
            "classes are strings and scores are floats: the server answered "
            f"{kind_of(labels)} and {kind_of(scores)}."
        )
    if labels.ndim != 2 or labels.shape != scores.shape or labels.shape[0] != images:
        raise AnswerError(
            f"Each image has a row of labels and one of scores, so {images} of each: the server "
            f"answered classes {list(labels.shape)} and scores {list(scores.shape)}."
        )
    if not labels.shape[1]:
        raise AnswerError("The server answered no label for any image.")
    return [
        Classification(
            tuple(label.decode(errors="replace") for label in row),
            tuple(values),
            version,
            seconds,
        )
        for row, values in zip(labels, scores.astype(float).tolist(), strict=True)
    ]


def kind_of(tensor: Tensor) -> str:
    """What a tensor holds, in a word."""
    return "strings" if tensor.dtype.kind == "O" else str(tensor.dtype)


def version_statuses(response: Any) -> list[VersionStatus]:
    """The versions in a GetModelStatusResponse, in its order."""
    states = {number: name for name, number in messages.ModelVersionStatus.State.items()}
    return [
        VersionStatus(
            entry.version,
            states.get(entry.state, f"UNKNOWN ({entry.state})"),  # of a later TF Serving, maybe
            entry.status.error_message,
        )
        for entry in response.model_version_status
    ]


def gather(
    futures: Sequence[Future[_Part]],
    join: Callable[[list[_Part]], Any],
) -> Future[Any]:
    """One future for all: their results joined in order, or the first error.

    It can be cancelled until all are done, and with it those that have not begun.
    """
    joined: Future[Any] = Future()
    if not futures:
        joined.set_result(join([]))
    waiting = len(futures)
    settled = False
    lock = threading.Lock()

    def settle() -> bool:
        """Whether there is somebody to tell, and it is not told yet; ask under the lock."""
        nonlocal settled
        first, settled = not settled, True
        return first and joined.set_running_or_notify_cancel()

    def on_done(done: Future[_Part]) -> None:
        nonlocal waiting
        if done.cancelled():  # by whoever cancelled all, or as the client was interrupted
            joined.cancel()
            return
        error = done.exception()
        with lock:
            waiting -= 1
            if (error is None and waiting) or not settle():
                return
        if error is None:
            try:
                joined.set_result(join([future.result() for future in futures]))
            except Exception as failed:  # or nobody would hear of it
                joined.set_exception(failed)
            return
        joined.set_exception(error)
        for future in futures:
            future.cancel()

    def on_cancel(done: Future[Any]) -> None:
        if done.cancelled():
            with lock:
                settle()
            for future in futures:
                future.cancel()

    joined.add_done_callback(on_cancel)
    for future in futures:
        future.add_done_callback(on_done)
    return joined
