"""Requests for one signature, gathered into batches; and a batch, run.

Sources: tensorflow_serving/batching/batching_session.cc and batching_util.cc; and tensorflow's
core/kernels/batching_util/shared_batch_scheduler.h.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from inception_serving import errors
from inception_serving.server.config.batching_parameters import BatchingParameters
from inception_serving.server.metrics import Metrics
from inception_serving.server.model.saved_model import Model
from inception_serving.tensors import Tensor

_Key = tuple[Any, ...]


@dataclass
class _Task:
    """A request, or a part of one."""

    inputs: Mapping[str, Tensor]
    size: int
    put_at: float = field(default_factory=time.monotonic)
    future: Future[dict[str, Tensor]] = field(default_factory=Future)


@dataclass
class Batch:
    """Requests, or parts of them, that are run together: those that fit and came in time."""

    started: float = field(default_factory=time.monotonic)
    tasks: list[_Task] = field(default_factory=list)
    size: int = 0

    def add(self, task: _Task) -> None:
        self.tasks.append(task)
        self.size += task.size


class Queue:
    """The batches of one signature: closed ones, and one for each shape of inputs that is open.

    All but `run` is called with the scheduler's lock held.
    """

    def __init__(
        self,
        model: Model,
        signature_name: str,
        parameters: BatchingParameters,
        metrics: Metrics,
        thread_pool_name: str,
    ) -> None:
        self._model = model
        self._signature_name = signature_name
        self._outputs = sorted(model.signatures[signature_name].outputs)
        self._parameters = parameters
        self._metrics = metrics
        self._thread_pool_name = thread_pool_name
        self._timeout_s = parameters.batch_timeout_micros / 1e6
        self._closed: deque[Batch] = deque()
        self._open: dict[_Key, Batch] = {}

    # ---- in ----

    def put(self, inputs: Mapping[str, Tensor], size: int) -> list[Future[dict[str, Tensor]]]:
        """Queue a request; the futures of its parts, in order."""
        for _ in inputs:
            self._metrics.input_batch_size.observe(value=size)
        key = self._key(inputs)
        free_rows = self._free_rows(key)
        self._check_capacity(key, size, free_rows)
        tasks = [_Task(inputs, size)]
        if self._parameters.enable_large_batch_splitting:
            tasks = self._split(inputs, size, free_rows)
        for task in tasks:
            self._add(key, task)
        return [task.future for task in tasks]

    def _key(self, inputs: Mapping[str, Tensor]) -> _Key:
        """What tensors must share to be put in one batch."""
        if self._parameters.pad_variable_length_inputs:
            return tuple((name, tensor.ndim) for name, tensor in sorted(inputs.items()))
        return tuple((name, tensor.shape[1:]) for name, tensor in sorted(inputs.items()))

    def _free_rows(self, key: _Key) -> int:
        """The rows that the open batch still takes."""
        taken = self._open[key].size if key in self._open else 0
        return self._parameters.execution_size - taken

    def _check_capacity(self, key: _Key, size: int, free_rows: int) -> None:
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
            capacity = (limits.max_enqueued_batches - batches) * execution_size + free_rows
            if size > capacity:
                raise errors.UnavailableError(
                    f"{full}task size is {size} but scheduling capacity is only {capacity} "
                    f"(num_enqueued_batches={batches}, "
                    f"max_enqueued_batches={limits.max_enqueued_batches}, "
                    f"open_batch_size={execution_size - free_rows}, "
                    f"max_execution_batch_size={execution_size})"
                )
            return
        needs_another = size > free_rows or (key not in self._open and bool(self._open))
        if needs_another and batches >= limits.max_enqueued_batches:
            raise errors.UnavailableError(
                f"{full}currently {batches} batches enqueued and max_enqueued_batches is "
                f"{limits.max_enqueued_batches}"
            )

    def _split(self, inputs: Mapping[str, Tensor], size: int, free_rows: int) -> list[_Task]:
        execution_size = self._parameters.execution_size
        tasks, start, step = [], 0, free_rows or execution_size
        while start < size:
            end = min(size, start + step)
            part = {name: tensor[start:end] for name, tensor in inputs.items()}
            tasks.append(_Task(part, end - start))
            start, step = end, execution_size
        return tasks

    def _add(self, key: _Key, task: _Task) -> None:
        if task.size > self._free_rows(key):
            self._closed.append(self._open.pop(key))
        self._open.setdefault(key, Batch()).add(task)

    # ---- out ----

    def take(self, now: float, *, closing: bool) -> Batch | None:
        """A batch that is full, or has waited long enough; when closing, any."""
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
        """Whether a request waits."""
        return bool(self._closed or self._open)

    def run(self, batch: Batch) -> None:
        """Run a batch, and give each of its requests its rows, or its error."""
        # Those cancelled have passed their deadline.
        tasks = [task for task in batch.tasks if task.future.set_running_or_notify_cancel()]
        for task in tasks:
            waited = int((time.monotonic() - task.put_at) * 1e6)
            self._metrics.queuing_latency.observe(self._thread_pool_name, value=waited)
        if tasks:
            self._run(tasks)

    def _run(self, tasks: Sequence[_Task]) -> None:
        try:
            answers = self._run_together(tasks)
        except errors.StatusError as error:
            if isinstance(error, errors.InvalidArgumentError) and len(tasks) > 1:
                for task in tasks:  # one of them is to blame, and the others are not
                    self._run([task])
                return
            # An error each, as a traceback is written into it; and a new one, as in the traceback
            # of this one are the tasks, so that it would keep itself.
            for task in tasks:
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
