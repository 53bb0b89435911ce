"""Names of a data set's splits, as people write them, and the one that stands for each here."""

from __future__ import annotations

import re
from collections.abc import Sequence

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
# Other words for a part of a data set, which are no splits to name.
_PARTS = SPLIT_NAMES | {
    "eval": "validation",
    "evaluation": "validation",
    "holdout": "test",
    "pred": "prediction",
    "predict": "prediction",
    "prediction": "prediction",
    "unlabeled": "unlabeled",
    "unlabelled": "unlabeled",
    "annotations": "annotations",
    "训练": "train",
    "训练集": "train",
    "验证": "validation",
    "验证集": "validation",
    "测试": "test",
    "测试集": "test",
    "訓練": "train",
    "検証": "validation",
    "テスト": "test",
}
# What may stand with such a word, as in `training_set`, `testset` and `val_images`.
_NEUTRAL = re.compile("(set|data(set)?|ima?ges?|imgs?|photos?|pictures?|files?)")
_GLUED = re.compile(rf"({'|'.join(sorted(_PARTS, key=len, reverse=True))})({_NEUTRAL.pattern})\b")


def parts_of(names: Sequence[str]) -> dict[str, str]:
    """The split that each folder stands for, where all of them are parts of one data set.

    They are where each name has one such word, at least two of the words differ, and the rest is
    the same but for numbers: ``training_set`` and ``test_set``, ``train`` and ``test1``,
    ``seg_train`` and ``seg_test``; not ``steam_train`` and ``test_tube``.

    Returns:
        The splits by name; empty if they are none.
    """
    splits, rests = {}, set()
    for name in names:
        words = re.findall(r"[^\W\d_]+", name.lower())
        words = " ".join(_GLUED.sub(r"\1 \2", word) for word in words).split()
        found = [word for word in words if word in _PARTS]
        if len(found) != 1:
            return {}
        splits[name] = _PARTS[found[0]]
        rests.add(
            tuple(word for word in words if word not in _PARTS and not _NEUTRAL.fullmatch(word))
        )
    return splits if len(rests) == 1 and len(set(splits.values())) > 1 else {}
