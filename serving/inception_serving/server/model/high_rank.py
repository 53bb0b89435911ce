"""Runs with tensors of more dimensions than NumPy's arrays have, which is 64; TensorFlow has 254.

They go in and out as messages: a session stores the tensor that an operation makes of one, and is
then fed the stored tensor's handle. Few ask for it, so nothing of this is there until somebody
does.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from tensorflow.python.ops.session_ops import TensorHandle

from inception_serving import messages, tensors
from inception_serving.tensors import Tensor


class HighRankRuns:
    """A session's runs with tensors of any number of dimensions."""

    def __init__(self, session: Any) -> None:
        """Nothing is added to the graph yet."""
        self._session = session
        self._lock = threading.Lock()
        # By the names of the tensors: what stores one, and what writes one as a message.
        self._stores: dict[str, Any] = {}
        self._written: dict[str, Any] = {}
        self._forget: Any = None

    def run(self, feeds: Mapping[str, Tensor], fetches: Iterable[str]) -> dict[str, Tensor]:
        """Tensors of the graph, by their names there, given others.

        Args:
            fetches: TensorFlow keeps something for each choice, so clients must not make many.

        Raises:
            tf.errors.OpError, UnicodeDecodeError: an op refused its input, or failed.
        """
        names = sorted(fetches)
        with self._lock:
            self._build(feeds, names)
        graph = self._session.graph
        handles: list[bytes] = []
        try:
            fed = {}
            for name in sorted(feeds):
                data = tensors.to_proto(feeds[name]).SerializeToString()
                handles.append(self._stores[name](np.array(data, dtype=object))[0])
                tensor = graph.get_tensor_by_name(name)
                handle = TensorHandle(handles[-1].decode(), tensor.dtype, self._session)
                handle._auto_gc_enabled = False  # which would add operations
                fed[tensor] = handle
            written = self._session.run([self._written[name] for name in names], fed)
        finally:
            for stored in handles:
                self._forget(np.array(stored, dtype=object))
        return {
            name: tensors.from_proto(messages.TensorProto.FromString(data))
            for name, data in zip(names, written, strict=True)
        }

    def _build(self, feeds: Iterable[str], fetches: Iterable[str]) -> None:
        """Add the operations that are not there yet, for each feed and fetch."""
        new_feeds = [name for name in feeds if name not in self._stores]
        new_fetches = [name for name in fetches if name not in self._written]
        if not new_feeds and not new_fetches:
            return
        graph = self._session.graph
        graph._unsafe_unfinalize()
        try:
            with graph.as_default(), tf.device("/CPU:0"):
                for name in new_feeds:
                    data = tf.compat.v1.placeholder(tf.string, [])
                    dtype = graph.get_tensor_by_name(name).dtype
                    stored = tf.raw_ops.GetSessionHandle(value=tf.io.parse_tensor(data, dtype))
                    self._stores[name] = self._callable([data.name], fetch=[stored.name])
                for name in new_fetches:
                    tensor = graph.get_tensor_by_name(name)
                    self._written[name] = tf.io.serialize_tensor(tensor)
                if self._forget is None:
                    handle = tf.compat.v1.placeholder(tf.string, [])
                    deletion = tf.raw_ops.DeleteSessionTensor(handle=handle)
                    self._forget = self._callable([handle.name], target=[deletion.name])
        finally:
            graph.finalize()

    def _callable(self, feed: Sequence[str], **asked: Sequence[str]) -> Any:
        options = config_pb2.CallableOptions(feed=feed, **asked)
        return self._session._make_callable_from_options(options)
