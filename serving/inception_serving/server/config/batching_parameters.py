"""Batching parameters: TF Serving's, and what they rule out."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from inception_serving import errors


@dataclass(frozen=True)
class BatchingParameters:
    """TF Serving's BatchingParameters (servables/tensorflow/session_bundle_config.proto).

    Attributes:
        max_batch_size: the rows of a batch, and of a request unless it may be split.
        batch_timeout_micros: how long a batch waits for more rows once a thread is free.
        max_enqueued_batches: how many batches of a signature may wait; more is UNAVAILABLE.
        num_batch_threads: how many batches run at a time, of all models together.
        thread_pool_name: a label of the metrics.
        allowed_batch_sizes: a batch is padded to the next of these; in rising order, the last one
            the largest batch.
        pad_variable_length_inputs: pad tensors of different shapes to the largest in the batch.
        enable_large_batch_splitting: split requests that are larger than a batch.
        max_execution_batch_size: the rows of a batch where requests may be split;
            `max_batch_size` if None.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = field(default_factory=lambda: os.cpu_count() or 1)
    thread_pool_name: str = "model_server_batch_threads"
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int | None = None

    def __post_init__(self) -> None:
        """Check them.

        Raises:
            errors.InvalidArgumentError: they contradict each other, or make no sense.
        """
        for name in ("max_batch_size", "max_enqueued_batches", "num_batch_threads"):
            if getattr(self, name) < 1:
                raise errors.InvalidArgumentError(
                    f"{name} must be positive; was {getattr(self, name)}"
                )
        if self.batch_timeout_micros < 0:
            raise errors.InvalidArgumentError(
                f"batch_timeout_micros must be non-negative; was {self.batch_timeout_micros}"
            )
        if not 1 <= self.execution_size <= self.max_batch_size:
            raise errors.InvalidArgumentError(
                "max_execution_batch_size must be positive and at most max_batch_size "
                f"({self.max_batch_size}); was {self.execution_size}"
            )
        sizes = self.allowed_batch_sizes
        if list(sizes) != sorted(set(sizes)) or any(size < 1 for size in sizes):
            raise errors.InvalidArgumentError(
                "allowed_batch_sizes entries must be monotonically increasing"
            )
        if sizes and sizes[-1] != self.execution_size:
            raise errors.InvalidArgumentError(
                "Last entry in allowed_batch_sizes must match max_batch_size; last entry was "
                f"{sizes[-1]}; expected {self.execution_size}"
            )

    @property
    def execution_size(self) -> int:
        """The most rows of a batch."""
        if self.enable_large_batch_splitting and self.max_execution_batch_size is not None:
            return self.max_execution_batch_size
        return self.max_batch_size

    def padded_size(self, size: int) -> int:
        """The rows that a batch is run with."""
        return next((allowed for allowed in self.allowed_batch_sizes if allowed >= size), size)
