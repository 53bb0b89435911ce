"""TFRecord shards: ours, TF-Slim's, TFDS's, and damaged ones."""

import gzip
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_inception.data.errors import DataError
from keras_inception.data.examples import Examples
from keras_inception.data.preparation.inspection import find_bad_images
from keras_inception.data.preparation.prepare import prepare
from keras_inception.data.sources import open_source
from keras_inception.data.sources.write_records import write_records


def write(path: Path, *records: dict) -> None:
    """Records of features: bytes, text, or numbers, one or a list."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for features in records:
            example = tf.train.Example()
            for name, value in features.items():
                for each in value if isinstance(value, list) else [value]:
                    if isinstance(each, int):
                        example.features.feature[name].int64_list.value.append(each)
                    else:
                        each = each.encode() if isinstance(each, str) else each
                        example.features.feature[name].bytes_list.value.append(each)
            writer.write(example.SerializeToString())


def slim(image: bytes, label=None, text=None) -> dict:
    features = {"image/encoded": image, "image/class/label": label, "image/class/text": text}
    return {name: value for name, value in features.items() if value is not None}


@pytest.fixture(scope="module")
def written(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photos as records, a quarter set apart."""
    output = tmp_path_factory.mktemp("written") / "records"
    prepared = prepare(photos, validation_fraction=0.25, log=lambda line: None)
    splits = {"train": prepared.training, "validation": prepared.validation}
    write_records(splits, output, shards=3)
    return output


def contents(examples: Examples) -> dict[bytes, str]:
    """The class of every image by its bytes."""
    return {
        examples.images.encoded(index): examples.labels[examples.targets[index]]
        for index in range(len(examples))
    }


def test_what_is_written_is_read_back_byte_for_byte(photos: Path, written: Path) -> None:
    assert sorted(path.name for path in written.iterdir()) == [
        "labels.txt",
        "train-00000-of-00003.tfrecord",
        "train-00001-of-00003.tfrecord",
        "train-00002-of-00003.tfrecord",
        "train.index.npz",
        "validation-00000-of-00001.tfrecord",
        "validation.index.npz",
    ]
    train = open_source(written)
    assert (len(train), train.splits, train.labels) == (30, ("validation",), ("dawn", "dusk"))
    validation = open_source(f"{written}/validation")
    assert contents(train) | contents(validation) == contents(open_source(photos))


@pytest.mark.parametrize("name", ["train.index.npz", "labels.txt"])
def test_index_and_names_can_be_missing(written: Path, tmp_path: Path, name: str) -> None:
    """Without its index the records are read once; the texts name the classes as labels.txt."""
    folder = shutil.copytree(written, tmp_path / "records")
    (folder / "train.index.npz").unlink()
    (folder / name).unlink(missing_ok=True)
    train, indexed = open_source(folder), open_source(written)
    assert train.labels == indexed.labels
    assert train.targets.tolist() == indexed.targets.tolist()
    assert contents(train) == contents(indexed)


