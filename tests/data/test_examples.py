"""Images by number."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_inception.data.errors import DataError
from keras_inception.data.examples import Examples
from keras_inception.data.images import Files, Names, Pixels


def test_names_are_found_in_any_order() -> None:
    """Across the blocks they are kept in, with and without bytes that are no text."""
    random = np.random.default_rng(0)
    expected = [bytes(random.integers(1, 256, random.integers(0, 40))) for _ in range(1000)]
    names = Names(iter(expected))
    assert len(names) == 1000
    order = [0, 63, 64, 65, 127, 128, 999, *random.permutation(1000).tolist()]
    assert [names[number] for number in order] == [expected[number] for number in order]
    read = tf.data.Dataset.from_tensor_slices(np.array(order, np.int32)).map(names.look_up)
    assert list(read.as_numpy_iterator()) == [expected[number] for number in order]
    assert len(Names([])) == 0


def test_threads_read_names_side_by_side() -> None:
    names = Names(b"%06d" % number for number in range(2000))
    order = np.random.default_rng(0).permutation(2000).tolist()
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            assert list(pool.map(names.__getitem__, order)) == [b"%06d" % each for each in order]


def test_a_name_costs_little_more_than_its_letters() -> None:
    names = Names(b"n01440764/n01440764_%05d.JPEG" % number for number in range(10_000))
    kept = sum(map(len, names.blocks.numpy())) + 24 * len(names.blocks) + names.ends.nbytes
    assert kept / 10_000 < 30 + 5


def test_examples_are_taken_with_all_that_is_theirs(tmp_path: Path) -> None:
    files = Files.of(tmp_path, ["a", "b", "c"])
    examples = Examples(("x", "y"), files, np.array([0, 1, 1]), np.array([5, 6, 7]), ("test",))
    taken = examples.take(np.array([2, 0])).take(np.array([0]))
    assert taken.images.name(0) == str(tmp_path / "c")
    assert (taken.targets.tolist(), taken.groups.tolist(), taken.splits) == ([1], [7], ("test",))


def test_classes_of_a_model_are_matched_by_name() -> None:
    files = Files.of("", ["a", "b"])
    several = Examples(("x", "y"), files, np.array([[True, False], [True, True]]))
    moved = several.with_labels(("z", "y", "x"))
    assert moved.targets.tolist() == [[False, False, True], [False, True, True]]
    with pytest.raises(DataError, match="does not know: x"):
        several.with_labels(("y", "z"))


def test_pixels_of_three_channels_are_seen_as_they_are() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 4, 3), np.uint8)
    images = Pixels.of(pixels).take(np.array([2, 1]))
    np.testing.assert_array_equal(images.reader()(np.int64(0)), pixels[2])
    np.testing.assert_array_equal(tf.io.decode_png(images.encoded(1)), pixels[1])
    np.testing.assert_array_equal(images.pixels, pixels)
