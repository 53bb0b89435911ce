"""Messages about images before they are trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_inception.data.examples import Examples, listed
from keras_inception.data.headers import READ_AS
from keras_inception.data.images import Images
from keras_inception.data.preparation.balance import draw_counts, uneven
from keras_inception.data.preparation.inspection import Inspection
from keras_inception.data.preparation.splits import joined
from keras_inception.data.text import one_line
from keras_inception.data.types import Log


def report_copies(examples: Examples, digests: np.ndarray, log: Log) -> np.ndarray | None:
    """Report how many images are copies.

    Args:
        digests: uint64 [examples], equal for copies; or empty if that isn't known.

    Returns:
        Copies and groups, which a split must keep together: int64 [examples], equal for images of
        one side; or ``None`` where there are none.
    """
    if not len(digests):
        return examples.groups
    _, first, same = np.unique(digests, return_index=True, return_inverse=True)
    copies = np.flatnonzero(first[same] != np.arange(len(examples)))
    if not len(copies):
        return examples.groups
    one, other = int(first[same[copies[0]]]), int(copies[0])
    log(
        f"Copies of other images: {len(copies)}, such as {_name(examples, other)} of"
        f" {_name(examples, one)}. They stay on one side of a split."
    )
    originals = first[same[copies]]
    differ = examples.targets[copies] != examples.targets[originals]
    differ = differ.reshape(len(copies), -1).any(axis=1)
    if differ.any():
        pairs = zip(originals[differ].tolist(), copies[differ].tolist(), strict=True)
        names = [f"{_name(examples, one)} and {_name(examples, other)}" for one, other in pairs]
        log("The same image has different classes:\n  " + "\n  ".join(names[:10]))
    return joined(examples.groups, same)


def report_shared(validation: Examples, shared: np.ndarray, log: Log) -> None:
    """Warn of validation images, by their indices, that are training images too."""
    if len(shared):
        names = listed([_name(validation, index) for index in shared.tolist()])
        log(
            f"Validation images that are training images too: {len(shared)} of {len(validation)},"
            f" so the validation will look better than it is: {names}"
        )


def report_none_apart(
    training: Examples, apart: np.ndarray, part: tuple[int, int] | float, log: Log
) -> None:
    """Warn where images were to be set apart and none are.

    Args:
        apart: the indices of those that are.
        part: the share, or the fold, that was to be.
    """
    if part and not len(apart):
        groups = training.groups
        one = groups is not None and len(np.unique(groups)) == 1
        why = "all are of one group" if one else "too few, or too few groups, are there"
        log(
            f"No images are set apart to validate on, since {why}: training can't be"
            " measured on others, and keeps its last epoch."
        )


def report_shared_groups(training: Examples, validation: Examples, log: Log) -> None:
    """Warn of groups on both sides of a split that was made elsewhere."""
    if training.groups is not None and validation.groups is not None:
        shared = np.intersect1d(training.groups, validation.groups)
        if len(shared):
            log(
                f"Groups both among the training and the validation images: {len(shared)}, so the"
                " validation will look better than it is."
            )


def report_kinds(inspections: Sequence[Inspection], log: Log) -> dict[str, int]:
    """Report what is read otherwise than it is kept, and return how many of each kind."""
    kinds = {kind: sum(seen.kinds[kind] for seen in inspections) for kind in READ_AS}
    kinds = {kind: count for kind, count in kinds.items() if count}
    if kinds:
        counted = [f"{count} {kind} ({READ_AS[kind]})" for kind, count in kinds.items()]
        log(f"Among the images: {', '.join(counted)}")
    return kinds


def report_exif_rotated(
    images: Images, exif_rotated: Sequence[int], log: Log, of: int | None = None
) -> None:
    """Warn of EXIF orientations, once, with how many there are among all or ``of`` so many."""
    if exif_rotated:
        log(
            f"Images with an EXIF orientation: {len(exif_rotated)}"
            f"{f' of {of} looked at' if of else ''},"
            f" such as {one_line(images.name(exif_rotated[0]))}. Unless the recipe has"
            " exif_orientation: apply, it is ignored, in training and in serving: the network sees"
            " the pixels as they are stored."
        )


def report_counts(training: Examples, validation: Examples, log: Log) -> None:
    """Report how many images there are, and of which classes if they are uneven."""
    counts = training.counts()
    several = ", any number of them an image" if training.multi_label else ""
    log(
        f"{len(training)} training and {len(validation)} validation images of"
        f" {len(training.labels)} classes{several};"
        f" {counts.min()} to {counts.max()} training images each"
    )
    if uneven(training):
        log("The classes are uneven (class_weights can make up for it):\n" + draw_counts(training))


def _name(examples: Examples, index: int) -> str:
    return one_line(examples.images.name(index))
