"""Metrics: what happens, counted under TF Serving's names and written as Prometheus reads it.

Prometheus's client library is not used, since its text is not TF Serving's: its counters end in
`_total` and come with a `_created`, and a value that equals a bucket's limit falls into the bucket
below it.

Sources, below tensorflow_serving/: util/prometheus_exporter.cc, servables/tensorflow/util.cc,
batching/batching_session.cc, batching/batching_util.h,
servables/tensorflow/saved_model_warmup_util.cc; and, below tensorflow/, cc/saved_model/loader.cc,
core/framework/metrics.cc and core/common_runtime/direct_session.cc.
"""

from __future__ import annotations

import bisect
import re
import threading
from collections.abc import Iterator, Sequence

# Where TF Serving shows them unless its configuration says otherwise.
METRICS_PATH = "/monitoring/prometheus/metrics"


class Counter:
    """A number that grows, for each combination of labels."""

    def __init__(self, name: str, labels: Sequence[str] = ()) -> None:
        self.name = name
        self._labels = labels
        self._cells: dict[tuple[str, ...], int] = {}
        self._lock = threading.Lock()

    def add(self, *labels: str, by: int = 1) -> None:
        """Count something."""
        with self._lock:
            self._cells[labels] = self._cells.get(labels, 0) + by

    def total(self) -> int:
        """The sum over all labels."""
        with self._lock:
            return sum(self._cells.values())

    def lines(self) -> Iterator[str]:
        """The lines of Prometheus's text format."""
        name = _metric_name(self.name)
        yield f"# TYPE {name} counter"
        with self._lock:
            cells = sorted(self._cells.items())
        for values, count in cells:
            yield f"{name}{{{_label_text(self._labels, values)}}} {count}"


class Histogram:
    """How often values fell into each of a row of buckets, for each combination of labels."""

    def __init__(self, name: str, limits: Sequence[float], labels: Sequence[str] = ()) -> None:
        self.name = name
        self._limits = limits
        self._labels = labels
        self._cells: dict[tuple[str, ...], tuple[list[int], list[float]]] = {}
        self._lock = threading.Lock()

    def observe(self, *labels: str, value: float) -> None:
        """Count a value."""
        bucket = bisect.bisect_right(self._limits, value)  # a limit belongs to the next bucket
        with self._lock:
            if labels not in self._cells:
                self._cells[labels] = ([0] * (len(self._limits) + 1), [0.0])
            buckets, total = self._cells[labels]
            buckets[bucket] += 1
            total[0] += value

    def lines(self) -> Iterator[str]:
        """The lines of Prometheus's text format."""
        name = _metric_name(self.name)
        yield f"# TYPE {name} histogram"
        limits = [*(f"{limit:.6g}" for limit in self._limits), "+Inf"]
        with self._lock:
            cells = sorted(
                (values, list(buckets), total[0])
                for values, (buckets, total) in self._cells.items()
            )
        for values, buckets, total in cells:
            labels = _label_text(self._labels, values)
            count = 0
            for limit, more in zip(limits, buckets, strict=True):
                count += more
                yield f'{name}_bucket{{{labels}{"," if labels else ""}le="{limit}"}} {count}'
            yield f"{name}_sum{{{labels}}} {total:.17g}"
            yield f"{name}_count{{{labels}}} {count}"


def _exponential(first: float, growth: float, count: int) -> list[float]:
    return [first * growth**power for power in range(count)]


_SERVING = "/tensorflow/serving"
_BATCHING = f"{_SERVING}/batching_session"
_LOADING = "/tensorflow/cc/saved_model"
_GRAPH_RUN = "/tensorflow/core/graph_run"
_MICROSECONDS = _exponential(10, 1.8, 33)  # to about 20 minutes
_SIZES = _exponential(1, 2, 14)
_BYTES = _exponential(1, 4, 14)


class Metrics:
    """The metrics of one server."""

    def __init__(self) -> None:
        self.request_count = Counter(f"{_SERVING}/request_count", ["model_name", "status"])
        self.request_latency = Histogram(
            f"{_SERVING}/request_latency", _MICROSECONDS, ["model_name", "API", "entrypoint"]
        )
        self.runtime_latency = Histogram(
            f"{_SERVING}/runtime_latency", _MICROSECONDS, ["model_name", "API", "runtime"]
        )
        self.example_counts = Histogram(
            f"{_SERVING}/request_example_counts", _exponential(1, 2, 15), ["model"]
        )
        self.example_count_total = Counter(f"{_SERVING}/request_example_count_total", ["model"])
        self.warmup_latency = Histogram(
            f"{_SERVING}/model_warmup_latency", _MICROSECONDS, ["model_path", "status"]
        )
        self.queuing_latency = Histogram(
            f"{_BATCHING}/queuing_latency", _exponential(100, 1.2, 52), ["thread_pool_name"]
        )
        self.wrapped_run_count = Counter(f"{_BATCHING}/wrapped_run_count")
        self.input_batch_size = Histogram(f"{_BATCHING}/input_batch_size", _SIZES)
        self.processed_batch_size = Histogram(f"{_BATCHING}/processed_batch_size", _SIZES)
        self.padding_size = Histogram(f"{_BATCHING}/padding_size", _SIZES, ["execution_batch_size"])
        self.load_attempt_count = Counter(
            f"{_LOADING}/load_attempt_count", ["model_path", "status"]
        )
        self.load_latency = Counter(f"{_LOADING}/load_latency", ["model_path"])
        self.graph_runs = Counter(f"{_GRAPH_RUN}s")
        self.graph_run_time = Counter(f"{_GRAPH_RUN}_time_usecs")
        self.graph_run_times = Histogram(
            f"{_GRAPH_RUN}_time_usecs_histogram", _exponential(1000, 2, 20)
        )
        self.graph_run_input_bytes = Histogram(f"{_GRAPH_RUN}_input_tensor_bytes", _BYTES)
        self.graph_run_output_bytes = Histogram(f"{_GRAPH_RUN}_output_tensor_bytes", _BYTES)

    def text(self) -> str:
        """Everything, in Prometheus's text format."""
        return "\n".join(line for metric in self._all() for line in metric.lines()) + "\n"

    def counts(self) -> dict[str, int]:
        """The totals of the counters, by TF Serving's own names."""
        return {
            metric.name: metric.total() for metric in self._all() if isinstance(metric, Counter)
        }

    def _all(self) -> list[Counter | Histogram]:
        return sorted(vars(self).values(), key=lambda metric: metric.name)


def _metric_name(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_]", ":", name)


def _label_text(names: Sequence[str], values: Sequence[str]) -> str:
    return ",".join(f'{name}="{_escape(value)}"' for name, value in zip(names, values, strict=True))


def _escape(value: str) -> str:
    # Prometheus wants a line break escaped too, which a model's name may well hold.
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
