"""Arrays in Python, .npz files and IDX files."""

import gzip
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits

from keras_inception.data.errors import DataError
from keras_inception.data.preprocessing import decode
from keras_inception.data.sources import open_source

FASHION = Path("/usr/share/datasets/fashion-mnist")  # of Debian's dataset-fashion-mnist


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """uint8 [1797, 8, 8] and int64 [1797]."""
    found = load_digits()
    return (found.images * 255 / 16).astype(np.uint8), found.target


def write_idx(path: Path, array: np.ndarray) -> None:
    header = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    content = header + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def test_grey_arrays_are_seen_as_rgb_and_encoded_as_they_are(digits) -> None:
    images, labels = digits
    examples = open_source((images, labels))
    assert examples.labels == tuple("0123456789")
    assert examples.targets.tolist() == labels.tolist()
    taken = examples.take(np.array([7, 3]))
    seen = taken.images.reader()(np.int64(1)).numpy()
    np.testing.assert_array_equal(seen, np.repeat(images[3][..., None], 3, axis=2))
    png = tf.io.decode_png(taken.images.encoded(1)).numpy()
    np.testing.assert_array_equal(png[..., 0], images[3])
    assert taken.images.name(1) == "image 3"


def test_labels_come_in_many_forms(digits) -> None:
    images = digits[0][:4]
    assert open_source((images, [[0], [1], [1], [0]])).targets.tolist() == [0, 1, 1, 0]
    words = open_source((images, np.array(["dog", "cat", "dog", "dog"])))
    assert words.labels == ("cat", "dog") and words.targets.tolist() == [1, 0, 1, 1]
    one_hot = open_source((images, np.eye(2)[[0, 1, 1, 0]]))
    assert one_hot.targets.tolist() == [0, 1, 1, 0]
    several = open_source((images, np.array([[0, 1], [1, 1], [0, 0], [0, 1]])))
    assert several.multi_label and several.counts().tolist() == [1, 3]
    assert open_source((images, np.eye(2, dtype=bool)[[0, 1, 1, 0]])).multi_label
    named = open_source((images, np.array([0, 1, 1, 0])), ("cat", "dog", "cow"))
    assert named.labels == ("cat", "dog", "cow")


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [(np.zeros((2, 8, 8)), [0, 1], "uint8.*float64 of shape"),
     (np.zeros((2, 8, 8, 4), np.uint8), [0, 1], r"\[2, 8, 8, 4\]"),
     (np.zeros((2, 8, 8), np.uint8), [0, 1, 1], "a label for each of the 2 images"),
     (np.zeros((2, 8, 8), np.uint8), [0.5, 1], "whole numbers from 0"),
     (np.zeros((2, 8, 8), np.uint8), [np.nan, 1], "whole numbers from 0"),
     (np.zeros((2, 8, 8), np.uint8), [-1, 1], "whole numbers from 0"),
     (np.zeros((2, 8, 8), np.uint8), [0, 2], "without any: 1"),
     (np.zeros((2, 8, 8), np.uint8), [[1, 2], [0, 1]], "0 and 1 only"),
     (np.zeros((0, 8, 8), np.uint8), [], "no images")],
)  # fmt: skip
def test_arrays_that_do_not_fit_are_refused(images, labels, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_source((images, labels))


def test_npz_files_may_have_parts_and_names(digits, tmp_path: Path) -> None:
    images, labels = digits
    np.savez(tmp_path / "plain.npz", x=images, y=labels)
    assert len(open_source(tmp_path / "plain.npz")) == 1797
    np.savez(
        tmp_path / "splits.npz",
        x_train=images[:1000],
        y_train=labels[:1000],
        x_test=images[1000:],
        y_test=labels[1000:],
        labels=[f"digit {number}" for number in range(10)],
    )
    train = open_source(tmp_path / "splits.npz")
    assert (len(train), train.splits, train.labels[3]) == (1000, ("test",), "digit 3")
    test = open_source(tmp_path / "splits.npz" / "test", train.labels)
    assert test.targets.tolist() == labels[1000:].tolist()


def test_npz_files_without_the_arrays_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(DataError, match=r"must hold the arrays x and y.*holds: a"):
        open_source(tmp_path / "other.npz")
    np.savez(tmp_path / "objects.npz", x=np.array([{}]), y=np.array([0]))
    with pytest.raises(DataError, match="can't be read as arrays of numbers"):
        open_source(tmp_path / "objects.npz")
    (tmp_path / "text.npz").write_text("I am text.")
    with pytest.raises(DataError, match=r"text\.npz"):
        open_source(tmp_path / "text.npz")


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_idx_files_find_their_labels(digits, tmp_path: Path, ending: str) -> None:
    images, labels = digits
    path = tmp_path / f"train-images-idx3-ubyte{ending}"
    write_idx(path, images)
    with pytest.raises(DataError, match="train-labels-idx1-ubyte"):
        open_source(path)
    write_idx(tmp_path / "train-labels-idx1-ubyte", labels.astype(np.uint8))
    examples = open_source(path)
    assert examples.counts().tolist() == np.bincount(labels).tolist()
    np.testing.assert_array_equal(examples.images.reader()(np.int64(5))[..., 0], images[5])
    (tmp_path / "labels.txt").write_text("".join(f"digit {number}\n" for number in range(10)))
    assert open_source(path).labels[4] == "digit 4"


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "it is empty"), (b"<html>", "it is an HTML page"),
     (b"version https://git-lfs.github.com/spec/v1\n", "it is a pointer of Git LFS, .*lfs pull"),
     (b"\x93NUMPY\1\0", "it is no ZIP archive, as such a file is"),
     (b"\xff\xd8\xff\xe0", "it is no ZIP archive")],
)  # fmt: skip
def test_what_is_no_npz_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.npz is no \.npz file that can be read: .*{message}"):
        open_source(tmp_path / "a.npz")


