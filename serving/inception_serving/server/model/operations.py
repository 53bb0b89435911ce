"""The operations that a model needs, and this TensorFlow may not have."""

from __future__ import annotations

import operator
import re
from typing import Any

from tensorflow.python.framework import kernels

from inception_serving import errors

functions_of = operator.attrgetter("library.function")  # of a GraphDef

# TensorFlow's words (core/framework/op.cc, op_kernel.cc; core/common_runtime/executor.cc). The last
# is of operations that oneDNN computes, where it is off: what stands in for them makes nothing.
_LACKS = (
    (r"Op type not registered '([^']+)'", "is not registered in"),
    (r"No OpKernel was registered to support Op '([^']+)'", "has no kernel in"),
    (
        r"Missing 0-th output from (?:\{\{function_node [^}]*\}\})?"
        r"\{\{node (?:[^}]*/)?(Quantized[^}_]*)",
        "is switched off in",
    ),
)


def without_kernel(graph: Any) -> list[str]:
    """The operations of a GraphDef, its functions' too, that have no kernel of any device here."""
    functions = functions_of(graph)
    own = {function.signature.name for function in functions}
    nodes = [*graph.node, *(node for function in functions for node in function.node_def)]
    needed = {node.op for node in nodes} - own
    return sorted(name for name in needed if not kernels.get_registered_kernels_for_op(name).kernel)


def named(error: errors.StatusError) -> errors.StatusError:
    """The error, in a line if it is of an operation that this TensorFlow lacks."""
    for pattern, how in _LACKS:
        if found := re.search(pattern, str(error)):
            line = (
                f"The model needs the operation {found[1]}, which {how} this server's TensorFlow."
            )
            if found[1].startswith("Quantized"):
                line += (
                    " int8 is computed by oneDNN, which is of x86 alone, and off where"
                    " TF_ENABLE_ONEDNN_OPTS=0 or the processor has no VNNI: serve an export of"
                    " another precision here."
                )
            return type(error)(line)
    return error