def test_an_index_of_other_shards_is_not_used(written: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(written, tmp_path / "records")
    write(folder / "train-00001-of-00003.tfrecord", slim(b"new", 1, "dusk"))
    train = open_source(folder)
    assert train.images.encoded(10) == b"new"
    assert len(train) == 21


def test_tf_data_reads_the_same_in_any_order(written: Path) -> None:
    train = open_source(written)
    taken = train.take(np.array([17, 2, 2, 29]))
    read = tf.data.Dataset.range(4).map(taken.images.reader(), num_parallel_calls=2)
    expected = [train.images.encoded(index) for index in (17, 2, 2, 29)]
    assert list(read.as_numpy_iterator()) == expected


def test_other_readers_know_the_features(photos: Path, written: Path) -> None:
    file = str(written / "validation-00000-of-00001.tfrecord")
    for data in tf.data.TFRecordDataset(file).as_numpy_iterator():
        features = tf.train.Example.FromString(data).features.feature
        name = features["image/filename"].bytes_list.value[0].decode()
        assert features["image/encoded"].bytes_list.value[0] == (photos / name).read_bytes()
        assert features["image/class/text"].bytes_list.value[0].decode() == name.split("/")[0]
        assert features["image/class/label"].int64_list.value[0] == ("dusk" in name)
        assert features["image/format"].bytes_list.value[0] in (b"JPEG", b"PNG", b"GIF", b"BMP")


def test_patterns_and_single_files_are_sources(written: Path) -> None:
    assert len(open_source(written / "train-0000[01]*")) == 20
    assert len(open_source(written / "validation-*")) == 10
    assert len(open_source(written / "train-00002-of-00003.tfrecord")) == 10
    assert len(open_source(written / "*" / "validation")) == 10
    prepared = prepare(written / "*.tfrecord", log=lambda line: None)
    assert (len(prepared.training), len(prepared.validation)) == (30, 10)


def test_several_labels_and_groups_are_kept(photos: Path, tmp_path: Path) -> None:
    paths = sorted(photos.rglob("*.jpg"))
    table = tmp_path / "photos.csv"
    rows = [
        f"{path},{path.parent.name}{'|even' if index % 2 else ''},{index // 3}\n"
        for index, path in enumerate(paths)
    ]
    table.write_text("path,label,group\n" + "".join(rows))
    examples = open_source(table)
    write_records({"train": examples}, tmp_path / "records")
    for indexed in (True, False):
        if not indexed:
            (tmp_path / "records" / "train.index.npz").unlink()
        again = open_source(tmp_path / "records")
        assert again.labels == ("dawn", "dusk", "even")
        rows_by_image = {
            examples.images.encoded(index): (examples.targets[index], examples.groups[index])
            for index in range(len(examples))
        }
        for index in range(len(again)):
            targets, group = rows_by_image[again.images.encoded(index)]
            assert again.targets[index].tolist() == targets.tolist()
            assert again.groups[index] == group


def test_writing_goes_on_where_it_was_stopped(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = open_source(photos)
    output = tmp_path / "records"

    def stop_at(limit: int):
        done = 0

        def advance(images: int) -> None:
            nonlocal done
            done += images
            if done == limit:
                raise KeyboardInterrupt

        return advance

    with pytest.raises(KeyboardInterrupt):
        write_records({"train": examples}, output, shards=4, advance=stop_at(25))
    kept = sorted(path.name for path in output.glob("train-*"))
    assert kept == ["train-00000-of-00004.tfrecord", "train-00001-of-00004.tfrecord"]
    times = [(output / name).stat().st_mtime_ns for name in kept]
    with pytest.raises(DataError, match="the beginning of other records"):
        write_records({"train": examples.take(np.arange(30))}, output, shards=4)
    write_records({"train": examples}, output, shards=4)
    assert [(output / name).stat().st_mtime_ns for name in kept] == times
    assert contents(open_source(output)) == contents(examples)
    assert not [path.name for path in output.iterdir() if path.name.startswith(".")]
    with pytest.raises(DataError, match="is not empty"):
        write_records({"train": examples}, output, shards=4)


def test_pixels_are_written_as_png(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8), np.uint8)
    write_records({"train": open_source((images, [0, 1, 2, 0, 1, 2]))}, tmp_path / "records")
    again = open_source(tmp_path / "records")
    decoded = {tf.io.decode_png(each).numpy()[..., 0].tobytes() for each in contents(again)}
    assert decoded == {image.tobytes() for image in images}


def test_the_number_of_shards_is_checked(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"1 to 40 shards\. Received: shards=41"):
        write_records({"train": open_source(photos)}, tmp_path / "records", shards=41)


@pytest.mark.parametrize(
    ("labels", "names", "expected", "background"),
    [([0, 1, 0], None, ("0", "1"), False),
     ([1, 2, 1], None, ("1", "2"), True),
     ([1, 2, 1], "cat\ndog\n", ("cat", "dog"), True),
     ([0, 1, 0], "cat\ndog\n", ("cat", "dog"), False),
     ([1, 2, 1], "background\ncat\ndog\n", ("cat", "dog"), True),
     ([0, 1, 0], "0:cat\n1:dog\n", ("cat", "dog"), False),
     ([3, 7, 3], None, ("3", "7"), False)],
)  # fmt: skip
def test_numbers_get_their_names(
    tmp_path: Path, labels: list[int], names: str | None, expected: tuple, background: bool
) -> None:
    write(tmp_path / "train-00000-of-00001", *[slim(b"x%d" % n, n) for n in labels])
    if names:
        (tmp_path / "labels.txt").write_text(names)
    examples = open_source(tmp_path)
    assert examples.labels == expected
    assert examples.targets.tolist() == [0, 1, 0]
    assert [note.startswith("Labels go from 1") for note in examples.notes] == [True] * background


def test_texts_name_classes_with_numbers_or_without(tmp_path: Path) -> None:
    write(tmp_path / "a" / "x.tfrecord", slim(b"1", 1, "tench"), slim(b"2", 2, "goldfish"))
    assert open_source(tmp_path / "a").labels == ("tench", "goldfish")
    write(tmp_path / "b" / "x.tfrecord", slim(b"1", None, "tench"), slim(b"2", None, "goldfish"))
    examples = open_source(tmp_path / "b")
    assert examples.labels == ("goldfish", "tench")
    assert examples.targets.tolist() == [1, 0]


def test_tfds_files_are_read_with_their_names(tmp_path: Path) -> None:
    records = [{"image": b"1", "label": 0}, {"image": b"2", "label": 1}]
    write(tmp_path / "pets-train.tfrecord-00000-of-00001", *records)
    write(tmp_path / "pets-test.tfrecord-00000-of-00001", *records)
    (tmp_path / "label.labels.txt").write_text("cat\ndog\n")
    examples = open_source(tmp_path)
    assert (examples.labels, examples.splits) == (("cat", "dog"), ("test",))
    assert examples.images.encoded(1) == b"2"


@pytest.mark.parametrize(
    ("records", "names", "message"),
    [([{"a": b"x", "b": 3}], None, r"image/encoded.*It has: a, b"),
     ([slim(b"1", 0), slim(b"2")], None, "without a label"),
     ([slim(b"1", -1), slim(b"2", 0)], None, "label -1"),
     ([slim(b"1", 0), slim(b"2", 5)], "cat\ndog\n", "label 5, but there are 2 names: cat, dog"),
     ([slim(b"1", 0, "cat"), slim(b"2", 0, "dog")], None, "calls label 0 by cat, dog"),
     ([slim(b"1", 0, "cat"), slim(b"2", 1, "cat")], None, "several labels with the text 'cat'"),
     ([slim(b"1", None, "cat"), slim(b"2", None, "cow")], "cat\ndog\n", "labels.txt has no cow"),
     ([slim(b"1", 0), slim(b"2", 0)], None, "at least two classes"),
     ([], None, "no records")],
)  # fmt: skip
def test_labels_that_do_not_fit_are_named(
    tmp_path: Path, records: list[dict], names: str | None, message: str
) -> None:
    write(tmp_path / "train-00000-of-00001", *records)
    if names:
        (tmp_path / "labels.txt").write_text(names)
    with pytest.raises(DataError, match=message):
        open_source(tmp_path)


def damaged(written: Path, tmp_path: Path, change) -> Path:
    folder = shutil.copytree(written, tmp_path / "records")
    (folder / "train.index.npz").unlink()
    path = folder / "train-00001-of-00003.tfrecord"
    path.write_bytes(change(path.read_bytes()))
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [(lambda data: data[:-100], r"train-00001-of-00003.* is damaged in record 10, at byte"),
     (lambda data: data[:3000] + b"\0\1\2\3" + data[3004:], "is damaged in record"),
     (lambda data: b"I am text." * 10, "is no TFRecords: it is text, not an image"),
     (gzip.compress, r"compressed \(GZIP\), .*: python -c 'import gzip, sys; .* < \S+00001-of"),
     (zlib.compress, r"compressed \(ZLIB\), .*: python -c 'import zlib, sys; .* > NEW\.tfrecord")],
)  # fmt: skip
def test_damaged_shards_are_named(written: Path, tmp_path: Path, change, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_source(damaged(written, tmp_path, change))


def test_missing_shards_are_named(written: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(written, tmp_path / "records")
    (folder / "train-00001-of-00003.tfrecord").unlink()
    with pytest.raises(DataError, match=r"1 of 3 shards are missing .*train-00001-of-00003"):
        open_source(folder)
    assert len(open_source(folder / "train-*")) == 20


def test_parts_without_one_to_train_on_must_be_named(tmp_path: Path) -> None:
    for split in ("validation", "test"):
        write(tmp_path / f"{split}-00000-of-00001", slim(b"1", 0), slim(b"2", 1))
    with pytest.raises(DataError, match="has the splits test, validation: name one"):
        open_source(tmp_path)
    assert len(open_source(tmp_path / "test")) == 2
    with pytest.raises(DataError, match="has no split 'train'"):
        open_source(tmp_path / "train")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"version https://git-lfs.github.com/spec/v1\n", "no TFRecords: it is a pointer of Git LFS"),
     (b"<html>not found</html>", "is no TFRecords: it is an HTML page"),
     (b"\xff\xd8\xff\xe0" + bytes(range(1, 40)), "is an image, not TFRecords"),
     (b"\0\0\1\0" + bytes(40), "damaged in record 1, at byte 0"),  # a length, and no icon
     (b"\x93" * 40, "damaged in record 1, at byte 0")],
)  # fmt: skip
def test_what_never_held_records_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(DataError, match=message):
        open_source(f"{tmp_path}/*.jpg")


