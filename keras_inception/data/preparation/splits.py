"""Splits of a data set: a share of every class set apart, and no group on both sides."""

from __future__ import annotations

import numpy as np

from keras_inception.data.examples import Examples

_MOST_EXCHANGED = 10_000  # groups times classes, of which exchanges are tried


def split(
    examples: Examples,
    fraction: float,
    seed: int,
    keep_together: np.ndarray | None = None,
    *,
    exchange: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Set a fraction of each class apart, at random but the same for the same seed.

    Every class with at least two images, or groups of images, keeps one on each side where the
    groups allow it. Where images come in groups or are of several classes at once, whole groups are
    taken one after another, and then, where they are few, exchanged as long as the classes' shares
    come nearer to the fraction.

    Args:
        fraction: of each class to set apart, at least 0 and below 1; 0 leaves it empty.
        keep_together: int64 [examples], equal for images that must stay on one side; the examples'
            own groups by default.
        exchange: whether groups are exchanged; runs of before that were split without.

    Returns:
        The indices of those that are left and of those set apart, each int64 and rising.
    """
    random = np.random.default_rng(seed)
    groups = examples.groups if keep_together is None else keep_together
    apart = np.zeros(len(examples), bool)
    if not fraction:
        return np.arange(len(examples)), np.flatnonzero(apart)
    if groups is None and not examples.multi_label:
        counts = examples.counts()
        wanted = _wanted(counts, fraction)
        # Shuffled, then in the order of the classes: of each, the first ones are set apart.
        order = random.permutation(len(examples))
        order = order[np.argsort(examples.targets[order], kind="stable")]
        rank = np.arange(len(examples)) - np.repeat(np.cumsum(counts) - counts, counts)
        apart[order] = rank < np.repeat(wanted, counts)
    else:
        if groups is None:
            groups = np.arange(len(examples))
        apart = _groups_apart(examples, groups, fraction, random, exchange)
    return np.flatnonzero(~apart), np.flatnonzero(apart)


def joined(groups: np.ndarray | None, same: np.ndarray) -> np.ndarray:
    """Groups that also keep together those that ``same`` makes equal.

    Args:
        groups: int64 [images], or ``None``.
        same: int64 [images], equal for copies of one image.
    """
    if groups is None:
        return same
    _, group = np.unique(groups, return_inverse=True)
    _, copy = np.unique(same, return_inverse=True)
    # The smallest number spreads along both until nothing changes; chains are short.
    label = np.arange(len(groups))
    while True:
        before = label
        for key in (group, copy):
            least = np.full(key.max() + 1, len(label))
            np.minimum.at(least, key, label)
            label = least[key]
        if np.array_equal(before, label):
            return label


def _wanted(counts: np.ndarray, fraction: float) -> np.ndarray:
    """How many of each class to set apart; where there are two, one at least, and one left."""
    return np.where(
        counts >= 2, np.clip(np.round(counts * fraction), 1, np.maximum(counts - 1, 1)), 0
    ).astype(np.int64)


def _groups_apart(
    examples: Examples,
    groups: np.ndarray,
    fraction: float,
    random: np.random.Generator,
    exchange: bool,
) -> np.ndarray:
    """Set whole groups apart, each if that comes nearer to what is wanted: bool [examples]."""
    names, group = np.unique(groups, return_inverse=True)
    classes = len(examples.labels) + 1  # one more, for images of none
    if examples.multi_label:
        rows, columns = np.nonzero(examples.targets)
        none = np.flatnonzero(~examples.targets.any(axis=1))
        rows = np.concatenate([rows, none])
        columns = np.concatenate([columns, np.full(len(none), classes - 1)])
    else:
        rows, columns = np.arange(len(examples)), examples.targets
    # The classes of each group and how many images of each, one group after another.
    pairs, sizes = np.unique(group[rows] * classes + columns, return_counts=True)
    begins = np.searchsorted(pairs, np.arange(len(names) + 1) * classes).tolist()
    kinds, some = (pairs % classes).tolist(), sizes.tolist()
    counts = np.bincount(columns, minlength=classes)
    wanted = _wanted(counts, fraction).tolist()

    total, have = counts.tolist(), [0] * classes
    chosen = np.zeros(len(names), bool)

    def leaves_some(places: range) -> bool:
        return all(have[kinds[place]] + some[place] < total[kinds[place]] for place in places)

    def choose(one: int, places: range) -> None:
        chosen[one] = True
        for place in places:
            have[kinds[place]] += some[place]

    for one in random.permutation(len(names)).tolist():
        places = range(begins[one], begins[one + 1])
        gain = 0.0
        for place in places:
            missing = wanted[kinds[place]] - have[kinds[place]]
            gain += (2 * missing - some[place]) * some[place] / total[kinds[place]]
        if gain > 0 and leaves_some(places):
            choose(one, places)
    # A class still without any gets its smallest group that leaves every class something.
    for absent in [kind for kind in range(classes) if total[kind] > 1 and not have[kind]]:
        holders = np.flatnonzero(pairs % classes == absent)
        for place in holders[np.argsort(sizes[holders], kind="stable")]:
            one = int(pairs[place] // classes)
            places = range(begins[one], begins[one + 1])
            if leaves_some(places):
                choose(one, places)
                break
    if exchange and len(names) * classes <= _MOST_EXCHANGED:
        held = np.zeros((len(names), classes), np.int64)
        held[pairs // classes, pairs % classes] = sizes
        chosen = _exchanged(chosen, held, _wanted(counts, fraction))
    return chosen[group]


def _exchanged(chosen: np.ndarray, held: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The groups that are set apart after all exchanges that come nearer to what is wanted.

    An exchange takes a group out, another in, or both; the best of all is made until none is left.
    No class loses all the images that it had on either side.

    Args:
        chosen: bool [groups].
        held: int64 [groups, classes], images.
        wanted: int64 [classes], images to set apart.
    """
    chosen = chosen.copy()
    total = held.sum(axis=0)
    scale = np.sqrt(np.maximum(total, 1))
    nothing = np.zeros((1, held.shape[1]), np.int64)
    while True:
        inside, outside = np.flatnonzero(chosen), np.flatnonzero(~chosen)
        have = held[inside].sum(axis=0)
        best = float(np.sum(((have - wanted) / scale) ** 2)) - 1e-9
        move = None
        coming = np.concatenate([nothing, held[outside]])
        for out in (None, *inside.tolist()):
            new = have + coming - (0 if out is None else held[out])
            cost = np.sum(((new - wanted) / scale) ** 2, axis=1)
            emptied = ((new == 0) & (have > 0)) | ((new == total) & (have < total))
            cost[emptied.any(axis=1)] = np.inf
            if cost.min() < best:
                best, move = float(cost.min()), (out, int(cost.argmin()))
        if move is None:
            return chosen
        if move[0] is not None:
            chosen[move[0]] = False
        if move[1]:
            chosen[outside[move[1] - 1]] = True
