"""Requests of many clients, run as one batch.

TF Serving's parameters and semantics (batching/README.md, batching/batching_session.cc,
servables/tensorflow/bundle_factory_util.h; and tensorflow's
core/kernels/batching_util/shared_batch_scheduler.h), with two differences, so that no client can
spoil another's request: tensors of different shapes are never put in one batch, and where a batch
fails because of its input, each request in it is run by itself.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from inception_serving import errors
from inception_serving.server.metrics import Metrics
from inception_serving.server.saved_model import Model
from inception_serving.tensors import Tensor

_Key = tuple[Any, ...]


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


class BatchScheduler:
    """The threads that run batches, those of all models."""

    def __init__(self, parameters: BatchingParameters, metrics: Metrics) -> None:
        """Start the threads."""
        self.parameters = parameters
        self.metrics = metrics
        self.changed = threading.Condition()
        # The queues that hold something: a dict keeps their turn, and forgets those of models
        # that have gone.
        self._active: dict[_Queue, None] = {}
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._work, name=f"batch_{number}", daemon=True)
            for number in range(parameters.num_batch_threads)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Run what is queued at once, and end the threads."""
        with self.changed:
            self._stopping = True
            self.changed.notify_all()
        for thread in self._threads:
            thread.join()

    def activate(self, queue: _Queue) -> None:
        """Say that a queue holds something; call it with `changed` held."""
        self._active.setdefault(queue)
        self.changed.notify()

    def _work(self) -> None:
        while (found := self._next()) is not None:
            queue, batch = found
            queue.run(batch)

    def _next(self) -> tuple[_Queue, _Batch] | None:
        with self.changed:
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
                        self.activate(queue)
                    return queue, batch
                if self._stopping:
                    return None
                self.changed.wait(None if wake == float("inf") else max(0.0, wake - now))


class BatchedModel:
    """A model whose requests, all but those for some of a signature's outputs, run in batches."""

    def __init__(
        self, model: Model, scheduler: BatchScheduler, parameters: BatchingParameters
    ) -> None:
        """See `BatchingParameters`; the scheduler's threads run the batches."""
        self._model = model
        self._queues = {
            name: _Queue(model, name, scheduler, parameters) for name in model.signatures
        }

    @property
    def signatures(self) -> Mapping[str, Any]:
        """See `Model`."""
        return self._model.signatures

    def can_run(self, signature_name: str) -> bool:
        """See `Model`."""
        return self._model.can_run(signature_name)

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
        if set(wanted) != set(self.signatures[signature_name].outputs):
            return self._model.run(signature_name, inputs, wanted, deadline=deadline)
        size = _batch_size(inputs)
        if size == 0:
            return self._model.run(signature_name, inputs, wanted, deadline=deadline)
        parts = self._queues[signature_name].put(inputs, size)
        results = []
        for part in parts:
            try:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                results.append(part.result(left))
            except TimeoutError:
                for other in parts:
                    other.cancel()
                raise errors.ResourceExhaustedError(
                    "Run() timeout exceeded while waiting in batching queue"
                ) from None
        if len(results) == 1:
            return results[0]
        return {name: np.concatenate([result[name] for result in results]) for name in wanted}


@dataclass
class _Task:
    """A request, or a part of one."""

    inputs: Mapping[str, Tensor]
    size: int
    put_at: float = field(default_factory=time.monotonic)
    future: Future[dict[str, Tensor]] = field(default_factory=Future)


@dataclass
class _Batch:
    started: float = field(default_factory=time.monotonic)
    tasks: list[_Task] = field(default_factory=list)
    size: int = 0

    def add(self, task: _Task) -> None:
        self.tasks.append(task)
        self.size += task.size


