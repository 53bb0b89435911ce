"""Images with their classes: what every source of images becomes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keras_inception.data.errors import DataError as DataError
from keras_inception.data.images import Images
from keras_inception.data.text import one_form


@dataclass(frozen=True)
class Examples:
    """Images with their classes.

    Args:
        labels: the class names; a target is an index into them.
        images: one an example.
        targets: int64 [examples], the class of each; or where an image can be of several classes
            or none, bool [examples, classes].
        groups: int64 [examples], equal for images that must not be split, such as those of one
            patient; ``None`` where each stands for itself.
        splits: the names of their source's other splits, such as ``"validation"``.
        notes: what a person should know of how the source was read.
    """

    labels: tuple[str, ...]
    images: Images
    targets: np.ndarray
    groups: np.ndarray | None = None
    splits: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    @property
    def multi_label(self) -> bool:
        """Whether an image can be of several classes, or of none."""
        return self.targets.ndim == 2

    def take(self, indices: np.ndarray) -> Examples:
        """The examples at ``indices``, in their order."""
        return dataclasses.replace(
            self,
            images=self.images.take(indices),
            targets=self.targets[indices],
            groups=None if self.groups is None else self.groups[indices],
        )

    def counts(self) -> np.ndarray:
        """Examples of each class: int64 [classes]."""
        if self.multi_label:
            return self.targets.sum(axis=0, dtype=np.int64)
        return np.bincount(self.targets, minlength=len(self.labels))

    def with_labels(self, labels: Sequence[str]) -> Examples:
        """The same with the classes of a model that exists, in its order.

        Names are the same where they are so in Unicode's form NFC.

        Raises:
            DataError: the model does not know one of the classes.
        """
        index = {one_form(label): target for target, label in enumerate(labels)}
        unknown = sorted({label for label in self.labels if one_form(label) not in index})
        if unknown:
            raise DataError(
                f"The data hold classes that the model does not know: {listed(unknown)}."
                f" It knows: {listed(labels)}."
            )
        places = np.array([index[one_form(label)] for label in self.labels], np.int64)
        targets: np.ndarray
        if self.multi_label:
            targets = np.zeros((len(self), len(labels)), bool)
            for column, place in enumerate(places.tolist()):
                targets[:, place] |= self.targets[:, column]
        else:
            targets = places[self.targets]
        return dataclasses.replace(self, labels=tuple(labels), targets=targets)

    def in_one_form(self) -> Examples:
        """The same with every class's name in Unicode's form NFC; equal ones become one class."""
        labels = tuple(dict.fromkeys(map(one_form, self.labels)))
        return self if labels == self.labels else self.with_labels(labels)


def listed(names: Sequence[str], most: int = 10) -> str:
    """Names in a sentence, the first of them where they are many."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
