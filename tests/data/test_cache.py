"""Decoded images kept in memory: the same batches, decoded once."""

import io
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_inception.data import cache
from keras_inception.data.augmentation.settings import Augmentation
from keras_inception.data.examples import Examples
from keras_inception.data.images import Pixels
from keras_inception.data.pipeline import evaluation_batches, training_batches
from keras_inception.data.preprocessing import Preprocessing

HOW = Preprocessing(24)
VARY = Augmentation(crop_area=0.3, flip=True)


class Counted:
    """Encoded images that count how often each is read."""

    decoded = False

    def __init__(self, files: list[bytes]) -> None:
        self.files = files
        self.reads: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self.files)

    def encoded(self, index: int) -> bytes:
        return self.files[index]

    def reader(self):
        def read(index: np.ndarray) -> bytes:
            self.reads[int(index)] += 1
            return self.files[int(index)]

        def graph(index: tf.Tensor) -> tf.Tensor:
            return tf.ensure_shape(tf.numpy_function(read, [index], tf.string), [])

        return graph


SIZES = [(30, 40), (47, 60), (40, 47), (90, 120), (200, 100), (48, 48)]  # of height and width


def made(kind: str = "JPEG") -> Examples:
    random = np.random.default_rng(0)
    files = []
    for height, width in SIZES * 2:
        file = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8)).save(file, kind)
        files.append(file.getvalue())
    return Examples(("a", "b"), Counted(files), np.arange(len(files)) % 2)


def stream(examples: Examples, megabytes: int | None, augmentation=VARY, epochs: int = 5):
    return [
        images.numpy()
        for images, _ in training_batches(
            examples, HOW, augmentation, batch_size=4, epochs=epochs, cache_megabytes=megabytes
        )
    ]


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("augmentation", [VARY, Augmentation()], ids=["crops", "centre"])
def test_the_batches_are_the_same_and_small_images_are_read_once(kind: str, augmentation) -> None:
    without, with_cache = made(kind), made(kind)
    expected, found = stream(without, 0, augmentation), stream(with_cache, 10, augmentation)
    np.testing.assert_array_equal(expected, found)
    assert set(without.images.reads.values()) == {5}
    large = (
        kind == "JPEG" and augmentation is VARY
    )  # decoded at a fraction of their size, each time
    for number, (height, width) in enumerate(SIZES * 2):
        again = large and min(height, width) >= 48
        # Twice where the next epoch asks for an image that is still being decoded for this one.
        assert with_cache.images.reads[number] in ({5} if again else {1, 2})


def test_what_does_not_fit_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    examples = made()
    kept = 3 * 2 * sum(height * width for height, width in SIZES if min(height, width) < 48)
    assert cache.decoded_bytes(examples.images, 48) == kept
    monkeypatch.setattr(cache, "_free_memory", lambda: 4 * kept - 4)
    stream(examples, None)
    assert set(examples.images.reads.values()) == {5}
    monkeypatch.setattr(cache, "_free_memory", lambda: 4 * kept)
    examples.images.reads.clear()
    stream(examples, None)
    assert max(examples.images.reads.values()) == 5
    assert min(examples.images.reads.values()) <= 2


def test_the_default_is_a_quarter_of_the_free_memory_and_at_most_2_gb(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert cache._free_memory() > 0
    monkeypatch.setattr(cache, "_free_memory", lambda: 4_000_000)
    assert cache.cache_limit(None) == 1_000_000
    monkeypatch.setattr(cache, "_free_memory", lambda: 64_000_000_000)
    assert cache.cache_limit(None) == 2_000_000_000
    assert cache.cache_limit(7) == 7_000_000
    assert cache.cache_limit(0) == 0


def test_the_size_of_many_images_is_told_by_few() -> None:
    class Many(Counted):
        def __len__(self) -> int:
            return 1_000_000

        def encoded(self, index: int) -> bytes:
            self.reads[index] += 1
            return self.files[index % len(self.files)]

    images = Many([made("PNG").images.files[0], b"broken"])
    estimate = cache.decoded_bytes(images, None)
    assert len(images.reads) <= 50
    assert 0 < estimate <= 1_000_000 * 3 * 30 * 40


def test_pixels_are_in_memory_already() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 30, 30, 3), np.uint8)
    examples = Examples(("a", "b"), Pixels.of(pixels), np.arange(8) % 2)
    np.testing.assert_array_equal(stream(examples, 0), stream(examples, None))


def test_evaluation_batches_are_made_once_if_asked_for() -> None:
    plain, kept = made(), made()
    batches = [
        evaluation_batches(plain, HOW, 5),
        evaluation_batches(kept, HOW, 5, cache_megabytes=1),
    ]
    for _ in range(2):
        for (one, targets), (other, same) in zip(*batches, strict=True):
            np.testing.assert_array_equal(one, other)
            np.testing.assert_array_equal(targets, same)
    assert set(plain.images.reads.values()) == {2}
    assert set(kept.images.reads.values()) == {1}
    small = made()
    batches = evaluation_batches(small, Preprocessing(299), 5, cache_megabytes=1)
    for _ in range(2):
        list(batches)
    assert set(small.images.reads.values()) == {2}
