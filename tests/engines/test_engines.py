"""Exports run by engines other than the TensorFlow that wrote them.

TensorFlow 2.20 is the release of TF Serving's newest image; OpenVINO is no TensorFlow at all. Both
live in an environment of their own, made by ``make engines``.
"""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from inception_export.parity import run_in_a_process, sample_images
from inception_export.serving_graph import make_serving_graph
from keras_inception import InceptionV3
from keras_inception.data.preprocessing import Preprocessing, preprocess

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-engines" / "bin" / "python"

pytestmark = [
    pytest.mark.slow,
    # What `make engines` leaves last: one that was interrupted has a Python and no packages.
    pytest.mark.skipif(
        not (ROOT / ".venv-engines" / ".installed").exists(), reason="make engines was not run"
    ),
]

OPENVINO = """
import sys
import numpy as np
import openvino
core = openvino.Core()
# On some processors it would compute in bfloat16 unasked.
model = core.compile_model(core.read_model(sys.argv[1]), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
images = np.load(sys.argv[2])
np.save(sys.argv[3], model(images)[model.output(0)])
"""


def test_every_signature_runs_under_tensorflow_2_20(models: Path) -> None:
    saved_model = models / "photos" / "1"
    here = run_in_a_process(saved_model, sample_images())
    there = run_in_a_process(saved_model, sample_images(), str(PYTHON))
    for one, other in zip(here, there, strict=True):
        assert set(one) == set(other)
        assert len(one) == 9
        for name, expected in one.items():
            if expected.dtype == object:
                np.testing.assert_array_equal(other[name], expected)
            else:
                np.testing.assert_allclose(other[name], expected, rtol=1e-4, atol=1e-5)


def test_openvino_answers_alike(tmp_path: Path) -> None:
    """`predict_images` alone, as OpenVINO's reader wants it, and without antialias."""
    model = InceptionV3(stem="small", width=0.25, classes=7, input_shape=(64, 64, 3))
    preprocessing = Preprocessing(size=64, antialias=False)
    network = make_serving_graph(model)

    class Images(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = network.variables

        @tf.function(input_signature=[tf.TensorSpec([1, 90, 120, 3], tf.uint8, name="images")])
        def answer(self, images):
            return {
                "probabilities": network.answer(preprocess(images, preprocessing))["probabilities"]
            }

    module = Images()
    tf.saved_model.save(module, tmp_path / "saved", signatures=module.answer)
    images = np.random.default_rng(0).integers(0, 256, (1, 90, 120, 3), np.uint8)
    np.save(tmp_path / "images.npy", images)
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"}
    done = subprocess.run(
        [PYTHON, "-c", OPENVINO, tmp_path / "saved", tmp_path / "images.npy", tmp_path / "out.npy"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    expected = model.predict(preprocess(images, preprocessing), verbose=0)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, atol=1e-4)
