"""One SavedModel: loaded, described, run."""

from __future__ import annotations

import logging
import math
import os
import re
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import config_pb2, rewriter_config_pb2, saved_model_pb2
from tensorflow.python.client import pywrap_tf_session

from inception_serving import errors, messages
from inception_serving.server.metrics import Metrics
from inception_serving.server.model.footprint import reads, row_bytes
from inception_serving.server.model.high_rank import HighRankRuns
from inception_serving.server.model.operations import without_kernel
from inception_serving.tensors import HighRank, Tensor, data_type

_log = logging.getLogger(__name__)

SERVING_TAG = "serve"  # tf.saved_model.SERVING
_INIT_OP = "__saved_model_init_op"
_MOST_FIELDS = 1000  # of a SavedModel there are two, and junk may have any number
# Kept ready: signatures, each with some of its outputs. Clients choose these, and a session forgets
# none.
_MOST_RUNNERS = 100
_MOST_TOLD = 1 << 16  # bytes of an error that quotes bytes
_SHORT_S = 0.0005  # a run that has been as short is one of few operations
# Bytes of a string in a tensor, and of its text up to which it holds that within itself
# (tsl/platform/ctstring.h).
_STRING_BYTES, _TEXT_WITHIN = 24, 22


class Signature:
    """A signature, as requests look into it.

    Each look into a map of a message makes objects of what is found; these stay.

    Attributes:
        message: the SignatureDef as `saved_model.pb` holds it, so that the answer to
            GetModelMetadata is the file's and not what a loader makes of it.
        inputs, outputs: a TensorInfo each, sorted by name.
        defaults: a TensorProto each, for inputs that a request need not have.
        method_name: what it is for.
        row_bytes: of the largest tensor that its outputs need, for one row of a batch; 0 where it
            is not known.
        most_row_bytes: the same of any of the model's signatures.
        reads: see `footprint.reads`.
    """

    def __init__(
        self,
        message: Any,
        *,
        row_bytes: int = 0,
        reads: frozenset[str] = frozenset(["images", "examples"]),
    ) -> None:
        self.row_bytes = self.most_row_bytes = row_bytes
        self.reads = reads
        self.message = message
        self.inputs: Mapping[str, Any] = dict(sorted(message.inputs.items()))
        self.outputs: Mapping[str, Any] = dict(sorted(message.outputs.items()))
        self.defaults: Mapping[str, Any] = dict(message.defaults)
        self.method_name = str(message.method_name)

    def __str__(self) -> str:
        return str(self.message)


def _signature(message: Any, graph: Any, graph_def: Any) -> Signature:
    """That of a graph, and what is known of it before it runs."""
    outputs = [info.name for info in message.outputs.values()]
    return Signature(
        messages.own(message),
        row_bytes=row_bytes(graph, graph_def, outputs),
        reads=reads(graph_def, outputs),
    )


class Model(Protocol):
    """What answers requests: a SavedModel, or one whose requests are batched."""

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """Each signature by name."""

    def run(
        self,
        signature_name: str,
        inputs: Mapping[str, Tensor],
        outputs: Iterable[str],
        *,
        deadline: float | None = None,
    ) -> dict[str, Tensor]:
        """Run a signature on inputs whose names and dtypes are right.

        Args:
            outputs: the outputs wanted.
            deadline: a time of `time.monotonic()` after which nobody wants the answer.

        Raises:
            errors.StatusError: an op refused its input, or failed.
        """

    def run_together(
        self,
        outputs: Mapping[str, Iterable[str]],
        input_name: str,
        tensor: Tensor,
        *,
        deadline: float | None = None,
    ) -> dict[str, dict[str, Tensor]]:
        """Run several signatures at once, each on the same tensor.

        Args:
            outputs: the outputs wanted of each signature.
            input_name: each one's only input.
            deadline: see `run`.

        Returns:
            Each signature's outputs.

        Raises:
            errors.StatusError: see `run`.
        """


