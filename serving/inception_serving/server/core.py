"""Which version answers a request, and with what; the transports only convert."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from inception_serving import errors, messages
from inception_serving.server.config_files import model_list
from inception_serving.server.inference import classify, infer_all, regress
from inception_serving.server.predict import DEFAULT_SIGNATURE, predict
from inception_serving.server.saved_model import Model
from inception_serving.server.servables import Servables
from inception_serving.tensors import Tensor


@dataclass(frozen=True)
class Prediction:
    """The outputs of a Predict request, with what was effective where the request left a gap."""

    name: str
    version: int
    signature_name: str
    outputs: Mapping[str, Tensor]


class Core:
    """TF Serving's answers (model_servers/server_core.cc), whatever the transport.

    Every method takes a `ModelSpec`, and raises `errors.StatusError` with TF Serving's code and
    text.
    """

    def __init__(self, servables: Servables, *, check_method: bool = False) -> None:
        """See `ModelServer`."""
        self._servables = servables
        self._check_method = check_method

    def predict(
        self,
        spec: Any,
        read_inputs: Callable[[Model], Mapping[str, Tensor]],
        output_filter: Sequence[str] = (),
        *,
        deadline: float | None = None,
    ) -> Prediction:
        """Run a signature.

        Args:
            read_inputs: gives the request's inputs, once the model that answers is known.
            output_filter: the outputs wanted; none named means all.
            deadline: a time of `time.monotonic()` after which nobody wants the answer.
        """
        with self._use(spec) as (number, model):
            signature_name = spec.signature_name or DEFAULT_SIGNATURE
            outputs = predict(
                model,
                signature_name,
                read_inputs(model),
                output_filter,
                check_method=self._check_method,
                deadline=deadline,
            )
        return Prediction(spec.name, number, signature_name, outputs)

    def classify(self, spec: Any, examples: Any, *, deadline: float | None = None) -> Any:
        """A ClassificationResponse to an `Input` of examples."""
        with self._use(spec) as (number, model):
            result = classify(
                model,
                spec.signature_name,
                examples,
                check_method=self._check_method,
                deadline=deadline,
            )
        return messages.ClassificationResponse(
            result=result, model_spec=_effective_spec(spec, number)
        )

    def regress(self, spec: Any, examples: Any, *, deadline: float | None = None) -> Any:
        """A RegressionResponse to an `Input` of examples."""
        with self._use(spec) as (number, model):
            result = regress(
                model,
                spec.signature_name,
                examples,
                check_method=self._check_method,
                deadline=deadline,
            )
        return messages.RegressionResponse(result=result, model_spec=_effective_spec(spec, number))

    def infer_all(self, request: Any, *, deadline: float | None = None) -> Any:
        """A MultiInferenceResponse (servables/tensorflow/multi_inference_helper.cc)."""
        spec = request.tasks[0].model_spec if request.tasks else messages.ModelSpec()
        with self._use(spec) as (number, model):
            return infer_all(
                model, number, request, check_method=self._check_method, deadline=deadline
            )

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
        with self._use(spec) as (number, model):
            for name, signature in model.signatures.items():
                signatures.signature_def[name].CopyFrom(signature)
        response.model_spec.name = spec.name
        response.model_spec.version.value = number
        response.metadata["signature_def"].Pack(signatures)
        return response

    def status(self, spec: Any) -> Any:
        """A GetModelStatusResponse (model_servers/get_model_status_impl.cc)."""
        versions = self._servables.versions(spec.name)
        if spec.HasField("version"):
            number = spec.version.value
            versions = [entry for entry in versions if entry[0] == number]
            if not versions:
                raise errors.NotFoundError(f"Could not find version {number} of model {spec.name}")
        elif not versions:
            raise errors.NotFoundError(f"Could not find any versions of model {spec.name}")
        response = messages.GetModelStatusResponse()
        for number, state, error in versions:
            entry = response.model_version_status.add(version=number, state=int(state))
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
        self._servables.reload(model_list(request.config.model_config_list), is_awaited)
        return messages.ReloadConfigResponse(status={})

    @contextmanager
    def _use(self, spec: Any) -> Iterator[tuple[int, Model]]:
        if not spec.name:
            raise errors.InvalidArgumentError("ModelSpec has no name specified.")
        number = None
        choice = spec.WhichOneof("version_choice")
        if choice == "version_label":
            number = self._servables.labelled(spec.name, spec.version_label)
        if choice == "version":  # version 0 is a version like any other
            number = spec.version.value
        with self._servables.use(spec.name, number) as (version, model):
            yield version.number, model


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
