"""Uneven classes in a whole training."""

from pathlib import Path

import numpy as np
import pytest

from keras_inception.data.examples import Examples
from keras_inception.data.images import Pixels
from keras_inception.runs.fields import RecipeError
from tests.training.test_fit import RECIPE, data, go
from tests.training.test_train import one_convolution


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keras_inception.training.train.build", one_convolution)
    monkeypatch.setattr("keras_inception.training.train.write_report", lambda *_, **__: None)


def test_repeated_the_few_count_as_much_as_the_many(tmp_path: Path) -> None:
    """Of 4 to 1 blank images; the record keeps what there are."""
    targets = (np.arange(40) % 5 == 0).astype(np.int64)
    few = Examples(("many", "few"), Pixels.of(np.zeros((40, 30, 30, 3), np.uint8)), targets)
    changes = {"oversample": 1, "epochs": 5, "learning_rate": 0.3, "validation_fraction": 0}
    said: list[str] = []
    run = go(
        tmp_path / "run",
        RECIPE.with_changes(changes | {"dropout": 0.0}),
        data=few,
        log=said.append,
    )
    score = run.load_model().predict(np.full((1, 28, 28, 3), -1, np.float32), verbose=0)[0, 1]
    assert score == pytest.approx(0.5, abs=0.12)
    assert "Rare classes repeated, an epoch is 64 images." in said
    assert run.record["data"]["training_counts"] == [32, 8]


@pytest.mark.parametrize(
    ("changes", "multi_label", "rule"),
    [
        ({"loss": "binary"}, True, "`loss` must be cross_entropy or focal where an image can be"),
        ({"positive_weight": 2}, False, "`positive_weight` must be left out where every image"),
    ],
)
def test_a_loss_that_does_not_suit_the_images_is_refused(
    changes: dict, multi_label: bool, rule: str, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=rule):
        go(tmp_path / "run", RECIPE.with_changes(changes), data=data(3, multi_label))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "multi_label"),
    [
        ({"loss": "binary", "positive_weight": "balanced"}, False),
        ({"loss": "focal"}, False),
        ({"loss": "focal", "focal_gamma": 1.0, "class_weights": True}, True),
        ({"positive_weight": "balanced"}, True),
    ],
)
def test_every_loss_trains(changes: dict, multi_label: bool, tmp_path: Path) -> None:
    recipe = RECIPE.with_changes(changes | {"epochs": 6, "learning_rate": 0.1})
    run = go(tmp_path / "run", recipe, data=data(3, multi_label))
    assert run.record["validation"]["mean_roc_auc"] > 0.9
