"""The images that an export is compared on, its accuracy where their classes are known, its record.

The comparison with the Keras model can't see a wrong range of pixels or labels in a wrong order:
both sides share them. The true classes of a folder of class folders can.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from inception_export.export import SAMPLES, ExportError
from inception_export.options import ExportOptions
from keras_inception.data.examples import listed
from keras_inception.data.images import Files, Images
from keras_inception.data.preparation.inspection import find_bad_images
from keras_inception.data.preprocessing import Preprocessing, decode, preprocess_encoded
from keras_inception.data.text import one_form, printable
from keras_inception.data.types import Log

MOST_COMPARED = 32
MORE_IMAGES = (
    "Calibrate it on more images, or on some more like those served (--calibration), or export in"
    " bfloat16."
)
_BATCH = 16

# An export's record of its answers.
MOST_RECORDED = 4
MOST_RECORDED_BYTES = 1_000_000
_MOST_PIXELS = 2**15
_MOST_ENCODED_BYTES = 2**16


@dataclass(frozen=True)
class EncodedImages(Sequence[bytes]):
    """Images as a sequence of their bytes, each read when it is asked for.

    Args:
        images: any.
        of_run: what images of a run they are; empty where a person named them for the export,
            which may keep some.
    """

    images: Images
    of_run: str = ""

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self.images.encoded(each) for each in range(*index.indices(len(self)))]
        return self.images.encoded(range(len(self))[index])


def read_samples(
    paths: Sequence[tuple[str, str]], log: Log, what: str = "samples"
) -> dict[str, Any]:
    """Image files as ``samples`` and ``sample_classes`` of ``ExportOptions``.

    Args:
        paths: (place, file): a folder that was named and a file somewhere below it, whose class
            is the folder directly below the place; or twice the same file.
        log: is told of files that can't be decoded, which are left out.
        what: they are called there.

    Raises:
        ExportError: none can be decoded.
    """
    files = Files.of("", [str(Path(path).absolute()) for _, path in paths])
    bad = find_bad_images(files)
    kept = np.delete(np.arange(len(files)), [each.index for each in bad])
    if bad:
        reasons = listed([f"{each.name} ({each.reason})" for each in bad], 3)
        if not len(kept):
            raise ExportError(f"None of the {what} can be decoded: {reasons}.")
        log(f"{len(bad)} {what} can't be decoded and are left out: {reasons}")
    below = [Path(paths[index][1]).relative_to(paths[index][0]).parts for index in kept.tolist()]
    classes = [printable(one_form(parts[0])) if len(parts) > 1 else "" for parts in below]
    return {"samples": EncodedImages(files.take(kept)), "sample_classes": classes}


def spread(samples: Sequence[bytes], most: int = MOST_COMPARED) -> list[bytes]:
    """Those that are compared: all, or of many some, evenly from the first to the last."""
    count = min(len(samples), most)
    places = np.linspace(0, len(samples) - 1, count).round().astype(int).tolist()
    return [samples[place] for place in places]


def shown_samples(options: ExportOptions) -> list[bytes]:
    """Those that may be kept in the export: what a person gave, none that it took of a run."""
    private = isinstance(options.samples, EncodedImages) and options.samples.of_run
    return [] if private else spread(options.samples)


def true_classes(classes: Sequence[str], labels: Sequence[str], log: Log) -> np.ndarray:
    """The places of the samples' classes among the labels: int64 [samples], -1 where it is none."""
    place = {one_form(label): index for index, label in enumerate(labels)}
    truth = np.array([place.get(one_form(each), -1) for each in classes], np.int64)
    unknown = sorted({each for each in classes if each and one_form(each) not in place})
    if unknown:
        log(
            f"Accuracy is measured on {(truth >= 0).sum()} of {len(truth)} samples: no class is"
            f" called {listed(unknown)}"
        )
    return truth


def measure_samples(
    folder: Path,
    exported: tuple[keras.Model, tuple[str, ...], Preprocessing],
    recorded: float | None,
    options: ExportOptions,
    log: Log,
) -> dict[str, Any]:
    """Measure the accuracy on samples of known classes, beside the recorded one; for the manifest.

    That of int8 is measured beside the Keras model's, too.

    Args:
        folder: of the SavedModel, as written.
        exported: the Keras model, its labels and its preprocessing.
        recorded: the accuracy that the run recorded.

    Raises:
        ExportError: it has fallen.
    """
    model, labels, preprocessing = exported
    truth = true_classes(options.sample_classes, labels, log)
    if not (truth >= 0).any():
        if any(options.sample_classes):
            raise ExportError(
                "The samples lie in folders, and none is called as a class of the model is, so"
                f" that accuracy can't be measured. The classes: {listed(labels)}. Name a folder of"
                " class folders, or images without folders."
            )
        if options.precision == "int8":
            log(
                "int8: its accuracy is not measured. Give images of known classes: --samples"
                " FOLDER, a folder of class folders"
            )
        return {}
    best = best_classes(folder, options.samples, truth, labels)
    measured = accuracy_of(best, truth)
    beside = "" if recorded is None else f"; the run recorded {recorded:.4f}"
    log(f"Accuracy on {measured['images']} samples: {measured['accuracy']:.4f}{beside}")
    if recorded is None and len(labels) > 1 and measured["accuracy"] <= 1 / len(labels):
        log(
            f"That is no better than guessing among {len(labels)} classes: are the labels in the"
            " order of the outputs, and the pixels as the model was trained on?"
        )
    if recorded is None:
        check_order(best, truth, labels, options.max_accuracy_fall)
    else:
        check_accuracy(measured, recorded, options.max_accuracy_fall)
    if options.precision == "int8":
        expected = expected_classes(model, options.samples, truth, preprocessing, options.mirror)
        known = truth >= 0
        beside_keras = compare_accuracy(
            best[known], expected[known], truth[known], options.max_accuracy_loss
        )
        log(
            f"int8: the Keras model's accuracy on them is {beside_keras['keras_accuracy']:.4f};"
            f" {beside_keras['changed_class']} have another best class"
        )
        measured |= beside_keras
    if of_run := getattr(options.samples, "of_run", ""):
        measured |= {"of_run": of_run}
    return {"samples": measured | {"recorded": recorded}}


