"""The engines whose files are written, each with what it needs and how it answers."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inception_export.export import ExportError


@dataclass(frozen=True)
class Answer:
    """What an engine answers, and what it calls its input and output."""

    input: str
    output: str
    rows: np.ndarray


@dataclass(frozen=True)
class Engine:
    """An engine and its file.

    Args:
        name: as Keras's ``Model.export(format=...)`` and ``keras-inception export --format`` call
            it.
        suffix: of the file.
        packages: by the names that they are imported by, each with the one that pip installs.
        run: a file's answer to float32 images [batch, size, size, 3], on the CPU.
        beside: the suffix of a second file, of weights, where there is one.
    """

    name: str
    suffix: str
    packages: dict[str, str]
    run: Callable[[Path, np.ndarray], Answer]
    beside: str | None = None

    def check_installed(self) -> None:
        """Refuse, before any work, what a package is missing for.

        Raises:
            ExportError: one is not installed.
        """
        missing = [
            package
            for module, package in self.packages.items()
            if importlib.util.find_spec(module) is None
        ]
        if missing:
            raise ExportError(
                f"--format {self.name} needs what is not installed: pip install {' '.join(missing)}"
            )


def _run_onnx(path: Path, images: np.ndarray) -> Answer:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (image,), (output,) = session.get_inputs(), session.get_outputs()
    (rows,) = session.run([output.name], {image.name: images})
    return Answer(image.name, output.name, rows)


def _run_litert(path: Path, images: np.ndarray) -> Answer:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path))
    ((signature, names),) = interpreter.get_signature_list().items()
    (image,), (output,) = names["inputs"], names["outputs"]
    # By the signature, whose names are the file's own; its batch is 1 unless it is told otherwise.
    details = interpreter.get_input_details()[0]
    interpreter.resize_tensor_input(details["index"], images.shape)
    answers = interpreter.get_signature_runner(signature)(**{image: images})
    return Answer(image, output, answers[output])


def _run_openvino(path: Path, images: np.ndarray) -> Answer:
    import openvino

    # Some processors compute in bfloat16 unless told otherwise.
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled: Any = openvino.Core().compile_model(str(path), "CPU", exact)
    (image,), (output,) = compiled.inputs, compiled.outputs
    return Answer(min(image.names), min(output.names), compiled(images)[output])


ENGINES = {
    engine.name: engine
    for engine in (
        Engine(
            "onnx",
            ".onnx",
            {"tf2onnx": "tf2onnx", "onnx": "onnx", "onnxruntime": "onnxruntime"},
            _run_onnx,
        ),
        Engine("litert", ".tflite", {"ai_edge_litert": "ai-edge-litert"}, _run_litert),
        Engine("openvino", ".xml", {"openvino": "openvino"}, _run_openvino, ".bin"),
    )
}
