"""Batches as a function of the seed and the position."""

from pathlib import Path

import numpy as np
import pytest

from keras_inception.data.augment import Augmentation
from keras_inception.data.pipeline import evaluation_batches, training_batches
from keras_inception.data.preprocessing import Preprocessing, decode, preprocess
from keras_inception.data.sources import read_folder

HOW = Preprocessing(size=24)
VARY = Augmentation(crop_area=0.3, flip=True)


@pytest.fixture(scope="module")
def examples(photos: Path):
    return read_folder(photos)


def batches(examples, **options) -> list[tuple[np.ndarray, np.ndarray]]:
    settings = {"batch_size": 8, "epochs": 3, "seed": 1} | options
    stream = training_batches(examples, HOW, settings.pop("vary", VARY), **settings)
    return [(images.numpy(), targets.numpy()) for images, targets in stream]


def test_every_epoch_has_every_example_once_in_another_order(examples) -> None:
    plain = batches(examples, vary=Augmentation())
    epochs = [np.concatenate([images for images, _ in plain[at : at + 5]]) for at in (0, 5, 10)]
    expected = np.concatenate([images for images, _ in evaluation_batches(examples, HOW, 8)])

    def sums(images: np.ndarray) -> np.ndarray:
        return images.sum(axis=(1, 2, 3))

    for images in epochs:
        np.testing.assert_allclose(np.sort(sums(images)), np.sort(sums(expected)), rtol=1e-5)
    assert not np.allclose(sums(epochs[0]), sums(epochs[1]))


def test_the_stream_is_a_function_of_seed_and_position(examples) -> None:
    whole, again, other = batches(examples), batches(examples), batches(examples, seed=2)
    resumed = batches(examples, first_epoch=2)
    assert len(whole) == 15
    for (images, targets), (images_again, targets_again) in zip(whole, again, strict=True):
        np.testing.assert_array_equal(images, images_again)
        np.testing.assert_array_equal(targets, targets_again)
    for (images, _), (resumed_images, _) in zip(whole[10:], resumed, strict=True):
        np.testing.assert_array_equal(images, resumed_images)
    assert not np.array_equal(whole[0][0], other[0][0])


def test_no_epoch_is_nearly_in_order() -> None:
    """A shuffle that fails for some epochs shows as batches of one class, and training as jumps."""
    from keras_inception.data import pipeline

    count = 1000
    correlations = []
    for epoch in range(100):
        order = pipeline.shuffled(count, seed=0, epoch=epoch).numpy()
        assert sorted(order) == list(range(count))
        correlations.append(abs(np.corrcoef(order, np.arange(count))[0, 1]))
    assert max(correlations) < 0.15  # 4.7 standard deviations of a random order


def test_images_left_over_are_others_each_epoch(examples) -> None:
    stream = batches(examples, batch_size=12)
    assert len(stream) == 9
    assert {len(images) for images, _ in stream} == {12}


def test_random_crops_stay_inside_the_image_and_flips_happen(examples) -> None:
    images = np.concatenate([images for images, _ in batches(examples, epochs=4)])
    assert images.shape[1:] == (24, 24, 3)
    assert images.min() >= -1 and images.max() <= 1
    flips = batches(examples, vary=Augmentation(flip=True), epochs=1)
    plain = batches(examples, vary=Augmentation(), epochs=1)
    flipped = np.concatenate([images for images, _ in flips])
    straight = np.concatenate([images for images, _ in plain])
    mirrored = [np.array_equal(a, b[:, ::-1]) for a, b in zip(flipped, straight, strict=True)]
    same = [np.array_equal(a, b) for a, b in zip(flipped, straight, strict=True)]
    assert sum(mirrored) + sum(same) == 40
    assert 8 <= sum(mirrored) <= 32


def test_evaluation_sees_what_serving_sees(examples) -> None:
    (images, targets) = next(iter(evaluation_batches(examples, HOW, 40)))
    for index, image in enumerate(images.numpy()):
        served = preprocess(decode(examples.images.encoded(index))[np.newaxis], HOW)
        np.testing.assert_array_equal(image, served.numpy()[0])
    assert targets.numpy().argmax(axis=1).tolist() == examples.targets.tolist()