def test_bad_images_in_records_are_found(photos: Path, tmp_path: Path) -> None:
    good = (photos / "dawn" / "00.jpg").read_bytes()
    no_image = {"image/class/label": 1, "image/filename": "gone.jpg"}
    records = [slim(good, 0), slim(b"text", 1), slim(b"", 0), no_image]
    write(tmp_path / "train-00000-of-00001", *records)
    bad = find_bad_images(open_source(tmp_path).images)
    assert [image.index for image in bad] == [1, 2, 3]
    assert "train-00000-of-00001 at byte" in bad[0].name
    assert bad[1].reason == "it is empty"
    assert bad[2].name.startswith("gone.jpg in ") and "has no image/encoded" in bad[2].reason


@pytest.mark.parametrize("kind", ["gzip", "zlib"])
def test_the_command_for_compressed_shards_decompresses_them(kind: str, tmp_path: Path) -> None:
    """Of any name, with a suffix too; the command is the one that the message gives."""
    shard = tmp_path / "train.tfrecord"
    with tf.io.TFRecordWriter(str(shard), kind.upper()) as writer:
        for number in range(2):
            example = tf.train.Example()
            features = example.features.feature
            features["image/encoded"].bytes_list.value.append(b"x")
            features["image/class/label"].int64_list.value.append(number)
            writer.write(example.SerializeToString())
    named = shard.rename(f"{shard}.gz") if kind == "gzip" else shard
    for source in (tmp_path, named):
        with pytest.raises(DataError, match=f"is compressed .{kind.upper()}."):
            open_source(source)
    with pytest.raises(DataError) as caught:
        open_source(named)
    command = str(caught.value).split("Decompress it: python")[1]
    whole = tmp_path / "new" / "train.tfrecord"
    whole.parent.mkdir()
    command = sys.executable + command.replace("NEW.tfrecord", str(whole))
    subprocess.run(command, shell=True, check=True)
    assert open_source(whole).targets.tolist() == [0, 1]