def best_classes(
    saved_model: Path, samples: Sequence[bytes], truth: np.ndarray, labels: Sequence[str]
) -> np.ndarray:
    """The place among the labels of each sample's best class, as ``serving_default`` answers it.

    Args:
        saved_model: its folder, as written.
        truth: int64 [samples]; those of -1 are not asked about.

    Returns:
        int64 [samples], -1 where nothing was asked.
    """
    answer = tf.saved_model.load(str(saved_model)).signatures["serving_default"]
    place = {label.encode(): index for index, label in enumerate(labels)}
    found = np.full(len(truth), -1, np.int64)
    for batch in _known(truth):
        best = answer(image_bytes=tf.constant([samples[each] for each in batch]))["classes"]
        found[batch] = [place[name] for name in best[:, 0].numpy().tolist()]
    return found


def expected_classes(
    model: keras.Model,
    samples: Sequence[bytes],
    truth: np.ndarray,
    preprocessing: Preprocessing,
    mirror: bool = False,
) -> np.ndarray:
    """The same of the Keras model; with ``mirror``, of each image and its mirror image together."""
    found = np.full(len(truth), -1, np.int64)
    spec = tf.TensorSpec([None, preprocessing.size, preprocessing.size, 3], tf.float32)
    answer = tf.function(  # traced once, whatever the number of images
        lambda images: model(images, training=False), input_signature=[spec], autograph=False
    )
    for batch in _known(truth):
        images = preprocess_encoded(tf.constant([samples[each] for each in batch]), preprocessing)
        scores = answer(images).numpy()
        if mirror:
            scores = scores + answer(images[:, :, ::-1]).numpy()
        found[batch] = scores.argmax(axis=1)
    return found


def _known(truth: np.ndarray) -> Iterator[list[int]]:
    """The places of samples whose class is known, some at a time."""
    known = np.flatnonzero(truth >= 0).tolist()
    for start in range(0, len(known), _BATCH):
        yield known[start : start + _BATCH]


