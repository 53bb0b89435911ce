"""A network that learns from a teacher's answers."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_inception.data.examples import Examples
from keras_inception.runs.fields import RecipeError
from keras_inception.runs.recipe import Recipe
from keras_inception.runs.run import Run, Terminated
from keras_inception.training.optimization.distillation import Distillation
from tests.training.test_fit import RECIPE, data, go, history, terminate_at
from tests.training.test_train import one_convolution

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keras_inception.training.train.build", one_convolution)
    monkeypatch.setattr("keras_inception.training.train.write_report", lambda *_, **__: None)


def softmax(logits: np.ndarray) -> np.ndarray:
    shares = np.exp(logits - logits.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)


def test_the_gradient_is_the_papers() -> None:
    """Equation 2, (q - p) / T, times T squared; and as T grows equation 4's, logits' difference."""
    import tensorflow as tf

    random = np.random.default_rng(0)
    teacher, student = random.normal(0, 3, (2, 4, 5)).astype("f4")
    for temperature, tolerance in ((2.0, 1e-5), (1e3, 1e-2)):
        logits = tf.constant(student)
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = Distillation(temperature)(teacher, logits)
        found = tape.gradient(value, logits) * len(student)
        if temperature == 2.0:
            expected = temperature * (softmax(student / 2) - softmax(teacher / 2))
        else:
            centred = (each - each.mean(-1, keepdims=True) for each in (student, teacher))
            expected = np.subtract(*centred) / 5
        np.testing.assert_allclose(found, expected, atol=tolerance)
    assert float(Distillation(3.0)(teacher, teacher)) == pytest.approx(0, abs=1e-6)


def test_of_each_class_by_itself_it_is_that_of_two_classes() -> None:
    random = np.random.default_rng(0)
    teacher, student = random.normal(0, 3, (2, 6, 1)).astype("f4")
    two = [np.concatenate([each, np.zeros_like(each)], -1) for each in (teacher, student)]
    one = Distillation(2.0, each=True)(teacher, student)
    assert float(one) == pytest.approx(float(Distillation(2.0)(*two)), rel=1e-5)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """That tells dark from bright, of images of its own range."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keras_inception.training.train.build", one_convolution)
        patch.setattr("keras_inception.training.train.write_report", lambda *_, **__: None)
        recipe = RECIPE.with_changes({"epochs": 12, "learning_rate": 0.1})
        return go(tmp_path_factory.mktemp("teacher") / "run", recipe)


def answers(run: Run, examples: Examples) -> np.ndarray:
    pixels = np.stack([examples.images.reader()(index) for index in range(len(examples))])
    how = run.preprocessing
    images = (pixels[:, 1:29, 1:29].astype("f4") - how.mean) / how.std
    return np.asarray(run.load_model().predict(images, verbose=0)).argmax(1)


def student_of(teacher: Path | str) -> Recipe:
    """That goes by its teacher alone."""
    return RECIPE.with_changes(
        {
            **{"epochs": 12, "learning_rate": 0.1, "validation_fraction": 0.0},
            **{"teacher": str(teacher), "distill_alpha": 1.0, "distill_temperature": 2.0},
        }
    )


def wrong() -> Examples:
    """The teacher's images, each under the other class."""
    right = data()
    return Examples(right.labels, right.images, 1 - right.targets)


def test_a_student_learns_what_its_teacher_says(teacher: Run, tmp_path: Path) -> None:
    """From images whose own classes say the contrary, which count nothing here."""
    right = data().targets
    assert (answers(teacher, data()) == right).all()
    said: list[str] = []
    recipe = student_of(teacher.path)
    student = go(tmp_path / "taught", recipe, data=wrong(), log=said.append)
    assert f"It learns from {teacher.path} too." in said
    assert (answers(student, data()) == right).mean() > 0.9
    by_itself = {"teacher": None, "distill_alpha": None, "distill_temperature": None}
    alone = go(tmp_path / "alone", recipe.with_changes(by_itself), data=wrong())
    assert (answers(alone, data()) == right).mean() < 0.1