def test_damaged_idx_files_are_refused(digits, tmp_path: Path) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    write_idx(path, digits[0])
    write_idx(tmp_path / "train-labels-idx1-ubyte", digits[1].astype(np.uint8))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="damaged: it has 114924 bytes, and by its header 115024"):
        open_source(path)
    compressed = Path(f"{path}.gz")
    write_idx(compressed, digits[0])
    compressed.write_bytes(compressed.read_bytes()[:-1000])
    with pytest.raises(DataError, match=r"ubyte\.gz is damaged"):
        open_source(compressed)


@pytest.mark.skipif(not FASHION.is_dir(), reason="needs Debian's dataset-fashion-mnist")
def test_fashion_mnist_as_debian_has_it(tmp_path: Path) -> None:
    train = open_source(FASHION / "train-images-idx3-ubyte.gz")
    assert train.counts().tolist() == [6000] * 10
    test = open_source(FASHION / "t10k-images-idx3-ubyte.gz", train.labels)
    assert len(test) == 10000
    shutil.copy(FASHION / "t10k-images-idx3-ubyte.gz", tmp_path / "t10k-images.idx3-ubyte.gz")
    shutil.copy(FASHION / "t10k-labels-idx1-ubyte.gz", tmp_path / "t10k-labels.idx1-ubyte.gz")
    other = open_source(tmp_path / "t10k-images.idx3-ubyte.gz")
    assert other.targets.tolist() == test.targets.tolist()


def test_sixteen_bits_are_scaled_as_in_a_png_and_not_clipped() -> None:
    pixels = np.arange(0, 65536, 16, np.uint16).reshape(1, 64, 64).repeat(2, axis=0)
    images = open_source((pixels, [0, 1])).images
    png = tf.io.encode_png(pixels[0, ..., np.newaxis]).numpy()
    np.testing.assert_array_equal(images.reader()(np.int64(0)), decode(png))
    with pytest.raises(DataError, match="at most 200, which would be black; make them uint8"):
        open_source((np.full((2, 8, 8), 200, np.uint16), [0, 1]))
