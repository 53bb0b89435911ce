"""Two images made into one, and their targets with them."""

import numpy as np
import pytest
import tensorflow as tf

from keras_inception.data.augmentation.mixing import _beta, mixing
from keras_inception.data.augmentation.settings import Augmentation

SEED = tf.constant([1, 5], tf.int64)
TARGETS = np.eye(4, dtype=np.float32)[[0, 1, 2, 3, 0, 1]]


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Each of one value of its own, so that pixels say what they are of."""
    return np.broadcast_to(np.arange(6.0)[:, None, None, None], (6, 20, 20, 3)).astype(np.float32)


def mixed(images: np.ndarray, *others: np.ndarray, seed=SEED, **settings) -> list[np.ndarray]:
    mix = tf.function(mixing(Augmentation(**settings)))
    return [each.numpy() for each in mix(seed, (images, *others))]


def test_nothing_is_mixed_unless_asked_for() -> None:
    assert mixing(Augmentation()) is None


def test_mixup_blends_images_and_targets_by_the_same_share(images: np.ndarray) -> None:
    blended, targets = mixed(images, TARGETS, mixup_alpha=1.0)
    np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-6)
    assert blended.shape == images.shape and blended.dtype == np.float32
    # With a target for each image the partner and its share can be read off.
    blended, shares = mixed(images, np.eye(6, dtype=np.float32), mixup_alpha=1.0)
    np.testing.assert_allclose(blended[:, 0, 0, 0], shares @ np.arange(6.0), rtol=1e-5)
    assert ((shares > 0).sum(axis=1) <= 2).all()
    assert ((shares > 0.05).sum(axis=1) == 2).any()


def test_cutmix_sets_in_a_rectangle_of_the_share_it_tells(images: np.ndarray) -> None:
    seen = []
    mix = tf.function(mixing(Augmentation(cutmix_alpha=1.0)))
    for step in range(8):
        batch = mix(tf.constant([2, step], tf.int64), (images, tf.eye(6)))
        cut, shares = (each.numpy() for each in batch)
        np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
        for number in range(6):
            foreign = cut[number, ..., 0] != number
            share = 1 - shares[number, number]
            if share < 1 and foreign.any():  # with itself as its partner it is none
                assert foreign.mean() == pytest.approx(share, abs=1e-6)
            rows, columns = foreign.any(axis=1), foreign.any(axis=0)
            assert foreign[np.ix_(rows, columns)].all()
            seen.append(share)
    assert min(seen) < 0.2 and max(seen) > 0.5


def test_a_small_alpha_mixes_less(images: np.ndarray) -> None:
    def mixture(**alpha: float) -> float:
        mix = tf.function(mixing(Augmentation(**alpha)))
        shares = [
            mix(tf.constant([3, step], tf.int64), (images, tf.eye(6)))[1].numpy()
            for step in range(10)
        ]
        return float(np.mean([np.minimum(1 - each, each).max(axis=1).mean() for each in shares]))

    assert mixture(mixup_alpha=0.1) < mixture(mixup_alpha=1.0)
    assert mixture(cutmix_alpha=0.1) < mixture(cutmix_alpha=1.0)


def test_the_seed_alone_decides(images: np.ndarray) -> None:
    one, again, other = (
        mixed(images, TARGETS, seed=tf.constant([1, step], tf.int64), mixup_alpha=0.5)
        for step in (5, 5, 6)
    )
    np.testing.assert_array_equal(one[0], again[0])
    assert not np.array_equal(one[0], other[0])


def test_both_kinds_come_by_turns(images: np.ndarray) -> None:
    mix = tf.function(mixing(Augmentation(mixup_alpha=1.0, cutmix_alpha=1.0)))
    blends = 0
    for step in range(24):
        result = mix(tf.constant([1, step], tf.int64), (images, TARGETS))[0].numpy()
        blends += bool((result % 1 != 0).any())  # CutMix keeps every pixel of one or the other
    assert 6 <= blends <= 18


def test_weights_make_the_loss_that_of_both_images(images: np.ndarray) -> None:
    """The loss of a mixed image is each part's own, times its share and its weight."""
    weights = np.array([1, 2, 0.5, 1, 3, 1], np.float32)
    each = np.eye(6, dtype=np.float32)
    shares = mixed(images, each, mixup_alpha=1.0)[1]
    _, targets, mixed_weights = mixed(images, TARGETS, weights, mixup_alpha=1.0)
    losses = np.array([0.3, 1.1, 2.0, 0.7], np.float32)  # -log(p) of the classes
    expected = shares @ (weights * (TARGETS @ losses))
    np.testing.assert_allclose(mixed_weights * (targets @ losses), expected, rtol=1e-5)
    np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-5)


def test_a_blank_has_no_share_in_a_target(images: np.ndarray) -> None:
    weights = np.array([1, 1, 1, 0, 1, 1], np.float32)  # the only one of class 3
    _, targets, mixed_weights = mixed(images, TARGETS, weights, mixup_alpha=1.0)
    counted = mixed_weights > 0
    assert counted.sum() >= 5
    np.testing.assert_array_equal(targets[counted, 3], 0)
    np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-5)


def test_several_classes_an_image(images: np.ndarray) -> None:
    several = np.array([[1, 1], [0, 0], [1, 0], [0, 1], [1, 1], [0, 0]], np.float32)
    shares = mixed(images, np.eye(6, dtype=np.float32), mixup_alpha=1.0)[1]
    np.testing.assert_allclose(
        mixed(images, several, mixup_alpha=1.0)[1], shares @ several, rtol=1e-5
    )


def test_shares_are_right_at_any_alpha() -> None:
    """At 0.01 nearly all are 0 or 1; in float32, 18 % of Keras's were exactly 0.5."""
    for alpha in (1e-3, 0.01, 0.05, 0.2, 1.0):
        draw = tf.function(lambda seed, alpha=alpha: _beta(alpha, 4000, seed))
        shares = draw(tf.constant([3, 4])).numpy()
        assert np.isfinite(shares).all() and (shares >= 0).all() and (shares <= 1).all()
        assert shares.mean() == pytest.approx(0.5, abs=0.03)
        # Of beta(a, a): 1 / (4 (2 a + 1)).
        assert shares.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.05)
        assert (shares == 0.5).mean() < 0.001