def test_what_is_validated_is_not_distilled_and_the_run_goes_on(
    teacher: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = RECIPE.with_changes(
        {"teacher": str(teacher.path), "distill_alpha": 0.5, "epochs": 2, "dropout": 0.0}
    )
    whole = go(tmp_path / "whole", recipe)
    row = history(whole.path)[-1]
    assert row["val_loss"] == pytest.approx(whole.record["validation"]["loss"], rel=1e-4)
    with monkeypatch.context() as patch:
        terminate_at(patch, 4)
        with pytest.raises(Terminated):
            go(tmp_path / "ended", recipe)
    go(tmp_path / "ended", None, resume=True)
    for one, other in zip(history(whole.path), history(tmp_path / "ended"), strict=True):
        assert one == pytest.approx(other, rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "classes", "said"),
    [
        ({"teacher": "nowhere"}, 2, "`teacher` must be a finished run.*teacher=nowhere"),
        ({}, 3, "`teacher` must know the classes of the images: not in both are c"),
        ({"loss": "binary"}, 2, "trained by a loss of each class by itself.*not of a softmax"),
    ],
)
def test_a_teacher_that_can_not_teach_is_refused(
    changes: dict[str, Any], classes: int, said: str, teacher: Run, tmp_path: Path
) -> None:
    recipe = RECIPE.with_changes({"teacher": str(teacher.path)} | changes)
    with pytest.raises(RecipeError, match=said):
        go(tmp_path / "run", recipe, data=data(classes))
    assert not (tmp_path / "run").exists()


def test_without_a_teacher_there_is_nothing_to_distill() -> None:
    with pytest.raises(RecipeError, match="`distill_alpha` must be left out without teacher"):
        Recipe(distill_alpha=0.5)


def test_a_teacher_of_another_range_and_size(teacher: Run) -> None:
    """The student's images become the teacher's own: the same pixels, the same logits."""
    from keras_inception.data.preprocessing import Preprocessing
    from keras_inception.training.optimization.distillation import _Teacher

    pixels = np.random.default_rng(0).uniform(0, 255, (2, 28, 28, 3)).astype("f4")
    own = teacher.preprocessing
    other = Preprocessing(size=56, mean=(0.0, 10.0, 20.0), std=(255.0, 60.0, 1.0))
    model = teacher.load_model()
    logits = keras.Model(model.input, model.get_layer("logits").output)
    expected = logits((pixels - np.array(own.mean, "f4")) / np.array(own.std, "f4"))
    twice = pixels.repeat(2, 1).repeat(2, 2)  # of which bilinear takes the mean of equal pixels
    given = ((twice - np.array(other.mean)) / np.array(other.std)).astype("f4")
    np.testing.assert_allclose(_Teacher(teacher, other)(given), expected, rtol=1e-3, atol=1e-4)


ON_JAX = """
import sys
from pathlib import Path
from keras_inception.runs.run import open_run
from keras_inception.training import train as module
from tests.training.optimization import test_distillation as taught
from tests.training.optimization import test_growing as growing

module.write_report = lambda *_, **__: None
folder = Path(sys.argv[1])
module.build = growing.convolution_of_any_size
print(growing.go(folder / "grown", growing.GROWING).load_model().input_shape[1])
module.build = taught.one_convolution
student = taught.go(folder / "taught", taught.student_of(sys.argv[2]), data=taught.wrong())
print((taught.answers(student, taught.data()) == taught.data().targets).mean())
"""


@pytest.mark.slow
def test_so_it_does_on_jax_where_images_may_grow_too(teacher: Run, tmp_path: Path) -> None:
    paths = os.pathsep.join(str(ROOT / each) for each in ("", "export", "serving"))
    done = subprocess.run(
        [sys.executable, "-c", ON_JAX, str(tmp_path), str(teacher.path)],
        env=os.environ | {"PYTHONPATH": paths, "KERAS_BACKEND": "jax", "TF_CPP_MIN_LOG_LEVEL": "2"},
        capture_output=True,
        text=True,
    )
    assert not done.returncode, done.stderr
    size, share = done.stdout.split()
    assert int(size) == 44
    assert float(share) > 0.9
