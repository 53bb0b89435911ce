"""Operations that this TensorFlow lacks, named when a model is loaded."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest
from tensorflow.core.framework import graph_pb2
from tensorflow.core.protobuf import saved_model_pb2

from inception_serving import ModelServer, errors
from inception_serving.server.model.operations import functions_of, named, without_kernel
from inception_serving.server.model.saved_model import SavedModel


def graph_of(*names: str) -> graph_pb2.GraphDef:
    """The first two in the graph, the others in a function of it, which is called."""
    graph = graph_pb2.GraphDef()
    for name in names[:2]:
        graph.node.add(name=name, op=name)
    function = functions_of(graph).add()
    function.signature.name = "inner"
    graph.node.add(name="call", op="inner")
    for name in names[2:]:
        function.node_def.add(name=name, op=name)
    return graph


def test_what_has_no_kernel_is_found_in_functions_too() -> None:
    assert without_kernel(graph_of("AddV2", "Relu", "Conv2D", "QuantizedConv2D")) == []
    assert without_kernel(graph_of("AddV2", "Fancy", "Conv2D", "Plain")) == ["Fancy", "Plain"]


def test_no_model_of_the_tests_is_complained_of(
    saved_models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for path in sorted(saved_models.iterdir()):
            if (path / "saved_model.pb").exists():
                SavedModel(path)
    assert "no kernel" not in caplog.text


def test_a_server_that_lacks_an_operation_says_which(saved_models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "odd" / "1"
    shutil.copytree(saved_models / "arithmetic", folder)
    file = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    # All of them: the functions come in any order, and one that no signature calls may lack any.
    for function in functions_of(file.meta_graphs[0].graph_def):
        for node in function.node_def:
            if node.op == "AddV2":
                node.op = "Fancy"
    (folder / "saved_model.pb").write_bytes(file.SerializeToString())

    with pytest.raises(errors.ServerStartError) as caught, ModelServer(tmp_path):
        pass

    text = str(caught.value)
    assert "name: odd version: 1" in text
    assert "needs the operation Fancy, which is not registered in this server's TensorFlow." in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            "No OpKernel was registered to support Op 'QuantizedMaxPool' used by {{node pool}}\n"
            "Registered devices: [CPU]\nRegistered kernels:\n  <no registered kernels>\n",
            "QuantizedMaxPool, which has no kernel in this server's TensorFlow.",
        ),
        (
            "Missing 0-th output from {{function_node __inference_answer_58660}}{{node"
            " QuantizedConv2DWithBiasAndRequantize_3}}",
            "QuantizedConv2DWithBiasAndRequantize, which is switched off in this server's",
        ),
    ],
)
def test_tensorflows_words_become_a_line(words: str, line: str) -> None:
    error = named(errors.InvalidArgumentError(words))
    assert isinstance(error, errors.InvalidArgumentError)
    assert str(error).startswith(f"The model needs the operation {line}")
    assert "int8 is computed by oneDNN" in str(error)
    assert "\n" not in str(error)


def test_other_errors_stay_as_they_are() -> None:
    error = errors.InvalidArgumentError("Missing 0-th output from {{node Placeholder}}")
    assert named(error) is error
