"""The answers to requests, whatever the transport: which version gives them, and what they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from inception_serving import errors, messages
from inception_serving.server.budget import Workspace, default_work_limit
from inception_serving.server.config.files import model_list
from inception_serving.server.config.model_config import ModelConfig
from inception_serving.server.metrics import Metrics
from inception_serving.server.model.examples import classify, count_examples, infer_all, regress
from inception_serving.server.model.footprint import run_bytes
from inception_serving.server.model.predict import DEFAULT_SIGNATURE, predict
from inception_serving.server.model.saved_model import Model
from inception_serving.server.received.pauses import outside_python
from inception_serving.server.received.turns import Turn
from inception_serving.server.versions.table import LoadedVersion, VersionInfo, VersionTable
from inception_serving.tensors import Tensor


@dataclass
class Call:
    """How a request is to be worked on.

    Attributes:
        deadline: a time of `time.monotonic()` after which nobody wants the answer.
        claim: takes more bytes for the request from what the server may hold, or raises.
        turn: that the request has, where it must have one.
        size: the bytes of the request's message.
    """

    deadline: float | None = None
    claim: Callable[[int], None] | None = None
    turn: Turn | None = None
    size: int = 0


@dataclass
class Answer:
    """The outputs of a Predict request, with what was effective where the request left a gap."""

    spec: Any
    outputs: Mapping[str, Tensor]


class Core:
    """TF Serving's answers (model_servers/server_core.cc), whatever the transport.

    Methods take a `ModelSpec` or a request, and raise `errors.StatusError` with TF Serving's code
    and text.
    """

    def __init__(
        self,
        versions: VersionTable,
        reload: Callable[[Sequence[ModelConfig], Callable[[], bool]], None],
        metrics: Metrics,
        *,
        check_method: bool = False,
        max_image_pixels: int = 0,
        workspace: Workspace | None = None,
    ) -> None:
        """See `ModelServer`.

        Args:
            versions: those that answer.
            reload: serves other models instead; see `Servables.reload`.
            workspace: the memory of runs; the default one if None.
        """
        self._versions = versions
        self._reload = reload
        self._metrics = metrics
        self._check_method = check_method
        self._max_image_pixels = max_image_pixels
        self._workspace = workspace or Workspace(default_work_limit())

    def predict(
        self,
        spec: Any,
        read_inputs: Callable[[Model], Mapping[str, Tensor]],
        output_filter: Sequence[str] = (),
        *,
        call: Call,
    ) -> Answer:
        """Run a signature.

        Args:
            read_inputs: gives the request's inputs, once the model that answers is known.
            output_filter: the outputs wanted; none named means all.
        """
        with self._use(spec, "Predict", call) as (number, model):
            effective = _effective_spec(spec, number)
            outputs = predict(
                model,
                effective.signature_name,
                read_inputs(model),
                output_filter,
                check_method=self._check_method,
            )
        return Answer(effective, outputs)

    def classify(
        self, spec: Any, examples: Any, *, signature_name: str | None = None, call: Call
    ) -> Any:
        """A ClassificationResponse to an `Input` of examples.

        Args:
            signature_name: in place of the spec's, which holds no text that is not UTF-8.
        """
        response = messages.ClassificationResponse(result={})
        with self._use(spec, "Classify", call) as (number, model):
            classify(
                model,
                spec.signature_name if signature_name is None else signature_name,
                examples,
                response.result,
                check_method=self._check_method,
                claim=call.claim,
            )
        response.model_spec.CopyFrom(_effective_spec(spec, number))
        return response

    def regress(
        self, spec: Any, examples: Any, *, signature_name: str | None = None, call: Call
    ) -> Any:
        """A RegressionResponse to an `Input` of examples; see `classify`."""
        response = messages.RegressionResponse(result={})
        with self._use(spec, "Regress", call) as (number, model):
            regress(
                model,
                spec.signature_name if signature_name is None else signature_name,
                examples,
                response.result,
                check_method=self._check_method,
                claim=call.claim,
            )
        response.model_spec.CopyFrom(_effective_spec(spec, number))
        return response

    def infer_all(self, request: Any, *, call: Call) -> Any:
        """A MultiInferenceResponse (servables/tensorflow/multi_inference_helper.cc)."""
        spec = request.tasks[0].model_spec if request.tasks else messages.ModelSpec()
        with self._use(spec, "MultiInference", call) as (number, model):
            response = infer_all(
                model, number, request, check_method=self._check_method, claim=call.claim
            )
        # Of all methods, TF Serving counts this one's examples, and nothing else of it.
        count = count_examples(request.input)
        self._metrics.example_counts.observe(spec.name, value=count)
        self._metrics.example_count_total.add(spec.name, by=count)
        return response

    def metadata(self, spec: Any, fields: Sequence[str]) -> Any:
        """A GetModelMetadataResponse (servables/tensorflow/get_model_metadata_impl.cc)."""
        if not fields:
            raise errors.InvalidArgumentError(
                "GetModelMetadataRequest must specify at least one metadata_field"
            )
        for field in fields:
            if field != "signature_def":
                raise errors.InvalidArgumentError(f"Metadata field {field} is not supported")
        response = messages.GetModelMetadataResponse()
        signatures = messages.SignatureDefMap()
        version, model = self._acquire(spec)
        try:
            for name, signature in model.signatures.items():
                signatures.signature_def[name].CopyFrom(signature.message)
        finally:
            self._versions.release(version)
        response.model_spec.name = spec.name
        response.model_spec.version.value = version.number
        response.metadata["signature_def"].Pack(signatures)
        return response

    def status(self, spec: Any) -> Any:
        """A GetModelStatusResponse (model_servers/get_model_status_impl.cc)."""
        versions = self._versions.versions(spec.name)
        if spec.HasField("version"):
            number = spec.version.value
            versions = [entry for entry in versions if entry.number == number]
            if not versions:
                raise errors.NotFoundError(f"Could not find version {number} of model {spec.name}")
        elif not versions:
            raise errors.NotFoundError(f"Could not find any versions of model {spec.name}")
        response = messages.GetModelStatusResponse()
        for version in versions:
            error = version.error
            entry = response.model_version_status.add(
                version=version.number, state=int(version.state)
            )
            entry.status.error_code = errors.GRPC_CODES[type(error)] if error else 0
            entry.status.error_message = str(error or "")
        return response

    def reload(self, request: Any, is_awaited: Callable[[], bool]) -> Any:
        """A ReloadConfigResponse (model_servers/model_service_impl.cc).

        Args:
            is_awaited: whether the caller still waits for models to load.
        """
        if request.config.WhichOneof("config") != "model_config_list":
            raise errors.InvalidArgumentError(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only "
                "ModelConfigList is currently supported"
            )
        before = self._metrics.counts()
        self._reload(model_list(request.config.model_config_list), is_awaited)
        response = messages.ReloadConfigResponse(status={})
        after = self._metrics.counts()
        for name in sorted(set(request.metric_names)):  # a name that nobody knows has 0
            increase = after.get(name, 0) - before.get(name, 0)
            response.metric.add(name=name, int64_value_increase=increase)
        return response

    def models(self) -> list[str]:
        """The models seen so far."""
        return self._versions.names()

    def describe(self, name: str) -> list[VersionInfo]:
        """Every version of a model seen so far, newest first."""
        return self._versions.versions(name)

    def _acquire(self, spec: Any) -> tuple[LoadedVersion, Model]:
        if not spec.name:
            raise errors.InvalidArgumentError("ModelSpec has no name specified.")
        number = None
        choice = spec.WhichOneof("version_choice")
        if choice == "version_label":
            number = self._versions.labelled(spec.name, spec.version_label)
        elif choice == "version":  # version 0 is a version like any other
            number = spec.version.value
        return self._versions.acquire(spec.name, number)

    @contextmanager
    def counted(self, name: str, api: str, entrypoint: str) -> Iterator[None]:
        """Count and time a request, whose answer is made within the block.

        Args:
            name: the model's, as the request has it.
            api: TF Serving's label: "Predict" and the like over gRPC, "predict" over REST, where it
                is "" for what asks about a model.
            entrypoint: "GRPC" or "REST".
        """
        # A name that no model has would be a metric for ever, for whoever makes up names.
        name = name if self._versions.knows(name) else ""
        started = time.monotonic()
        try:
            yield
        except errors.StatusError as error:
            self._metrics.request_count.add(name, errors.code_name(error))
            raise
        except Exception:
            self._metrics.request_count.add(name, "INTERNAL")
            raise
        took = _microseconds_since(started)
        self._metrics.request_count.add(name, "OK")
        self._metrics.request_latency.observe(name, api, entrypoint, value=took)

    @contextmanager
    def _use(self, spec: Any, api: str, call: Call) -> Iterator[tuple[int, Model]]:
        """A version for a request that runs it."""
        version, model = self._acquire(spec)
        try:
            yield (
                version.number,
                _GuardedModel(
                    model,
                    self._metrics,
                    (spec.name, api),
                    self._max_image_pixels,
                    self._workspace,
                    call,
                ),
            )
        finally:
            self._versions.release(version)


@dataclass
class _GuardedModel:
    """A model for one request: images checked, memory found, the deadline kept, the time taken."""

    model: Model
    metrics: Metrics
    labels: tuple[str, str]
    max_image_pixels: int
    workspace: Workspace
    call: Call

    @property
    def signatures(self) -> Mapping[str, Any]:
        """See `Model`."""
        return self.model.signatures

    def run(
        self,
        signature_name: str,
        inputs: Mapping[str, Tensor],
        outputs: Iterable[str],
        *,
        deadline: float | None = None,
    ) -> dict[str, Tensor]:
        """See `Model`; the earlier of the call's deadline and the one given counts."""
        end = self._earlier(deadline)
        taken = self._memory([signature_name], inputs)
        self._end_long()
        with self.workspace.take(taken, deadline=end, turn=self.call.turn), outside_python():
            started = time.monotonic()
            results = self.model.run(signature_name, inputs, outputs, deadline=end)
            took = _microseconds_since(started)
        self.metrics.runtime_latency.observe(*self.labels, "TF1", value=took)
        return results

    def run_together(
        self,
        outputs: Mapping[str, Iterable[str]],
        input_name: str,
        tensor: Tensor,
        *,
        deadline: float | None = None,
    ) -> dict[str, dict[str, Tensor]]:
        """See `Model` and `run`; it is not timed, as in TF Serving."""
        end = self._earlier(deadline)
        taken = self._memory(list(outputs), {input_name: tensor})
        self._end_long()
        with self.workspace.take(taken, deadline=end, turn=self.call.turn), outside_python():
            return self.model.run_together(outputs, input_name, tensor, deadline=end)

    def _end_long(self) -> None:
        if self.call.turn is not None:
            self.call.turn.end_long()  # TensorFlow does not have Python's lock

    def _memory(self, signature_names: Sequence[str], inputs: Mapping[str, Tensor]) -> int:
        signatures = [self.model.signatures[name] for name in signature_names]
        return run_bytes(inputs, signatures, max_image_pixels=self.max_image_pixels)

    def _earlier(self, deadline: float | None) -> float | None:
        ends = [end for end in (deadline, self.call.deadline) if end is not None]
        return min(ends, default=None)


def required_spec(request: Any) -> Any:
    """The ModelSpec of a request.

    Raises:
        errors.InvalidArgumentError: it has none.
    """
    if not request.HasField("model_spec"):
        raise errors.InvalidArgumentError("Missing ModelSpec")
    return request.model_spec


def _effective_spec(spec: Any, version: int) -> Any:
    effective = messages.ModelSpec(
        name=spec.name, signature_name=spec.signature_name or DEFAULT_SIGNATURE
    )
    effective.version.value = version
    return effective


def _microseconds_since(started: float) -> int:
    return int((time.monotonic() - started) * 1e6)