def accuracy_of(best: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """``accuracy``, the share right of the samples of known class, and ``images``, how many."""
    known = truth >= 0
    return {"accuracy": float((best == truth)[known].mean()), "images": int(known.sum())}


def check_order(best: np.ndarray, truth: np.ndarray, labels: Sequence[str], allowed: float) -> None:
    """Refuse labels that are right in another order: where outputs answer each other's classes.

    An output counts as another class's where at least three of its answers, and most of them, are
    samples of that class.

    Args:
        best: see :func:`best_classes`.
        allowed: how much better the other order may be.

    Raises:
        ExportError: it is better by more, and by more than may be chance.
    """
    counts = np.zeros((len(labels), len(labels)), np.int64)  # outputs, true classes
    np.add.at(counts, (best[truth >= 0], truth[truth >= 0]), 1)
    sure = (counts.max(axis=1) >= 3) & (2 * counts.max(axis=1) > counts.sum(axis=1))
    order = np.where(sure, counts.argmax(axis=1), np.arange(len(labels)))
    if len(set(order.tolist())) < len(order):
        return
    now, then = accuracy_of(best, truth), accuracy_of(np.where(best < 0, -1, order[best]), truth)
    if then["accuracy"] - now["accuracy"] > max(allowed, _chance(then["accuracy"], now["images"])):
        moved = [
            f"{labels[wanted]} for {labels[output]}"
            for output, wanted in enumerate(order.tolist())
            if output != wanted
        ]
        raise ExportError(
            f"The export's accuracy on {now['images']} samples is {now['accuracy']:.4f}, and would"
            f" be {then['accuracy']:.4f} with the labels in another order: {listed(moved)}. They"
            " are to be in the order of the model's outputs, which of Keras's"
            " image_dataset_from_directory is the alphabet's. Nothing was published. To export all"
            " the same: --max-accuracy-fall 1"
        )


def _chance(accuracy: float, images: int) -> float:
    """Two standard errors of a share of so many images; one right and one wrong are added."""
    expected = (accuracy * images + 1) / (images + 2)
    return float(2 * (expected * (1 - expected) / images) ** 0.5)


def check_accuracy(measured: dict[str, Any], recorded: float, allowed: float) -> None:
    """Refuse a fall that neither was allowed nor can be chance.

    Chance is two standard errors of a share of so many images. Of the recorded accuracy, one image
    right and one wrong are added, so that some is left to it at 1.0 too.

    Args:
        measured: see :func:`accuracy_of`.
        recorded: the accuracy that the run recorded.
        allowed: the fall that passes.

    Raises:
        ExportError: the accuracy is lower than that.
    """
    accuracy, images = measured["accuracy"], measured["images"]
    if recorded - accuracy > max(allowed, _chance(recorded, images)):
        raise ExportError(
            f"The export's accuracy on {images} samples is {accuracy:.4f}, and the run recorded"
            f" {recorded:.4f}: wrong preprocessing, or labels in another order, do that. Nothing"
            " was published. If the samples are harder than the run's validation images, allow it:"
            f" --max-accuracy-fall {min(1.0, recorded - accuracy + 0.005):.2f}"
        )


def compare_accuracy(
    answered: np.ndarray, expected: np.ndarray, truth: np.ndarray, allowed: float
) -> dict[str, Any]:
    """Refuse a loss of accuracy.

    One image may always be lost, which is more than 0.5 points of fewer than 200.

    Args:
        answered: int64 [images], the export's best classes.
        expected: int64 [images], the Keras model's.
        truth: int64 [images].
        allowed: the loss that passes, a share of the images.

    Returns:
        For the manifest: ``keras_accuracy``, ``accuracy_loss``, ``max_accuracy_loss`` and
        ``changed_class``, how many images' best class is another.

    Raises:
        ExportError: more is lost.
    """
    accuracy, before = np.mean(answered == truth), np.mean(expected == truth)
    loss = float(before - accuracy)
    if loss > max(allowed, 1.5 / len(truth)):
        raise ExportError(
            f"The export in int8 is right on {accuracy:.2%} of {len(truth)} samples, the Keras"
            f" model on {before:.2%}: {100 * loss:.2f} points lost, more than {100 * allowed:g}"
            f" (--max-accuracy-loss). Nothing was published. {MORE_IMAGES}"
        )
    return {
        "keras_accuracy": float(before),
        "accuracy_loss": loss,
        "max_accuracy_loss": allowed,
        "changed_class": int((answered != expected).sum()),
    }


def choose_recorded(images: Sequence[bytes]) -> list[bytes]:
    """A few of the images, the large ones made small: those that a server is verified with.

    Args:
        images: encoded, each decodable.
    """
    return [_small(image) for image in spread(images, MOST_RECORDED)]


def _small(image: bytes) -> bytes:
    pixels = decode(tf.constant(image))
    height, width = pixels.shape[:2]
    scale = (_MOST_PIXELS / (height * width)) ** 0.5
    if scale >= 1 and len(image) <= _MOST_ENCODED_BYTES:
        return image
    sides = [max(1, int(side * min(scale, 1.0))) for side in (height, width)]
    small = tf.image.resize(pixels, sides, antialias=True)
    encoded = tf.io.encode_jpeg(tf.cast(tf.clip_by_value(tf.round(small), 0, 255), tf.uint8))
    return bytes(encoded.numpy())


def record_answers(folder: Path, pictures: Sequence[bytes], answers: dict[str, np.ndarray]) -> None:
    """Write pictures and what each signature answers to them, for whoever verifies a server.

    Of more than 1 MB the last pictures are left out; where one alone is more (of some 10,000
    classes), there is no record.

    Args:
        folder: the SavedModel's, as written.
        pictures: encoded.
        answers: the rows for these pictures, by ``SIGNATURE_OUTPUT``.
    """
    for count in range(len(pictures), 0, -1):
        names = [f"{number}.{_suffix(each)}" for number, each in enumerate(pictures[:count])]
        record = {"pictures": np.array(names)}
        for name, picture in zip(names, pictures, strict=False):
            record[f"pixels/{name}"] = decode(tf.constant(picture)).numpy()
        for name, rows in answers.items():
            signature, _, output = name.rpartition("_")
            kept = rows[:count]
            record[f"{signature}/{output}"] = kept.astype(bytes) if kept.dtype == object else kept
        file = io.BytesIO()
        np.savez_compressed(file, allow_pickle=False, **record)
        if file.tell() + sum(map(len, pictures[:count])) <= MOST_RECORDED_BYTES:
            break
    else:
        return
    home = folder / SAMPLES
    home.mkdir(parents=True)
    for name, picture in zip(names, pictures, strict=False):
        (home / name).write_bytes(picture)
    (home / "answers.npz").write_bytes(file.getvalue())


def _suffix(image: bytes) -> str:
    for start, suffix in (
        (b"\xff\xd8", "jpg"),
        (b"\x89PNG", "png"),
        (b"GIF", "gif"),
        (b"BM", "bmp"),
    ):
        if image.startswith(start):
            return suffix
    return "webp"
