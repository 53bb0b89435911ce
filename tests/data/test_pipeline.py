"""Batches as a function of the seed and the position."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_inception.data.augmentation.settings import Augmentation
from keras_inception.data.pipeline import (
    evaluation_batches,
    training_batches,
    with_auxiliary_targets,
)
from keras_inception.data.preprocessing import Preprocessing, decode, preprocess
from keras_inception.data.sources.folder import read_folder

HOW = Preprocessing(size=24)
VARY = Augmentation(crop_area=0.3, flip=True)


@pytest.fixture(scope="module")
def examples(photos: Path):
    return read_folder(photos)


def batches(examples, **options) -> list[tuple[np.ndarray, np.ndarray]]:
    settings = {"batch_size": 8, "epochs": 3, "seed": 1, "cache_megabytes": 0} | options
    stream = training_batches(examples, HOW, settings.pop("augmentation", VARY), **settings)
    return [(images.numpy(), targets.numpy()) for images, targets in stream]


def test_every_epoch_has_every_example_once_in_another_order(examples) -> None:
    plain = batches(examples, augmentation=Augmentation())
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
    flips = batches(examples, augmentation=Augmentation(flip=True), epochs=1)
    plain = batches(examples, augmentation=Augmentation(), epochs=1)
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


EVERYTHING = Augmentation(
    crop_area=0.3,
    any_resize=True,
    flip=True,
    shift_pixels=2,
    brightness=0.1,
    saturation=0.5,
    contrast=0.5,
    hue=0.2,
    rand_operations=1,
    erase=0.5,
    mixup_alpha=0.4,
    cutmix_alpha=1.0,
)


def arrays(stream: tf.data.Dataset) -> list[list[np.ndarray]]:
    return [[each.numpy() for each in batch] for batch in stream]


def test_workers_and_resuming_change_nothing(examples, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kind of variation at once, with weights; resumed within an epoch, by one worker."""
    options = {"batch_size": 8, "epochs": 3, "seed": 3, "class_weights": np.array([1.0, 2.0])}
    whole = arrays(training_batches(examples, HOW, EVERYTHING, **options))
    monkeypatch.setattr(tf.data, "AUTOTUNE", 1)
    resumed = arrays(
        training_batches(examples, HOW, EVERYTHING, first_epoch=1, first_step=2, **options)
    )
    assert len(whole) == 15 and len(resumed) == 8
    for one, other in zip(whole[7:], resumed, strict=True):
        for array, same in zip(one, other, strict=True):
            np.testing.assert_array_equal(array, same)
    images, targets, weights = whole[0]
    assert images.shape == (8, 24, 24, 3) and images.dtype == np.float32
    assert np.abs(images).max() <= 1 + 1e-5
    np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-5)
    assert weights.shape == (8,) and weights.min() >= 1 and weights.max() <= 2


def test_weights_are_those_of_the_class(examples) -> None:
    stream = training_batches(
        examples, HOW, VARY, batch_size=8, epochs=1, class_weights=np.array([0.5, 3.0])
    )
    plain = batches(examples, epochs=1, seed=0)
    for (images, targets, weights), (same, _) in zip(arrays(stream), plain, strict=True):
        np.testing.assert_array_equal(images, same)
        np.testing.assert_allclose(weights, targets @ [0.5, 3.0])


def test_of_several_classes_the_weight_is_their_mean(examples) -> None:
    targets = np.array([[True, True], [True, False], [False, True], [False, False]])
    some = dataclasses.replace(examples.take(np.arange(4)), targets=targets)
    ((_, found, weights),) = arrays(
        training_batches(
            some,
            HOW,
            Augmentation(),
            batch_size=4,
            epochs=1,
            class_weights=np.array([0.5, 3.0]),
            cache_megabytes=0,
        )
    )
    expected = {(1, 1): 1.75, (1, 0): 0.5, (0, 1): 3.0, (0, 0): 1.0}
    for target, weight in zip(found, weights, strict=True):
        assert weight == expected[tuple(target)]


@pytest.fixture
def some_bad(photos: Path, tmp_path: Path):
    """The photos, two of them spoiled: number 3 cut short, number 30 no image at all."""
    folder = shutil.copytree(photos, tmp_path / "photos")
    examples = read_folder(folder)
    for number, content in ((5, examples.images.encoded(5)[:-200]), (30, b"not an image")):
        Path(examples.images.name(number)).write_bytes(content)
    return examples


@pytest.mark.parametrize("augmentation", [VARY, Augmentation()], ids=["crops", "centre"])
def test_a_bad_image_is_a_blank_of_no_weight_in_its_place(examples, some_bad, augmentation) -> None:
    bad: list[int] = []
    spoiled = arrays(
        training_batches(some_bad, HOW, augmentation, batch_size=8, epochs=2, on_bad=bad.append)
    )
    assert sorted(bad) == [5, 5, 30, 30]
    blanks = 0
    for (images, targets, weights), (good, same) in zip(
        spoiled, batches(examples, augmentation=augmentation, epochs=2, seed=0), strict=True
    ):
        np.testing.assert_array_equal(targets, same)
        np.testing.assert_array_equal(images[weights == 1], good[weights == 1])
        np.testing.assert_array_equal(images[weights == 0], 0)
        assert set(weights.tolist()) <= {0, 1}
        blanks += int((weights == 0).sum())
    assert blanks == 4


def test_a_bad_image_ends_the_stream_if_nobody_asks_for_it(some_bad) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError):
        arrays(training_batches(some_bad, HOW, VARY, batch_size=8, epochs=1))


def test_every_output_gets_targets_and_weights(examples) -> None:
    options = {"batch_size": 8, "epochs": 1, "cache_megabytes": 0}
    outputs = ["predictions", "aux"]
    pairs = with_auxiliary_targets(
        training_batches(examples, HOW, Augmentation(), **options), outputs
    )
    _, targets = next(iter(pairs))
    assert list(targets) == outputs
    weighted = training_batches(examples, HOW, VARY, class_weights=np.array([1.0, 2.0]), **options)
    _, targets, weights = next(iter(with_auxiliary_targets(weighted, outputs)))
    assert list(weights) == outputs
    for output in outputs:
        np.testing.assert_array_equal(targets[output], targets["aux"])
        np.testing.assert_array_equal(weights[output], weights["aux"])
