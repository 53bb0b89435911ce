"""The temperature that fits, and that it is in whatever is made of the network."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from keras_inception.evaluation.calibration import calibrate, fit_temperature
from keras_inception.training.train import train
from tests.training.test_fit import RECIPE, data
from tests.training.test_train import one_convolution


def drawn(temperature: float, several: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose classes were drawn at a temperature, and these classes."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 3, (20_000, 5))
    if several:
        return logits, random.random(logits.shape) < 1 / (1 + np.exp(-logits / temperature))
    noise = random.gumbel(0, 1, logits.shape)
    return logits, np.argmax(logits / temperature + noise, axis=1)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
@pytest.mark.parametrize("several", [False, True])
def test_the_temperature_that_was_drawn_at_is_found(temperature: float, several: bool) -> None:
    assert fit_temperature(*drawn(temperature, several)) == pytest.approx(temperature, rel=0.03)


def test_confidence_is_then_how_often_it_is_right() -> None:
    logits, targets = drawn(2.5)

    def ece(by: float) -> float:
        shares = np.exp(logits / by)
        shares /= shares.sum(axis=1, keepdims=True)
        return calibrate(shares.max(axis=1), shares.argmax(axis=1) == targets).ece

    assert ece(1.0) > 0.2
    assert ece(fit_temperature(logits, targets)) < 0.02


def test_where_all_are_right_it_stays_in_bounds() -> None:
    logits = 5 * np.eye(4)
    assert fit_temperature(logits, np.arange(4)) == pytest.approx(0.1, rel=1e-6)
    assert fit_temperature(logits, (np.arange(4) + 1) % 4) == pytest.approx(10, rel=1e-6)


@pytest.mark.parametrize("several", [False, True])
def test_a_run_keeps_it_in_its_network(
    several: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keras_inception.training.train.build", one_convolution)
    options = {"check_images": "none", "log": lambda line: None}
    examples = data(3, several)
    targets = examples.targets.copy()  # of which some are wrong, or all answers could be right
    targets[::5] = np.roll(targets[::5], 1, axis=1) if several else (targets[::5] + 1) % 3
    examples = dataclasses.replace(examples, targets=targets)
    recipe = RECIPE.with_changes({"label_smoothing": 0.3, "epochs": 4})
    plain, scaled = (
        train(examples, tmp_path / str(on), recipe.with_changes({"calibrate": on}), **options)
        for on in (False, True)
    )
    temperature = scaled.record["temperature"]
    assert "temperature" not in plain.record and abs(temperature - 1) > 0.02
    one, other = (run.load_model().get_layer("logits").get_weights() for run in (plain, scaled))
    for weight, divided in zip(one, other, strict=True):
        np.testing.assert_allclose(divided, weight / temperature, rtol=1e-4, atol=1e-6)
    losses = [run.record["validation"]["loss"] for run in (plain, scaled)]
    assert losses[1] < losses[0]


@pytest.mark.parametrize("several", [False, True])
def test_where_all_images_are_right_there_is_nothing_to_fit(
    several: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten times as sure, which has the least loss here, would be no calibration."""
    monkeypatch.setattr("keras_inception.training.train.build", one_convolution)
    monkeypatch.setattr("keras_inception.evaluation.evaluate_model.predict_rows", knowing)
    said: list[str] = []
    recipe = RECIPE.with_changes({"calibrate": True, "epochs": 1})
    run = train(data(2, several), tmp_path / "run", recipe, check_images="none", log=said.append)
    assert run.record["temperature"] == 1.0
    assert sum("all 8 validation images are right" in line for line in said) == 1
    with np.load(run.path / "checkpoints" / "best.npz") as arrays:
        kept = run.load_model().get_layer("logits").get_weights()
        for weight in kept:
            assert any(np.array_equal(weight, arrays[name]) for name in arrays.files)


def test_of_the_highest_temperature_it_is_said_that_no_higher_one_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keras_inception.training.train.build", one_convolution)
    monkeypatch.setattr("keras_inception.evaluation.evaluate_model.predict_rows", sure)
    said: list[str] = []
    recipe = RECIPE.with_changes({"calibrate": True, "epochs": 1})
    train(data(2, False), tmp_path / "run", recipe, check_images="none", log=said.append)
    (line,) = (line for line in said if line.startswith("Temperature"))
    assert line.startswith("Temperature 10,") and "No higher one is tried" in line


def sure(model: object, inputs: np.ndarray, rows: int) -> np.ndarray:
    """The logits of one that always says the first class."""
    return np.tile(np.float32([500, -500]), (len(inputs), 1))


def knowing(model: object, inputs: np.ndarray, rows: int) -> np.ndarray:
    """The logits of one that knows the dark channel from the bright one."""
    channels = inputs.mean(axis=(1, 2))[:, :2]
    return np.sign(channels - channels.mean(axis=1, keepdims=True))
