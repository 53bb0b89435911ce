"""One version, from its folder to a model that answers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from inception_serving import errors
from inception_serving.server.batching.scheduler import BatchedModel, BatchScheduler
from inception_serving.server.config.batching_parameters import BatchingParameters
from inception_serving.server.config.files import read_batching
from inception_serving.server.config.model_config import ModelConfig
from inception_serving.server.metrics import Metrics
from inception_serving.server.model.operations import named
from inception_serving.server.model.saved_model import Model, SavedModel
from inception_serving.server.model.warmup import warm_up
from inception_serving.server.versions.folder import check_files


class Loader:
    """Loads a version, has its requests batched where they are to be, and warms it up."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        tags: Sequence[str],
        warmup_iterations: int,
        scheduler: BatchScheduler | None,
        per_model_batching: bool,
        mixed_precision: str | None,
    ) -> None:
        """See `ModelServer`; without a scheduler nothing is batched."""
        self._mixed_precision = mixed_precision
        self._metrics = metrics
        self._tags = tags
        self._warmup_iterations = warmup_iterations
        self._scheduler = scheduler
        self._per_model_batching = per_model_batching

    def __call__(self, config: ModelConfig, path: Path) -> Model:
        """A version, ready to answer.

        Raises:
            errors.StatusError: it does not load, or one of its warm-up requests fails.
        """
        check_files(path)
        metrics, where, started = self._metrics, str(path), time.monotonic()
        try:
            loaded = SavedModel(
                path, tags=self._tags, metrics=metrics, mixed_precision=self._mixed_precision
            )
        except errors.StatusError as error:
            metrics.load_attempt_count.add(where, "fail")
            raise named(error) from error
        metrics.load_attempt_count.add(where, "success")
        metrics.load_latency.add(where, by=round((time.monotonic() - started) * 1e6))
        if self._warmup_iterations:
            loaded.prepare()
        model: Model = loaded
        parameters = self._batching(path)
        if self._scheduler is not None and parameters is not None:
            model = BatchedModel(model, self._scheduler, parameters)
        started = time.monotonic()
        failure = None
        try:
            warm_up(model, path, iterations=self._warmup_iterations)
        except errors.StatusError as error:
            failure = named(error)
            raise failure from error
        finally:
            took = int((time.monotonic() - started) * 1e6)
            metrics.warmup_latency.observe(where, errors.code_name(failure), value=took)
        return model

    def _batching(self, path: Path) -> BatchingParameters | None:
        """How the requests of a version are batched; None for not at all."""
        if self._scheduler is None:
            return None
        if not self._per_model_batching:
            return self._scheduler.parameters
        # servables/tensorflow/bundle_factory_util.cc, GetPerModelBatchingParams
        file = path / "batching_params.pbtxt"
        return read_batching(file) if file.exists() else None
