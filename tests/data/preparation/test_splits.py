"""What is set apart."""

import numpy as np
import pytest

from keras_inception.data.examples import Examples
from keras_inception.data.images import Files, Pixels
from keras_inception.data.preparation.splits import joined, split


def made(*counts: int, groups: np.ndarray | None = None) -> Examples:
    targets = np.repeat(np.arange(len(counts)), counts)
    files = Files.of("", [f"{index}.png" for index in range(len(targets))])
    return Examples(tuple("abcdefgh"[: len(counts)]), files, targets, groups)


def test_it_takes_the_same_share_of_each_class_every_time() -> None:
    examples = made(50, 100, 10)
    larger, apart = split(examples, 0.2, seed=3)
    assert examples.take(apart).counts().tolist() == [10, 20, 2]
    assert sorted([*larger, *apart]) == list(range(160))
    assert split(examples, 0.2, seed=3)[1].tolist() == apart.tolist()
    assert split(examples, 0.2, seed=4)[1].tolist() != apart.tolist()


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.99])
def test_it_leaves_something_on_both_sides(fraction: float) -> None:
    examples = made(2, 3, 1)
    larger, apart = split(examples, fraction, seed=0)
    assert (examples.take(apart).counts() >= [1, 1, 0]).all()
    assert (examples.take(larger).counts() >= 1).all()


def test_of_nothing_it_is_empty() -> None:
    larger, apart = split(made(5, 5), 0.0, seed=0)
    assert (len(larger), len(apart)) == (10, 0)


def test_no_group_is_on_both_sides() -> None:
    random = np.random.default_rng(0)
    groups = random.integers(0, 60, 600)
    examples = made(300, 200, 100, groups=groups)
    larger, apart = split(examples, 0.2, seed=1)
    assert not set(groups[larger]) & set(groups[apart])
    shares = examples.take(apart).counts() / [300, 200, 100]
    np.testing.assert_allclose(shares, 0.2, atol=0.05)
    assert split(examples, 0.2, seed=1)[1].tolist() == apart.tolist()
    assert split(examples, 0.2, seed=2)[1].tolist() != apart.tolist()


def test_a_class_in_one_group_stays_to_be_learned() -> None:
    groups = np.array([0] * 10 + [1] * 5 + [2] * 5)
    examples = made(10, 10, groups=groups)
    for fraction in (0.1, 0.5, 0.9):
        larger, apart = split(examples, fraction, seed=0)
        assert examples.take(larger).counts().min() > 0
        assert examples.take(apart).counts().tolist() == [0, 5]


def test_a_rare_class_is_on_both_sides_where_its_groups_allow_it() -> None:
    groups = np.concatenate([np.arange(100) // 2, [1000, 1000, 1000, 1001, 1001]])
    examples = made(100, 5, groups=groups)
    for seed in range(5):
        larger, apart = split(examples, 0.1, seed)
        assert examples.take(larger).counts()[1] > 0
        assert examples.take(apart).counts()[1] in (2, 3)


def test_several_classes_are_shared_out_alike() -> None:
    random = np.random.default_rng(0)
    targets = random.random((1000, 5)) < [0.5, 0.3, 0.1, 0.02, 0.3]
    examples = Examples(tuple("abcde"), Files.of("", ["x"] * 1000), targets)
    larger, apart = split(examples, 0.2, seed=0)
    shares = examples.take(apart).counts() / examples.counts()
    np.testing.assert_allclose(shares, 0.2, atol=0.03)
    assert abs(len(apart) - 200) < 10
    none = ~targets.any(axis=1)
    assert none[apart].mean() == pytest.approx(none.mean(), abs=0.05)
    assert sorted([*larger, *apart]) == list(range(1000))


def test_joined_groups_hold_what_either_holds() -> None:
    groups = np.array([7, 7, 3, 3, 9, 5])
    same = np.array([0, 1, 1, 2, 2, 5])
    together = joined(groups, same)
    assert len(set(together[:5])) == 1
    assert together[5] not in together[:5]
    assert joined(None, same) is same


def test_whole_groups_come_near_to_the_share_of_every_class() -> None:
    """60 groups of mixed classes, 10 % wanted: one by one, up to 15 % of a class was taken."""
    worst = {True: 0.0, False: 0.0}
    for seed in range(8):
        random = np.random.default_rng(seed)
        sizes = random.integers(5, 60, 60)
        groups = np.repeat(np.arange(60), sizes)
        mixtures = random.dirichlet(np.full(4, 0.7), 60)
        targets = np.concatenate(
            [
                random.choice(4, size, p=mixture)
                for size, mixture in zip(sizes, mixtures, strict=True)
            ]
        )
        images = Pixels.of(np.zeros((len(groups), 1, 1, 3), np.uint8))
        examples = Examples(tuple("abcd"), images, targets)
        for exchange in worst:
            left, apart = split(examples, 0.1, seed, groups, exchange=exchange)
            assert not set(groups[left]) & set(groups[apart])
            shares = np.bincount(targets[apart], minlength=4) / np.bincount(targets)
            worst[exchange] = max(worst[exchange], float(np.abs(shares - 0.1).max()))
    assert worst[True] < 0.02 < worst[False]
