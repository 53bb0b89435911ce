"""A folder of photos, a run trained on it and its export, each made once a session."""

import gc
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

# Tracing makes millions of small objects, hardly any of them garbage: to look through them after
# every 700, as Python does, takes a seventh of the time.
gc.set_threshold(20_000)


@pytest.fixture(scope="module", autouse=True)
def garbage() -> Iterator[None]:
    """Taken away at a module's end; what is left, such as Keras's own lists, stays to the end.

    It need not be looked through again and again: millions of objects, a second each time.
    """
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def determinism_ends() -> Iterator[None]:
    """A deterministic run leaves TensorFlow so for the rest of the process, tests that follow too.

    TensorFlow has no public way back.
    """
    yield
    if "tensorflow" in sys.modules:
        from tensorflow.python.util import _pywrap_determinism

        _pywrap_determinism.enable(False)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes a network tells apart at once, in the formats that people's folders hold.

    ``dawn`` is bright above and dark below, ``dusk`` the other way round; JPEG, PNG with alpha,
    grey JPEG, GIF and BMP, from 40 x 30 to 120 x 160 pixels.
    """
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    kinds = [("RGB", "jpg"), ("RGBA", "png"), ("L", "jpg"), ("RGB", "gif"), ("RGB", "bmp")]
    for label in ("dawn", "dusk"):
        (folder / label).mkdir()
        for number in range(20):
            mode, suffix = kinds[number % len(kinds)]
            width, height = int(random.integers(40, 161)), int(random.integers(30, 121))
            slope = (
                np.linspace(220, 30, height) if label == "dawn" else np.linspace(30, 220, height)
            )
            pixels = slope[:, None, None] + random.normal(0, 12, (height, width, 3))
            image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).convert(mode)
            image.save(folder / label / f"{number:02d}.{suffix}")
    return folder


@pytest.fixture(scope="session")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory):
    """A small Inception v1 trained on the photos, finished."""
    from keras_inception.runs.named_recipes import RECIPES
    from keras_inception.training.train import train

    recipe = RECIPES["small"].with_changes(
        {
            "width": 0.125,
            "epochs": 12,
            "batch_size": 8,
            "learning_rate": 0.05,
            "crop": 0.875,
            "label_smoothing": 0.0,
            "precision": "float32",  # on every machine
        }
    )
    output = tmp_path_factory.mktemp("runs") / "photos"
    return train(photos, output, recipe, log=lambda line: None)


@pytest.fixture(scope="session")
def models(run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run exported as BASE/photos/1; BASE. Its check is the one that users have."""
    from inception_export import parity, publish

    base = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:  # whatever the tests around do
        patch.setattr(publish, "run_in_a_process", parity.run_in_a_process)
        publish.export_run(run.path, base, "photos", log=lambda line: None)
    return base


@pytest.fixture(scope="module")
def checked_here() -> Iterator[None]:
    """Exports are checked in this process: another one takes 5 s to import TensorFlow.

    By the same loaders, with the same answers; `models` has had the check in its own process.
    """
    from inception_export import parity

    def run_here(saved_model: Path, images: Sequence[bytes]) -> list[dict[str, np.ndarray]]:
        requests = parity._requests(images)
        return [
            {name: np.concatenate(each) for name, each in ask(str(saved_model), requests).items()}
            for ask in (parity._ask_tensorflow2, parity._ask_session)
        ]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("inception_export.publish.run_in_a_process", run_here)
        yield


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs have no report, curves and pictures for TensorBoard, as the session's `run` has."""
    from keras_inception.training.fit import TrainingJob

    def nothing(*arguments: object, **named: object) -> None:
        pass

    def blank(*arguments: object) -> np.ndarray:
        return np.zeros((1, 1, 3), np.uint8)

    monkeypatch.setattr("keras_inception.training.train.write_report", nothing)
    monkeypatch.setattr("keras_inception.training.train.draw_curves", nothing)
    monkeypatch.setattr("keras_inception.training.tensorboard.draw_confusion", blank)
    monkeypatch.setattr(TrainingJob, "pictures", lambda job: blank()[np.newaxis])


@pytest.fixture
def fast(undrawn: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks that train are of one convolution: for what depends on neither it nor pictures."""
    from tests.training.test_train import one_convolution

    monkeypatch.setattr("keras_inception.training.train.build", one_convolution)
