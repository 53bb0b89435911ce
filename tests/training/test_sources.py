"""Runs on every kind of source, to the end and back to their validation images."""

from pathlib import Path

import numpy as np
import pytest

from keras_inception.data.examples import DataError
from keras_inception.data.preparation.prepare import prepare
from keras_inception.data.preprocessing import Preprocessing
from keras_inception.data.sources.write_records import write_records
from keras_inception.runs.run import RunError, create_run, open_run
from keras_inception.training.train import train
from tests.training.test_train import TINY, one_convolution, quiet


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keras_inception.training.train.build", one_convolution)


def test_a_run_on_records_validates_on_the_same_images_later(
    fast: None, photos: Path, tmp_path: Path
) -> None:
    prepared = prepare(photos, validation_fraction=0.2, log=quiet)
    parts = {"train": prepared.training, "validation": prepared.validation}
    write_records(parts, tmp_path / "records")
    run = train(tmp_path / "records", tmp_path / "run", TINY.with_changes({"epochs": 1}), log=quiet)
    assert run.record["data"]["validation_source"] == str(tmp_path / "records" / "validation")
    found = run.validation
    assert sorted(found.images.encoded(index) for index in range(len(found))) == sorted(
        prepared.validation.images.encoded(index) for index in range(len(found))
    )


def test_a_run_on_arrays_trains_and_says_that_they_are_gone(fast: None, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 28, 28), np.uint8)
    data = (images, np.arange(40) % 2)
    run = train(data, tmp_path / "run", TINY.with_changes({"epochs": 1}), log=quiet)
    assert run.labels == ("0", "1")
    with pytest.raises(DataError, match="arrays in memory"):
        _ = run.validation


def test_a_run_goes_on_with_its_own_data_only(photos: Path, tmp_path: Path) -> None:
    prepared = prepare(photos, log=quiet)
    run = create_run(tmp_path / "run", TINY, prepared, Preprocessing(28))
    open_run(run.path).check_data(prepare(photos, log=quiet))
    with pytest.raises(RunError, match=r"it had 36 images to train.*now there are 32"):
        run.check_data(prepare(photos, validation_fraction=0.2, log=quiet))
    with pytest.raises(RunError, match="are not those of the run"):
        run.check_data(prepare(photos, seed=1, log=quiet))
