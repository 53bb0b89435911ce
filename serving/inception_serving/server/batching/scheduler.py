"""Requests of many clients, run as one batch.

TF Serving's parameters and semantics (batching/README.md, batching/batching_session.cc,
servables/tensorflow/bundle_factory_util.h; and tensorflow's
core/kernels/batching_util/shared_batch_scheduler.h), with two differences, so that no client can
spoil another's request: tensors of different shapes are never put in one batch, and where a batch
fails because of its input, each request in it is run by itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import Any

import numpy as np

from inception_serving import errors
from inception_serving.server.batching.queue import Batch, Queue
from inception_serving.server.config.batching_parameters import BatchingParameters
from inception_serving.server.metrics import Metrics
from inception_serving.server.model.saved_model import Model
from inception_serving.tensors import HighRank, Tensor


class BatchScheduler:
    """The threads that run batches, those of all models."""

    def __init__(self, parameters: BatchingParameters, metrics: Metrics) -> None:
        """Start the threads."""
        self.parameters = parameters
        self.metrics = metrics
        self._changed = threading.Condition()
        # The queues that hold something: a dict keeps their turn, and forgets those of models
        # that have gone.
        self._active: dict[Queue, None] = {}
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._work, name=f"batch_{number}", daemon=True)
            for number in range(parameters.num_batch_threads)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self, grace_s: float) -> None:
        """Run what is queued at once, and end the threads, which may take `grace_s` seconds."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        end = time.monotonic() + grace_s
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def put(
        self, queue: Queue, inputs: Mapping[str, Tensor], size: int
    ) -> list[Future[dict[str, Tensor]]]:
        """Queue a request; the futures of its parts, in order."""
        with self._changed:
            futures = queue.put(inputs, size)
            self._activate(queue)
        return futures

    def _activate(self, queue: Queue) -> None:
        self._active.setdefault(queue)
        self._changed.notify()

    def _work(self) -> None:
        while (found := self._next()) is not None:
            queue, batch = found
            queue.run(batch)
            del found, queue, batch  # or they would be kept until the next

    def _next(self) -> tuple[Queue, Batch] | None:
        with self._changed:
            while True:
                wake = float("inf")
                now = time.monotonic()
                for queue in list(self._active):
                    batch = queue.take(now, closing=self._stopping)
                    if batch is None:
                        wake = min(wake, queue.wake_time())
                        continue
                    del self._active[queue]  # and behind the others, if it holds more
                    if queue.holds_something():
                        self._activate(queue)
                    return queue, batch
                if self._stopping:
                    return None
                self._changed.wait(None if wake == float("inf") else max(0.0, wake - now))


class BatchedModel:
    """A model whose requests, all but those for some of a signature's outputs, run in batches."""

    def __init__(
        self, model: Model, scheduler: BatchScheduler, parameters: BatchingParameters
    ) -> None:
        """See `BatchingParameters`; the scheduler's threads run the batches."""
        self._model = model
        self._scheduler = scheduler
        pool = scheduler.parameters.thread_pool_name
        self._queues = {
            name: Queue(model, name, parameters, scheduler.metrics, pool)
            for name in model.signatures
        }

    @property
    def signatures(self) -> Mapping[str, Any]:
        """See `Model`."""
        return self._model.signatures

    def run(
        self,
        signature_name: str,
        inputs: Mapping[str, Tensor],
        outputs: Iterable[str],
        *,
        deadline: float | None = None,
    ) -> dict[str, Tensor]:
        """See `Model`. A request that is still queued at its deadline is dropped."""
        wanted = list(outputs)
        everything = set(wanted) == set(self.signatures[signature_name].outputs)
        is_usual = everything and not any(isinstance(part, HighRank) for part in inputs.values())
        size = _batch_size(inputs) if is_usual else 0
        if size == 0:
            return self._model.run(signature_name, inputs, wanted, deadline=deadline)
        parts = self._scheduler.put(self._queues[signature_name], inputs, size)
        results = []
        try:
            for part in parts:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                results.append(part.result(left))
        except TimeoutError:
            for part in parts:
                part.cancel()
            # What a client of TF Serving sees, whose own clock ends the call.
            raise errors.DeadlineExceededError("Timed out waiting for notification") from None
        finally:
            del parts, part  # in the traceback of an error that they hold, so that it keeps itself
        if len(results) == 1:
            return results[0]
        return {name: np.concatenate([result[name] for result in results]) for name in wanted}

    def run_together(
        self,
        outputs: Mapping[str, Iterable[str]],
        input_name: str,
        tensor: Tensor,
        *,
        deadline: float | None = None,
    ) -> dict[str, dict[str, Tensor]]:
        """See `Model`; such a run is never part of a batch, as in TF Serving."""
        return self._model.run_together(outputs, input_name, tensor, deadline=deadline)


def _batch_size(inputs: Mapping[str, Tensor]) -> int:
    """The rows of a request (batching/batching_util.h, ComputeTensorBatchSize)."""
    if not inputs:
        raise errors.InvalidArgumentError("Batching Run() must have at least one input tensor")
    if any(tensor.ndim == 0 for tensor in inputs.values()):
        raise errors.InvalidArgumentError(
            "Batching Run() input tensors must have at least one dimension"
        )
    sizes = {len(tensor) for tensor in inputs.values()}
    if len(sizes) > 1:
        raise errors.InvalidArgumentError(
            "Batching Run() input tensors must have equal 0th-dimension size"
        )
    return sizes.pop()