class _Queue:
    """The batches of one signature: closed ones, and one for each shape of inputs that is open."""

    def __init__(
        self,
        model: Model,
        signature_name: str,
        scheduler: BatchScheduler,
        parameters: BatchingParameters,
    ) -> None:
        self._model = model
        self._signature_name = signature_name
        self._outputs = sorted(model.signatures[signature_name].outputs)
        self._scheduler = scheduler
        self._parameters = parameters
        self._metrics = scheduler.metrics
        self._timeout_s = parameters.batch_timeout_micros / 1e6
        self._closed: deque[_Batch] = deque()
        self._open: dict[_Key, _Batch] = {}

    # ---- in ----

    def put(self, inputs: Mapping[str, Tensor], size: int) -> list[Future[dict[str, Tensor]]]:
        """Queue a request; the futures of its parts, in order."""
        for _ in inputs:
            self._metrics.input_batch_size.observe(value=size)
        key = self._key(inputs)
        with self._scheduler.changed:
            room = self._room(key)
            self._check_capacity(key, size, room)
            tasks = [_Task(inputs, size)]
            if self._parameters.enable_large_batch_splitting:
                tasks = self._split(inputs, size, room)
            for task in tasks:
                self._add(key, task)
            self._scheduler.activate(self)
        return [task.future for task in tasks]

    def _key(self, inputs: Mapping[str, Tensor]) -> _Key:
        """What tensors must share to be put in one batch."""
        if self._parameters.pad_variable_length_inputs:
            return tuple((name, tensor.ndim) for name, tensor in sorted(inputs.items()))
        return tuple((name, tensor.shape[1:]) for name, tensor in sorted(inputs.items()))

    def _room(self, key: _Key) -> int:
        """The rows that the open batch still takes."""
        taken = self._open[key].size if key in self._open else 0
        return self._parameters.execution_size - taken

    def _check_capacity(self, key: _Key, size: int, room: int) -> None:
        limits = self._parameters
        if size > limits.max_batch_size:
            raise errors.InvalidArgumentError(
                f"Task size {size} is larger than maximum input batch size {limits.max_batch_size}"
            )
        # The open batch counts, even one that is to be begun.
        batches = len(self._closed) + len(self._open)
        full = "The batch scheduling queue to which this task was submitted is full; "
        if limits.enable_large_batch_splitting:
            batches += key not in self._open
            execution_size = limits.execution_size
            capacity = (limits.max_enqueued_batches - batches) * execution_size + room
            if size > capacity:
                raise errors.UnavailableError(
                    f"{full}task size is {size} but scheduling capacity is only {capacity} "
                    f"(num_enqueued_batches={batches}, "
                    f"max_enqueued_batches={limits.max_enqueued_batches}, "
                    f"open_batch_size={execution_size - room}, "
                    f"max_execution_batch_size={execution_size})"
                )
            return
        needs_another = size > room or (key not in self._open and bool(self._open))
        if needs_another and batches >= limits.max_enqueued_batches:
            raise errors.UnavailableError(
                f"{full}currently {batches} batches enqueued and max_enqueued_batches is "
                f"{limits.max_enqueued_batches}"
            )

    def _split(self, inputs: Mapping[str, Tensor], size: int, room: int) -> list[_Task]:
        execution_size = self._parameters.execution_size
        tasks, start, step = [], 0, room or execution_size
        while start < size:
            end = min(size, start + step)
            part = {name: tensor[start:end] for name, tensor in inputs.items()}
            tasks.append(_Task(part, end - start))
            start, step = end, execution_size
        return tasks

    def _add(self, key: _Key, task: _Task) -> None:
        if task.size > self._room(key):
            self._closed.append(self._open.pop(key))
        self._open.setdefault(key, _Batch()).add(task)

    # ---- out ----

    def take(self, now: float, *, closing: bool) -> _Batch | None:
        """A batch that is full, or has waited long enough; call it with `changed` held."""
        if self._closed:
            return self._closed.popleft()
        for key, batch in self._open.items():
            is_full = batch.size >= self._parameters.execution_size
            if closing or is_full or now >= batch.started + self._timeout_s:
                return self._open.pop(key)
        return None

    def wake_time(self) -> float:
        """When an open batch will have waited long enough."""
        return min(
            (batch.started + self._timeout_s for batch in self._open.values()),
            default=float("inf"),
        )

    def holds_something(self) -> bool:
        return bool(self._closed or self._open)

    def run(self, batch: _Batch) -> None:
        """Run a batch, and give each of its requests its rows, or its error."""
        # Those cancelled have passed their deadline.
        tasks = [task for task in batch.tasks if task.future.set_running_or_notify_cancel()]
        pool = self._scheduler.parameters.thread_pool_name
        for task in tasks:
            waited = (time.monotonic() - task.put_at) * 1e6
            self._metrics.queuing_latency.observe(pool, value=waited)
        if tasks:
            self._run(tasks)

    def _run(self, tasks: Sequence[_Task]) -> None:
        try:
            answers = self._run_together(tasks)
        except errors.InvalidArgumentError as error:
            if len(tasks) == 1:
                tasks[0].future.set_exception(error)
            else:  # one of them is to blame, and the others are not
                for task in tasks:
                    self._run([task])
        except errors.StatusError as error:
            for task in tasks:  # an error each, as a traceback is written into it
                task.future.set_exception(type(error)(str(error)))
        except Exception as error:
            for task in tasks:
                text = f"{type(error).__name__}: {error}"
                task.future.set_exception(errors.InternalError(text))
        else:
            for task, answer in zip(tasks, answers, strict=True):
                task.future.set_result(answer)

    def _run_together(self, tasks: Sequence[_Task]) -> list[dict[str, Tensor]]:
        size = sum(task.size for task in tasks)
        padded = self._parameters.padded_size(size)
        self._metrics.padding_size.observe(str(padded), value=padded - size)
        self._metrics.processed_batch_size.observe(value=padded)
        self._metrics.wrapped_run_count.add()
        merged = {
            name: _merge([task.inputs[name] for task in tasks], padded - size)
            for name in tasks[0].inputs
        }
        outputs = self._model.run(self._signature_name, merged, self._outputs)
        for tensor in outputs.values():
            if tensor.ndim == 0:
                raise errors.FailedPreconditionError("Batched output tensor has 0 dimensions")
            if len(tensor) != padded:
                raise errors.FailedPreconditionError(
                    "Batched output tensor's 0th dimension does not equal the sum of the 0th "
                    "dimension sizes of the input tensors"
                )
        ends = np.cumsum([task.size for task in tasks]).tolist()
        return [
            {name: tensor[end - task.size : end] for name, tensor in outputs.items()}
            for task, end in zip(tasks, ends, strict=True)
        ]


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


def _merge(parts: Sequence[Tensor], padding: int) -> Tensor:
    """The parts below each other, padded with rows that are surely valid, the last part's first."""
    shape = tuple(np.max([part.shape[1:] for part in parts], axis=0)) if parts[0].ndim > 1 else ()
    padded = [_enlarge(part, shape) for part in parts]
    return np.concatenate([*padded, *[padded[-1][:1]] * padding])


def _enlarge(part: Tensor, shape: tuple[int, ...]) -> Tensor:
    if part.shape[1:] == shape:
        return part
    if part.size == 0:
        raise errors.InvalidArgumentError("Got empty tensor in batch of non-empty tensors.")
    # TF Serving fills with the tensor's first element (batching/batching_util.cc, AddPadding).
    enlarged = np.full((len(part), *shape), part.ravel()[0], dtype=part.dtype)
    enlarged[tuple(slice(size) for size in part.shape)] = part
    return enlarged
