"""The gRPC transport: PredictionService, ModelService and, where asked for, health."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health

from inception_serving import errors, messages, tensors
from inception_serving.server.budget import ByteBudget, Reservation, claim_answer
from inception_serving.server.config.tls import Tls
from inception_serving.server.core import Call, Core, required_spec
from inception_serving.server.grpc.arrivals import Arrivals
from inception_serving.server.grpc.compressed import (
    LEAVE_COMPRESSED,
    inflated,
    is_compressed,
)
from inception_serving.server.grpc.health import Health
from inception_serving.server.grpc.reflection import Reflection
from inception_serving.server.grpc.threads import MessageThreads, NoThreads
from inception_serving.server.grpc.untaken import Untaken
from inception_serving.server.model.predict import read_protos
from inception_serving.server.received.in_parts import parts
from inception_serving.server.received.pauses import one_at_a_time
from inception_serving.server.received.turns import SMALL_BYTES, Turns
from inception_serving.server.received.wire import check_message
from inception_serving.server.received.workers import Workers

_log = logging.getLogger(__name__)

# The calls under way at a time, those that wait their turn included. A thread each, made when it is
# first needed; more calls than these are RESOURCE_EXHAUSTED.
MAX_CALLS = 1024
# Those that wait for their message, some 14 KB each, before a connection has its share only. To end
# them sooner would let their connections begin others, which costs more than to let them wait.
_MAX_WAITING = 8192

_OPTIONS = (
    ("grpc.max_send_message_length", -1),  # gRPC's own end is 2 GiB
    # What gRPC takes in of a call before it is read: left to itself it lets through more and more,
    # some gigabytes of a thousand calls, and reads on without a look at other connections.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 1 << 18),
    ("grpc.so_reuseport", 0),  # two servers on one port are a mistake, not load balancing
    ("grpc.keepalive_time_ms", 60_000),  # a peer that has gone without a word is found out
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.server.max_pending_requests", 2 * _MAX_WAITING),  # or gRPC ends some, whosever they are
    ("grpc.server.max_pending_requests_hard_limit", 4 * _MAX_WAITING),
    ("grpc.server_handshake_timeout_ms", 10_000),  # for a connection that does not say a word
    ("grpc.max_connection_idle_ms", 300_000),  # a client connects again when it next calls
)

_STREAMS = "grpc.max_concurrent_streams"
_MOST_STREAMS = 32  # calls of one connection; its others wait at the client

# model_servers/grpc_status_util.cc
_MAX_ERROR_BYTES = 1024
_TRUNCATED = "...TRUNCATED"

_MOST_RELOADS = 8  # at a time, of which one is worked on
_REFLECTIONS = 32  # streams of questions, and a thread each; others wait

_REFLECTION_S = 1.0  # for those questions that have been asked when the server is told to stop
_CANCEL_S = 1.0  # for calls that have been told to end

_CODES = {code.value[0]: code for code in grpc.StatusCode}

_Handle = Callable[[Any, Any, Call], Any]  # request, context, call


class GrpcServer:
    """A gRPC server over a core."""

    def __init__(
        self,
        core: Core,
        *,
        threads: int,
        budget: ByteBudget,
        health_service: bool,
        reflection: bool,
        typed: bool,
        tls: Tls | None,
        channel_arguments: Sequence[tuple[str, int | str]],
        reload_config: bool,
        refuse_when_busy: bool,
    ) -> None:
        """Nothing listens before `bind` and `start`.

        Args:
            threads: how many requests are worked on at a time; more wait.
            budget: what the requests in flight may hold.
            health_service: also serve grpc.health.v1.Health.
            reflection: also serve grpc.reflection, for grpcurl and its like.
            typed: answer in `float_val` and the like rather than `tensor_content`.
            tls: encrypt.
            channel_arguments: gRPC's own options, such as ("grpc.max_connection_age_ms", 2000).
            reload_config: let callers have other models served.
            refuse_when_busy: refuse what finds no thread free, rather than let it wait.
        """
        self._core = core
        self._budget = budget
        self._typed = typed
        self._turns = Turns(threads)
        self._reload_config = reload_config
        self._reloads = threading.BoundedSemaphore(_MOST_RELOADS)
        self._refuse_when_busy = refuse_when_busy
        self._arrivals = Arrivals(most=_MAX_WAITING, memory_limit=4 * budget.limit)
        # As many again for those of other connections, where a few have all.
        self._threads = MessageThreads(2 * MAX_CALLS, self._arrivals, most=MAX_CALLS)
        self._reflection_threads = Workers(_REFLECTIONS)
        self._untaken = Untaken(budget)
        budget.ways.append(self._untaken.make_way)
        self._credentials = None if tls is None else tls.credentials()
        self._server = grpc.server(
            self._reflection_threads,
            options=(
                ("grpc.max_receive_message_length", budget.largest),
                *channel_arguments,  # of two of one name gRPC takes the first
                LEAVE_COMPRESSED,
                *_OPTIONS,
                *_stream_options(channel_arguments),
            ),
        )
        self._serve_all()
        self._health = Health(self._arrivals, self._untaken) if health_service else None
        if self._health is not None:
            self._server.add_registered_method_handlers(
                health.SERVICE_NAME, self._health.handlers()
            )
        self._reflection = (
            Reflection(self._arrivals, health_service=health_service) if reflection else None
        )
        if self._reflection is not None:
            self._server.add_registered_method_handlers(
                self._reflection.service, self._reflection.handlers()
            )
        # The last that is asked, and so it may refuse what nobody knows.
        self._server.add_generic_rpc_handlers((_Unknown(),))

    def _serve_all(self) -> None:
        self._serve(
            "tensorflow.serving.PredictionService",
            {
                "Predict": (messages.PredictRequest, self._predict),
                "Classify": (messages.ClassificationRequest, self._classify),
                "Regress": (messages.RegressionRequest, self._regress),
                "MultiInference": (messages.MultiInferenceRequest, self._multi_inference),
                "GetModelMetadata": (messages.GetModelMetadataRequest, self._metadata),
            },
        )
        self._serve(
            "tensorflow.serving.ModelService",
            {
                "GetModelStatus": (messages.GetModelStatusRequest, self._status),
                "HandleReloadConfigRequest": (messages.ReloadConfigRequest, self._reload),
            },
        )

    def bind(self, address: str) -> int:
        """Take an address, such as "127.0.0.1:8500" (port 0: any free one); the port it got.

        Raises:
            RuntimeError: the address cannot be had.
        """
        if self._credentials is not None:
            return int(self._server.add_secure_port(address, self._credentials))
        return int(self._server.add_insecure_port(address))

    def bind_socket(self, path: str) -> None:
        """Take a Unix socket, which is not encrypted.

        Raises:
            RuntimeError: the socket cannot be had.
        """
        self._server.add_insecure_port(f"unix:{path}")

    def start(self) -> None:
        """Answer on the addresses that were taken."""
        self._arrivals.start()
        self._server.start()

    def stop(self, grace_s: float) -> None:
        """Refuse new requests, and give those in flight `grace_s` seconds to finish.

        What has not ended by then is left to itself.
        """
        if self._health is not None:
            self._health.stop()
        stopped = self._server.stop(grace_s)
        self._arrivals.stop()
        if self._reflection is not None and not stopped.wait(min(grace_s, _REFLECTION_S)):
            self._reflection.stop()
        stopped.wait(grace_s + _CANCEL_S)
        for pool in (self._threads, self._reflection_threads):
            pool.shutdown(wait=False, cancel_futures=True)
        if self._health is not None:
            self._health.close()

    def join(self, timeout_s: float) -> bool:
        """Wait, after `stop`, for what was left to itself; whether all has ended in time."""
        end = time.monotonic() + timeout_s
        pools = self._threads, self._reflection_threads
        return all(pool.join(max(0.0, end - time.monotonic())) for pool in pools)

    # ---- methods ----

    def _predict(self, request: Any, context: Any, call: Call) -> Any:
        with self._core.counted(request.model_spec.name, "Predict", "GRPC"):
            answer = self._core.predict(
                required_spec(request),
                lambda model: read_protos(request.inputs, call.size, call.claim),
                request.output_filter,
                call=call,
            )
            around = parts(tensors.MAX_TENSOR_BYTES)
            size = sum(
                tensors.message_size(each, typed=self._typed, around=around)
                for each in answer.outputs.values()
            )
            claim_answer(call.claim, size)
            response = messages.PredictResponse(model_spec=answer.spec)
            for name, tensor in answer.outputs.items():
                proto = response.outputs[name]
                tensors.fill_proto(proto, tensor, typed=self._typed, around=around)
        return response

    def _classify(self, request: Any, context: Any, call: Call) -> Any:
        with self._core.counted(request.model_spec.name, "Classify", "GRPC"):
            return self._core.classify(required_spec(request), request.input, call=call)

    def _regress(self, request: Any, context: Any, call: Call) -> Any:
        with self._core.counted(request.model_spec.name, "Regress", "GRPC"):
            return self._core.regress(required_spec(request), request.input, call=call)

    def _multi_inference(self, request: Any, context: Any, call: Call) -> Any:
        return self._core.infer_all(request, call=call)

    def _metadata(self, request: Any, context: Any, call: Call) -> Any:
        return self._core.metadata(required_spec(request), request.metadata_field)

    def _status(self, request: Any, context: Any, call: Call) -> Any:
        return self._core.status(required_spec(request))

    def _reload(self, request: Any, context: Any, call: Call) -> Any:
        if not self._reload_config:
            raise errors.PermissionDeniedError(
                "This server takes no HandleReloadConfigRequest: --enable_reload_config, or "
                "reload_config=True, lets it."
            )
        if not self._reloads.acquire(blocking=False):
            raise errors.ResourceExhaustedError(
                f"{_MOST_RELOADS} HandleReloadConfigRequest wait for each other: try again later."
            )
        try:
            assert call.turn is not None
            with call.turn.lend():  # or what waits for models to load would have all turns
                return self._core.reload(request, context.is_active)
        finally:
            self._reloads.release()

    # ---- what is common to all ----

    def _serve(self, service: str, methods: dict[str, tuple[type[Any], _Handle]]) -> None:
        # Bytes in and bytes out: a message is parsed within its turn, and one that does not parse
        # is an answer of ours rather than gRPC's.
        handlers = {}
        for name, (request_type, handle) in methods.items():
            answer: Any = self._handler(request_type, handle)
            answer.experimental_thread_pool = self._threads
            handlers[name] = grpc.unary_unary_rpc_method_handler(answer)
        # gRPC has a queue for each method that is registered: calls of one wait for those alone.
        self._server.add_registered_method_handlers(service, handlers)

    def _handler(
        self, request_type: type[Any], handle: _Handle
    ) -> Callable[[bytes | errors.StatusError, Any], bytes]:
        def answer(data: bytes | errors.StatusError, context: Any) -> bytes:
            try:
                if isinstance(data, errors.StatusError):
                    raise data
                with self._budget.reserve(len(data)) as held:
                    response = self._answer(data, context, request_type, handle, held)
                self._untaken.add(len(response), context)
                return response
            except DecodeError:
                status = errors.GRPC_CODES[errors.InternalError], ""  # as gRPC's C++ servers
            # Of the error nothing is kept but its text: its traceback would keep the request until
            # Python collects cycles.
            except errors.StatusError as error:
                status = errors.GRPC_CODES[type(error)], _truncated(str(error))
            except Exception as error:
                _log.exception("A request failed.")
                text = f"{type(error).__name__}: {error}"
                status = errors.GRPC_CODES[errors.InternalError], _truncated(text)
            self._untaken.add(0, context)
            context.abort(_CODES[status[0]], status[1])
            raise AssertionError("abort raises")

        return answer

    def _answer(
        self,
        data: bytes,
        context: Any,
        request_type: type[Any],
        handle: _Handle,
        held: Reservation,
    ) -> bytes:
        left = context.time_remaining()
        if left is not None and left > threading.TIMEOUT_MAX:
            left = None  # gRPC's number for a call without a deadline
        deadline = None if left is None else time.monotonic() + left
        # A deadline that passes while the request waits its turn saves the work.
        turns = self._turns.take(
            deadline,
            connection=context.peer(),
            is_small=len(data) <= SMALL_BYTES and not is_compressed(data),
            refuse=self._refuse_when_busy,
            check=lambda: _check_wanted(context),
        )
        with turns as turn:
            _check_wanted(context)
            if is_compressed(data):

                def grow(size: int) -> None:
                    held.grow(size)
                    _check_wanted(context)

                data = inflated(data, grow, turn.lend_long)
            if more := check_message(data, request_type.DESCRIPTOR):
                held.grow(more)
            with one_at_a_time(len(data)):
                request = request_type.FromString(data)
            before = held.size
            response = handle(request, context, Call(deadline, held.grow, turn, len(data)))
            # A large answer has been claimed; its exact size would take as long as to write it.
            with one_at_a_time(held.size - before):
                return bytes(response.SerializeToString())


class _Unknown(grpc.GenericRpcHandler):
    """The methods that nobody knows."""

    def __init__(self) -> None:
        def refuse(arriving: Any, context: Any) -> bytes:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "")
            raise AssertionError("abort raises")

        behaviour: Any = refuse
        behaviour.experimental_thread_pool = NoThreads()
        # Of a stream, which waits for no message.
        self._refusal = grpc.stream_unary_rpc_method_handler(refuse)

    def service(self, handler_call_details: Any) -> Any:
        """See `grpc.GenericRpcHandler`."""
        return self._refusal


def _stream_options(channel_arguments: Sequence[tuple[str, int | str]]) -> list[tuple[str, int]]:
    most = next((each for name, each in channel_arguments if name == _STREAMS), _MOST_STREAMS)
    # A call that has ended counts until gRPC has forgotten it, which is after its client may know;
    # the client begins another, and would have it refused.
    ended = 2 * most if isinstance(most, int) else 2 * _MOST_STREAMS
    return [(_STREAMS, _MOST_STREAMS), ("grpc.http2.max_deallocating_streams", ended)]


def _check_wanted(context: Any) -> None:
    if not context.is_active():
        raise errors.DeadlineExceededError("Deadline exceeded before the work began")


def _truncated(text: str) -> str:
    data = text.encode()
    if len(data) <= _MAX_ERROR_BYTES:
        return text
    return data[:_MAX_ERROR_BYTES].decode(errors="ignore") + _TRUNCATED
