"""The same network, the same numbers on Keras's three backends, each in its own process.

There the saved model is opened first, before this package can be imported.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_inception
from tests.parity.weights import TOLERANCE, difference, images, predict, randomize

REPOSITORY = Path(__file__).parents[2]
# Even and odd sizes, strides and pools of every kind; the last at full size.
NETWORKS = {
    "InceptionV1": {"width": 0.25, "input_shape": (96, 96, 3), "aux": True},
    "InceptionV2": {"width": 0.25, "input_shape": (97, 97, 3), "variant": "slim"},
    "InceptionV3": {"input_shape": (299, 299, 3)},
    "InceptionV4": {"width": 0.25, "input_shape": (107, 107, 3), "aux": True},
    "InceptionResNetV1": {"width": 0.25, "input_shape": (32, 32, 3), "stem": "small"},
    "InceptionResNetV2": {"width": 0.25, "input_shape": (108, 108, 3)},
}

ELSEWHERE = """
    import ast, importlib.util, sys
    import keras, numpy as np
    backend, repository, title, arguments = sys.argv[1:]
    assert keras.backend.backend() == backend

    assert importlib.util.find_spec("keras_inception") is None
    loaded = keras.models.load_model("model.keras")

    sys.path += [repository, f"{repository}/serving"]  # which keras-inception requires
    import keras_inception
    build = getattr(keras_inception, title)
    model = build(classifier_activation=None, **ast.literal_eval(arguments))
    assert [layer.name for layer in model.layers] == [layer.name for layer in loaded.layers]
    for layer in model.layers:
        layer.set_weights(loaded.get_layer(layer.name).get_weights())
    answer = model.predict(np.load("images.npy"), verbose=0)
    np.save(f"{backend}.npy", answer["predictions"] if isinstance(answer, dict) else answer)
"""


@pytest.mark.parametrize("title", NETWORKS)
def test_backends(title, tmp_path):
    keras.utils.set_random_seed(0)
    arguments = NETWORKS[title]
    model = getattr(keras_inception, title)(classifier_activation=None, **arguments)
    randomize(model)
    model.save(tmp_path / "model.keras")
    x = images(arguments["input_shape"][0])
    np.save(tmp_path / "images.npy", x)
    ours = predict(model, x)
    for backend in ("jax", "torch"):
        code = [sys.executable, "-c", textwrap.dedent(ELSEWHERE)]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        subprocess.run(
            [*code, backend, str(REPOSITORY), title, str(arguments)],
            env=environment | {"KERAS_BACKEND": backend},
            cwd=tmp_path,
            check=True,
        )
        found = difference(np.load(tmp_path / f"{backend}.npy"), ours)
        print(f"\n{backend} {title}: largest difference {found:.2e} standard deviations", end="")
        assert found < TOLERANCE
