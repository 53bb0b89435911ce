"""Images of rare classes repeated."""

import numpy as np
import pytest

from keras_inception.data.examples import Examples
from keras_inception.data.images import Pixels
from keras_inception.data.preparation.oversampling import oversample


def examples(targets: np.ndarray) -> Examples:
    labels = tuple("abc"[: int(targets.max()) + 1 if targets.ndim == 1 else targets.shape[1]])
    return Examples(labels, Pixels.of(np.zeros((len(targets), 2, 2, 3), np.uint8)), targets)


@pytest.mark.parametrize(("power", "expected"), [(1.0, [90, 90, 90]), (0.5, [90, 47, 21])])
def test_classes_come_as_often_as_asked(power: float, expected: list[int]) -> None:
    """sqrt(90 * 25) is 47.4, sqrt(90 * 5) 21.2; every image is there, the others by chance."""
    given = examples(np.repeat([0, 1, 2], [90, 25, 5]))
    found = oversample(given, power, seed=3)
    assert found.counts() == pytest.approx(expected, abs=1)
    times = np.bincount(found.images.indices, minlength=120)
    assert times.min() == 1
    for target in (0, 1, 2):
        of_class = times[given.targets == target]
        assert of_class.max() - of_class.min() <= 1
    again, other = (oversample(given, power, seed=seed) for seed in (3, 4))
    assert again.targets.tolist() == found.targets.tolist()
    drawn = [each.images.indices.tolist() for each in (found, again, other)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_of_several_classes_the_rarest_decides() -> None:
    targets = np.zeros((20, 2), bool)
    targets[:18, 0] = True
    targets[16:19, 1] = True  # two of both, one of the rare alone, one of neither
    found = oversample(examples(targets), 1.0)
    times = np.bincount(found.images.indices, minlength=20)
    assert times.tolist() == [1] * 16 + [6, 6, 6, 1]


def test_without_power_they_are_as_they_were() -> None:
    given = examples(np.repeat([0, 1], [7, 2]))
    assert oversample(given, 0.0).targets.tolist() == given.targets.tolist()
