"""Runs made by 246bb20 still open, and one that it was interrupted in goes on."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from keras_inception.inference.evaluate import evaluate
from keras_inception.runs.run import RunError, open_run
from keras_inception.training.checkpoint import FORMAT, read_state
from keras_inception.training.train import train
from tests.training.test_train import one_convolution, quiet

ROOT = Path(__file__).parents[2]
MADE = Path(__file__).parent / "made_by_246bb20"


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the paths in the runs begin, and their network."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("keras_inception.training.train.build", one_convolution)


def test_a_finished_run_opens_and_measures_as_it_did(tmp_path: Path) -> None:
    run = open_run(MADE / "finished")
    assert run.finished
    assert run.labels == ("down", "right")
    assert (run.recipe.optimizer, run.recipe.ema, run.preprocessing.size) == ("rmsprop", 0.9, 28)
    assert len(run.validation) == 6
    assert "format" not in run.record
    measured = evaluate(run.path)
    assert measured.metrics["loss"] == pytest.approx(run.record["validation"]["loss"], rel=1e-4)
    again = train(MADE / "images.npz", run.path, resume=True, log=quiet)
    assert again == run


def test_an_interrupted_run_goes_on_and_ends_as_the_finished_one(tmp_path: Path) -> None:
    """Within an epoch, by the old order of the optimizer's variables."""
    path = shutil.copytree(MADE / "interrupted", tmp_path / "run")
    with np.load(path / "checkpoints" / "last.npz") as old:
        assert "format" not in old and "optimizer_0" in old
    state = read_state(path)
    assert (state.epoch, state.step) == (1, 2)
    said: list[str] = []
    run = train(MADE / "images.npz", path, resume=True, log=said.append)
    assert sum("begun by an earlier version" in line for line in said) == 1
    went_on = run.record["went_on_by"]
    assert (went_on["format"], went_on["epoch"], went_on["step"]) == (2, 1, 2)
    assert run.recipe.precision == "float32", "the recorded one, whatever the machine"
    assert run.finished
    one, other = (
        list(csv.DictReader((each / "history.csv").read_text().splitlines()))
        for each in (MADE / "finished", path)
    )
    assert len(other) == 3
    for row, same in zip(one, other, strict=True):
        for name in row:
            assert float(same[name]) == pytest.approx(float(row[name]), rel=1e-4), name
    with (
        np.load(MADE / "finished" / "checkpoints" / "last.npz") as old,
        np.load(path / "checkpoints" / "last.npz") as new,
    ):
        assert int(new["format"]) == FORMAT
        in_order = [name for name in new.files if name.startswith("optimizer/")]
        assert "optimizer/rmsprop/conv_kernel_velocity" in in_order
        for index, name in enumerate(in_order):
            np.testing.assert_allclose(new[name], old[f"optimizer_{index}"], rtol=1e-3, atol=1e-5)


def test_variables_are_found_by_name_in_whatever_order(tmp_path: Path) -> None:
    """A checkpoint of ours with its optimizer's variables turned round is the same checkpoint."""
    path = shutil.copytree(MADE / "interrupted", tmp_path / "run")
    last = path / "checkpoints" / "last.npz"
    with np.load(last) as old:
        arrays = dict(old)
    weights = ("conv_kernel", "conv_bn_beta", "logits_kernel", "logits_bias")
    slots = ("velocity", "momentum")
    names = ["iteration", *(f"{weight}_{slot}" for slot in slots for weight in weights)]
    values = [arrays.pop(f"optimizer_{index}") for index in range(len(names))]
    named = {f"optimizer/rmsprop/{name}": value for name, value in zip(names, values, strict=True)}
    arrays |= dict(reversed(named.items())) | {"format": np.array(FORMAT)}
    np.savez(last, **arrays)
    run = train(MADE / "images.npz", path, resume=True, log=quiet)
    history = (run.path / "history.csv").read_text().splitlines()[-1]
    expected = (MADE / "finished" / "history.csv").read_text().splitlines()[-1]
    np.testing.assert_allclose(
        [float(each) for each in history.split(",")],
        [float(each) for each in expected.split(",")],
        rtol=1e-4,
    )


def test_another_optimizers_checkpoint_is_refused_by_name(tmp_path: Path) -> None:
    path = shutil.copytree(MADE / "interrupted", tmp_path / "run")
    last = path / "checkpoints" / "last.npz"
    with np.load(last) as old:
        arrays = dict(old) | {"format": np.array(FORMAT)}
    np.savez(last, **arrays)
    with pytest.raises(RunError, match=r"last\.npz .*'optimizer/rmsprop/iteration is not a file"):
        train(MADE / "images.npz", path, resume=True, log=quiet)


def test_later_formats_are_refused_in_a_line(tmp_path: Path) -> None:
    path = shutil.copytree(MADE / "interrupted", tmp_path / "run")
    last = path / "checkpoints" / "last.npz"
    with np.load(last) as old:
        arrays = dict(old) | {"format": np.array(99)}
    np.savez(last, **arrays)
    with pytest.raises(RunError, match=r"last\.npz is of format 99, of a later version") as refused:
        train(MADE / "images.npz", path, resume=True, log=quiet)
    assert "\n" not in str(refused.value)
    record = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps(record | {"format": 99}))
    with pytest.raises(RunError, match=r"run\.json is of format 99, of a later version"):
        open_run(path)
    (path / "run.json").write_text("{")
    with pytest.raises(RunError, match=r"run\.json can't be read"):
        open_run(path)