class SavedModel:
    """A SavedModel in memory, ready to answer from any number of threads.

    It is run as TF Serving runs one, in a session. Calling its functions eagerly would do, but of
    every call that fails TensorFlow then keeps about a kilobyte for ever
    (core/framework/local_rendezvous.h, `aborted_rendezs_`), and a client can make calls fail.

    Attributes:
        signatures: by name.
    """

    def __init__(
        self,
        path: Path,
        *,
        tags: Iterable[str] = (SERVING_TAG,),
        metrics: Metrics | None = None,
        mixed_precision: str | None = None,
    ) -> None:
        """Load the meta graph of these tags.

        Args:
            metrics: counts the runs.
            mixed_precision: "bfloat16" to compute in it what gains by it; see `_restore`.

        Raises:
            errors.StatusError: the folder holds no SavedModel that this TensorFlow can load.
        """
        meta_graph = _read_meta_graph(path, set(tags))
        self._metrics = metrics or Metrics()
        try:
            session = _restore(meta_graph, path, mixed_precision)
        except tf.errors.OpError as error:
            raise from_tensorflow(error) from error
        except Exception as error:
            # A damaged or foreign file surfaces anywhere in the loader, as whatever was hit first.
            raise errors.UnknownError(f"{path} does not load: {error}") from error

        if lacking := without_kernel(meta_graph.graph_def):
            _log.warning("%s: this TensorFlow has no kernel of %s", path, ", ".join(lacking))
        self.signatures: Mapping[str, Signature] = {
            name: _signature(signature, session.graph, meta_graph.graph_def)
            for name, signature in meta_graph.signature_def.items()
        }
        for signature in self.signatures.values():
            signature.most_row_bytes = max(each.row_bytes for each in self.signatures.values())

        self._session = session
        # By the tensors that are given and those that are wanted.
        self._runners: dict[tuple[tuple[str, ...], tuple[str, ...]], _Runner] = {}
        self._high_rank = HighRankRuns(session)

    def prepare(self) -> None:
        """Make every signature ready to run, with all of its outputs.

        TensorFlow does so at a first run, some tenths of a second for a network, in which no other
        run of the session begins: one client's new request would hold up everybody's.
        """
        for signature in self.signatures.values():
            feeds = [info.name for info in signature.inputs.values()]
            with suppress(errors.StatusError):  # which is for whoever asks for it
                self._complete_runner(signature, feeds).prepare()

    def run(
        self,
        signature_name: str,
        inputs: Mapping[str, Tensor],
        outputs: Iterable[str],
        *,
        deadline: float | None = None,
    ) -> dict[str, Tensor]:
        """See `Model`. What has begun runs to its end, whatever the deadline."""
        signature = self.signatures[signature_name]
        feeds = {info.name: inputs[name] for name, info in signature.inputs.items()}
        fetches = {name: signature.outputs[name].name for name in outputs}
        runner = self._runner(feeds, fetches.values()) or self._complete_runner(signature, feeds)
        is_high_rank = any(isinstance(tensor, HighRank) for tensor in feeds.values())
        found = (self._run_high_rank if is_high_rank else self._run)(runner, feeds)
        return {name: found[fetch] for name, fetch in fetches.items()}

    def run_together(
        self,
        outputs: Mapping[str, Iterable[str]],
        input_name: str,
        tensor: Tensor,
        *,
        deadline: float | None = None,
    ) -> dict[str, dict[str, Tensor]]:
        """See `Model`."""
        signatures = {name: self.signatures[name] for name in outputs}
        feeds = {signature.inputs[input_name].name: tensor for signature in signatures.values()}
        fetches = {
            (name, output): signatures[name].outputs[output].name
            for name, wanted in outputs.items()
            for output in wanted
        }
        runner = self._runner(feeds, fetches.values())
        if runner is None:
            return {name: self.run(name, {input_name: tensor}, outputs[name]) for name in outputs}
        found = self._run(runner, feeds)
        return {
            name: {output: found[fetches[name, output]] for output in wanted}
            for name, wanted in outputs.items()
        }

    def _runner(
        self, feeds: Iterable[str], fetches: Iterable[str], *, always: bool = False
    ) -> _Runner | None:
        """What runs to these tensors; None where it is new and no more are kept."""
        key = tuple(sorted(feeds)), tuple(sorted(set(fetches)))
        runner = self._runners.get(key)
        if runner is None and (always or len(self._runners) < _MOST_RUNNERS):
            runner = self._runners.setdefault(key, _Runner(self._session, *key))
        return runner

    def _complete_runner(self, signature: Signature, feeds: Iterable[str]) -> _Runner:
        """What runs to all outputs of a signature, of which there are not many."""
        outputs = [info.name for info in signature.outputs.values()]
        runner = self._runner(feeds, outputs, always=True)
        assert runner is not None
        return runner

    def _run(self, run: _Runner, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of the graph, by their names there, given others."""
        try:
            self._metrics.graph_run_input_bytes.observe(value=_bytes(feeds))
            started = time.monotonic()
            results = run(feeds)
        except (tf.errors.OpError, UnicodeDecodeError) as error:
            raise from_tensorflow(error) from error
        took = int((time.monotonic() - started) * 1e6)
        self._metrics.graph_runs.add()
        self._metrics.graph_run_time.add(by=took)
        self._metrics.graph_run_times.observe(value=took)
        self._metrics.graph_run_output_bytes.observe(value=_bytes(results))
        return results

    def _run_high_rank(self, run: _Runner, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As `_run`, of tensors that NumPy has no arrays for."""
        given = {run.names[name]: tensor for name, tensor in feeds.items()}
        wanted = {name: run.names[name] for name in run.fetches}
        try:
            found = self._high_rank.run(given, wanted.values())
        except (tf.errors.OpError, UnicodeDecodeError) as error:
            raise from_tensorflow(error) from error
        return {name: found[full_name] for name, full_name in wanted.items()}


class _UnderWay:
    """How many runs there are at a time, of all models, since they share the processors."""

    def __init__(self) -> None:
        self._enough = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        self._count = 0
        self._lock = threading.Lock()

    def enter(self) -> bool:
        """Count one more; whether there is now one for every processor."""
        with self._lock:
            self._count += 1
            return self._count >= self._enough

    def leave(self) -> None:
        """Count one less."""
        with self._lock:
            self._count -= 1


_under_way = _UnderWay()


def _run_options(pool: int) -> Any:
    """RunOptions as a session takes them, for as long as this module is there."""
    options = config_pb2.RunOptions(inter_op_thread_pool=pool)
    return pywrap_tf_session.TF_NewBufferFromString(options.SerializeToString())


# The session's own threads; the caller's; and threads that there are not, for a run that is made
# ready and not begun (tensorflow's core/common_runtime/direct_session.cc, `Run` and `RunInternal`).
_SPREAD, _HERE, _NOWHERE = None, _run_options(-1), _run_options(2**30)


class _Runner:
    """Some tensors of a graph, given others.

    A run alone has TensorFlow's threads for the branches of its graph. One that is short, or beside
    one for every other processor, keeps to the thread that asks for it: handing its operations over
    costs more than it brings, and they would wait there behind all operations of larger runs.

    Attributes:
        fetches: the tensors that it gives, by the names that a signature has for them.
        names: by those of all its tensors, the graph's own, which end in ":0" and the like.
    """

    def __init__(self, session: Any, feeds: Sequence[str], fetches: Sequence[str]) -> None:
        """Nothing is made ready yet.

        Raises:
            errors.StatusError: the graph has no such tensor.
        """
        for name in fetches:
            _check_tensor(session.graph, name)
        self._session = session
        self._feeds, self.fetches = feeds, fetches
        self._fed = [_tensor(session.graph, name, _NO_FEED) for name in feeds]
        self._fed_outputs = [tensor._as_tf_output() for tensor in self._fed]
        fetched = [_tensor(session.graph, name, _NO_FETCH) for name in fetches]
        self._outputs = [tensor._as_tf_output() for tensor in fetched]
        self.names = {
            name: str(tensor.name)
            for name, tensor in zip([*feeds, *fetches], [*self._fed, *fetched], strict=True)
        }
        self._shortest = math.inf
        self._is_ready = False
        self._preparing = threading.Lock()

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors.

        Raises:
            tf.errors.OpError, UnicodeDecodeError: an op refused its input, or failed.
        """
        if not self._is_ready:
            self.prepare()
        tensors = [inputs[name] for name in self._feeds]
        try:
            is_full = _under_way.enter()
            threads = _HERE if is_full and self._shortest > _SHORT_S else _SPREAD
            started = time.monotonic()
            results = self._run(threads, tensors)
            self._shortest = min(self._shortest, time.monotonic() - started)
        finally:
            _under_way.leave()
        return dict(zip(self.fetches, map(_as_array, results), strict=True))

    def prepare(self) -> None:
        """Have TensorFlow make its graph for this, once, of however many that wait for it.

        What goes wrong there goes wrong in a run again.
        """
        with self._preparing:
            if self._is_ready:
                return
            # NumPy has no dtype of an input that is a resource or a variant: a KeyError.
            with suppress(tf.errors.OpError, KeyError, TypeError, ValueError):
                self._run(_NOWHERE, [np.empty(0, each.dtype.as_numpy_dtype) for each in self._fed])
            self._is_ready = True

    def _run(self, options: Any, tensors: Iterable[Tensor]) -> list[Any]:
        # What `Session.run` is made of. The method itself refuses an input that has not the shape
        # which the signature names; TF Serving leaves that to the ops.
        results: list[Any] = pywrap_tf_session.TF_SessionRun_wrapper(
            self._session._session,
            options,
            dict(zip(self._fed_outputs, tensors, strict=True)),
            self._outputs,
            [],
            None,
        )
        return results


# core/graph/subgraph.cc
_NO_FEED, _NO_FETCH = "FeedInputs: unable to find feed output {}", "FetchOutputs node {}: not found"


def _tensor(graph: Any, name: str, error: str) -> Any:
    """A tensor of a graph, by its name with or without the output's number."""
    operation, _, number = name.partition(":")
    try:
        return graph.get_operation_by_name(operation).outputs[int(number or 0)]
    except (KeyError, ValueError, IndexError):
        raise errors.NotFoundError(error.format(name)) from None


def _check_tensor(graph: Any, name: str) -> None:
    """Refuse an operation without outputs, such as that of `__saved_model_init_op`, or none.

    Raises:
        errors.NotFoundError: the graph has no such operation.
        errors.OutOfRangeError: in TensorFlow's words (core/common_runtime/graph_execution_state.cc
            reaches for the node's first output).
    """
    if ":" not in name:
        try:
            operation = graph.get_operation_by_name(name)
        except (KeyError, ValueError):  # such as "", the name of an output that is sparse
            raise errors.NotFoundError(_NO_FETCH.format(name)) from None
        if not operation.outputs:
            raise errors.OutOfRangeError(
                f"Node '{name}' (type: '{operation.type}', num of outputs: 0) does not have "
                "output 0"
            )


def _bytes(tensors: Mapping[str, Tensor]) -> int:
    """The memory that TensorFlow holds the tensors in."""
    return sum(
        sum(_STRING_BYTES + (len(text) if len(text) > _TEXT_WITHIN else 0) for text in tensor.flat)
        if tensor.dtype == object
        else tensor.nbytes
        for tensor in tensors.values()
    )


def _as_array(result: Any) -> Tensor:
    """An output.

    Raises:
        errors.UnimplementedError: it is of a type that is not sent, such as int4.
    """
    # A string of no dimensions comes as `bytes`; NumPy's own would lose the zeros at its end.
    array = np.asarray(result, dtype=object if isinstance(result, bytes) else None)
    try:
        data_type(array)
    except ValueError as error:
        raise errors.UnimplementedError(str(error)) from error
    return array


def _restore(meta_graph: Any, path: Path, mixed_precision: str | None) -> Any:
    """A session with the graph, its variables and its tables (tensorflow's
    cc/saved_model/loader.cc).

    Under mixed precision TensorFlow's own rewriter of graphs puts operations in bfloat16 where
    oneDNN gains by it, as TF Serving has it do (its saved_model_bundle_factory.cc).
    """
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(
            meta_graph.graph_def,
            name="",
            producer_op_list=meta_graph.meta_info_def.stripped_op_list,
        )
    config = tf.compat.v1.ConfigProto(
        allow_soft_placement=True,  # a model that names a GPU runs where there is none
        intra_op_parallelism_threads=tf.config.threading.get_intra_op_parallelism_threads(),
        inter_op_parallelism_threads=tf.config.threading.get_inter_op_parallelism_threads(),
    )
    if mixed_precision == "bfloat16":
        rewriting = config.graph_options.rewrite_options
        rewriting.auto_mixed_precision_onednn_bfloat16 = rewriter_config_pb2.RewriterConfig.ON
    session = tf.compat.v1.Session(graph=graph, config=config)
    assets = {
        asset.tensor_info.name: str(path / "assets" / asset.filename)
        for asset in meta_graph.asset_file_def
    }
    saver = meta_graph.saver_def
    if saver.restore_op_name:
        variables = {saver.filename_tensor_name: str(path / "variables" / "variables")}
        session.run(saver.restore_op_name, {**variables, **assets})
    if (init_op := _init_op(meta_graph)) is not None:
        session.run(init_op, assets)
    session._extend_graph()  # to what runs look for, also where nothing was run
    graph.finalize()
    return session


def _init_op(meta_graph: Any) -> str | None:
    """The name of the operation that fills the tables, if there is one."""
    if _INIT_OP in meta_graph.signature_def:
        return str(meta_graph.signature_def[_INIT_OP].outputs[_INIT_OP].name)
    for collection in ("saved_model_main_op", "legacy_init_op"):
        if collection in meta_graph.collection_def:
            return str(meta_graph.collection_def[collection].node_list.value[0])
    return None


def from_tensorflow(error: Any) -> errors.StatusError:
    """A TensorFlow error as ours: the op's own text, without Python's account of where it was.

    Args:
        error: an `OpError`, or the `UnicodeDecodeError` that comes in its place where the text
            quotes bytes that are no UTF-8.
    """
    if isinstance(error, UnicodeDecodeError):
        # The status is lost: TensorFlow's binding reads its text before there is an exception to
        # hold its code. An operation that quotes its input refuses it, mostly by this code.
        text = error.object[:_MOST_TOLD].decode(errors="backslashreplace")
        return errors.InvalidArgumentError(text)
    text = str(error.message)
    # "Graph execution error:", one "Detected at node ..." for each op, then the op's own text.
    text = re.sub(
        r"\AGraph execution error:\s+"
        r"(Detected at node .*\n(<stack traces unavailable>\n|( +.*\n|\n)+))*",
        "",
        text,
    )
    # Looked for from the end, since an op may quote what a client sent, of any length.
    start = text.rfind(" [Op:")
    if start >= 0 and re.fullmatch(r" \[Op:[^\]]*\](?: name: .*)?", text[start:]):
        text = text[:start]
    return errors.from_code(error.error_code, text)


def _read_meta_graph(path: Path, tags: set[str]) -> Any:
    """The meta graph of these tags (tensorflow's cc/saved_model/reader.cc, platform/env.cc)."""
    binary, text = path / "saved_model.pb", path / "saved_model.pbtxt"
    message = saved_model_pb2.SavedModel()
    if path.exists() and not path.is_dir():
        raise errors.FailedPreconditionError(f"{binary}; Not a directory")
    try:
        if binary.exists():
            _parse(binary, message)
        elif text.exists():
            text_format.Parse(text.read_text(encoding="utf-8"), message)
        else:
            raise errors.NotFoundError(
                "Specified file path does not appear to contain a SavedModel bundle (should have "
                f"a file called `saved_model.pb`)\nSpecified file path: {path}"
            )
    except text_format.ParseError as error:
        raise errors.DataLossError(f"Can't parse {text} as text proto: {error}") from error
    except OSError as error:
        raise errors.InternalError(f"{path} cannot be read: {error}") from error
    for meta_graph in message.meta_graphs:
        if set(meta_graph.meta_info_def.tags) == tags:
            return meta_graph
    found = [sorted(meta_graph.meta_info_def.tags) for meta_graph in message.meta_graphs]
    raise errors.NotFoundError(
        f"Could not find meta graph def matching supplied tags: {{ {' '.join(sorted(tags))} }}. "
        f"Received: {path} with the tags {found}."
    )


def _parse(file: Path, message: Any) -> None:
    data = file.read_bytes()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        if _is_cut_short(data):
            raise errors.OutOfRangeError("Read less bytes than requested") from error
        raise errors.DataLossError(f"Can't parse {file} as binary proto") from error


def _is_cut_short(data: bytes) -> bool:
    """Whether the last field of a message that does not parse goes on beyond its end."""
    place = 0
    for _ in range(_MOST_FIELDS):
        tag, place = _varint(data, place)
        if tag & 7 == 0:
            _, place = _varint(data, place)
        elif tag & 7 == 2:
            size, place = _varint(data, place)
            place += size
        else:
            place += {1: 8, 5: 4}.get(tag & 7, len(data) + 1)
        if place >= len(data):
            return place > len(data) and tag & 7 in (0, 1, 2, 5)
    return False


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """A number, and what comes behind it: more than the end where the number is not whole."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            return 0, len(data) + 1
        value |= (data[place] & 0x7F) << shift
        place += 1
        if data[place - 1] < 0x80:
            break
    return value, place
