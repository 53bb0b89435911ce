"""Equal parts, of which every image is in one."""

import numpy as np
import pytest

from keras_inception.data.examples import Examples
from keras_inception.data.images import Pixels
from keras_inception.data.preparation.folds import split_fold


def examples(targets: np.ndarray, groups: np.ndarray | None = None) -> Examples:
    pixels = Pixels.of(np.zeros((len(targets), 2, 2, 3), np.uint8))
    return Examples(("a", "b", "c"), pixels, targets, groups)


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_every_image_is_in_one_part_and_classes_are_even(folds: int) -> None:
    given = examples(np.repeat([0, 1, 2], [61, 20, 7]))
    parts = [split_fold(given, fold, folds, seed=4) for fold in range(1, folds + 1)]
    everything = np.concatenate([apart for _, apart in parts])
    assert sorted(everything.tolist()) == list(range(88))
    for left, apart in parts:
        assert sorted([*left, *apart]) == list(range(88))
        counts = given.take(apart).counts()
        assert (np.abs(counts - np.array([61, 20, 7]) / folds) <= 1).all(), counts
    again, other = (split_fold(given, 1, folds, seed=seed)[1] for seed in (4, 5))
    assert again.tolist() == parts[0][1].tolist() != other.tolist()


def test_groups_stay_in_one_part() -> None:
    random = np.random.default_rng(0)
    groups = random.integers(0, 30, 200)
    given = examples(random.integers(0, 3, 200), groups)
    parts = [split_fold(given, fold, 4, seed=0)[1] for fold in range(1, 5)]
    assert sorted(np.concatenate(parts).tolist()) == list(range(200))
    of_groups = [set(groups[part].tolist()) for part in parts]
    assert sum(map(len, of_groups)) == len(set(groups.tolist()))
    assert all(30 < len(part) < 70 for part in parts)
    # Copies of images, which are found only when they are looked at.
    copies = np.arange(200) // 2
    parts = [
        split_fold(examples(given.targets), fold, 4, 0, keep_together=copies)[1]
        for fold in range(1, 5)
    ]
    assert all((np.diff(part.reshape(-1, 2)) == 1).all() for part in parts)
