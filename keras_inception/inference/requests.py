"""Many images scored by requests of a few each, of which one bad image fails the whole."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from keras_inception.data.examples import Examples
from keras_inception.data.types import Advance
from keras_inception.evaluation.evaluate_model import Scored, find_unreadable, no_images
from keras_inception.inference.predictor import decoder_reason

_RETRIES = 3  # of an image that was refused

Answer = Callable[[Sequence[bytes]], np.ndarray]


def score_by_requests(
    answer: Answer, examples: Examples, batch_size: int, in_flight: int, advance: Advance
) -> Scored:
    """Every image's scores, several requests under way at a time.

    Args:
        answer: from encoded images to float32 [batch, classes], called by several threads.
        batch_size: images a request.
        in_flight: requests under way at a time.
        advance: takes how many more images are done.

    Raises:
        DataError: no image can be decoded.
    """
    batches = [
        range(start, min(start + batch_size, len(examples)))
        for start in range(0, len(examples), batch_size)
    ]
    found: dict[int, np.ndarray] = {}
    pool = ThreadPoolExecutor(in_flight, thread_name_prefix="evaluate")
    try:
        asked = pool.map(lambda batch: _read_and_ask(answer, examples, batch), batches)
        for batch, answered in zip(batches, asked, strict=True):
            found |= answered
            advance(len(batch))
    finally:
        pool.shutdown(cancel_futures=True)
    # A server that merges requests fails all of a batch for one bad image in it, whoever sent it.
    # So an image that was refused is asked about again, with none of ours beside it.
    for index in range(len(examples)):
        for _ in range(_RETRIES):
            if index not in found:
                found |= _read_and_ask(answer, examples, [index])
    indices = np.array(sorted(found), np.int64)
    left_out = find_unreadable(examples, [indices])
    if not found:
        raise no_images(left_out)
    return Scored(indices, np.stack([found[index] for index in indices.tolist()]), left_out)


def _read_and_ask(
    answer: Answer, examples: Examples, indices: Sequence[int]
) -> dict[int, np.ndarray]:
    encoded = {}
    for index in indices:
        # What can't be read is found and named at the end.
        with contextlib.suppress(OSError):
            encoded[index] = examples.images.encoded(index)
    return _ask(answer, encoded)


def _ask(answer: Answer, encoded: dict[int, bytes]) -> dict[int, np.ndarray]:
    """The scores of each image by its index, those left out that can't be decoded."""
    if not encoded:
        return {}
    try:
        return dict(zip(encoded, answer(list(encoded.values())), strict=True))
    except Exception as error:
        if decoder_reason(error) is None:
            raise
    if len(encoded) == 1:
        return {}
    # One bad image fails its batch: find it, and ask about the others.
    found: dict[int, np.ndarray] = {}
    for index, one in encoded.items():
        found |= _ask(answer, {index: one})
    return found
