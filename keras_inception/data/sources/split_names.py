"""Names of a data set's splits, as people write them, and the one that stands for each here."""

from __future__ import annotations

import re
import unicodedata
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
    word: part
    for part, words in {
        "train": "tr trn treino treinamento entrenamiento entrainement apprentissage addestramento"
        " обучение 训练 训练集 訓練 学習 학습 훈련",
        "validation": "va vld eval evaluation validacao validacion validierung validazione"
        " 验证 验证集 検証 검증",
        "test": "te ts tst holdout teste testes prueba pruebas тест 测试 测试集 テスト 테스트",
        "prediction": "pred predict prediction predictions",
        "unlabeled": "unlabeled unlabelled",
        "annotations": "annotation annotations label labels mask masks groundtruth gt segmentation"
        " imagesets",
        "images": "jpegimages",  # of PASCAL VOC
    }.items()
    for word in words.split()
}
# What may stand with such a word, as in `training_set`, `testset` and `val_images`; by themselves,
# these are the images beside `labels`.
_NEUTRAL = re.compile("(sets?|data(sets?)?|ima?ges?|imgs?|photos?|pictures?|files?)")
_GLUED = re.compile(rf"({'|'.join(sorted(_PARTS, key=len, reverse=True))})({_NEUTRAL.pattern})\b")
_FOLD = re.compile(r"(?:k?folds?|splits?|cv)[ _-]?(\d+)", re.IGNORECASE)


def parts_of(names: Sequence[str]) -> dict[str, str]:
    """The parts of one data set among folders, and the split that each stands for.

    A name is one if it has one such word, and at least two of the words stand beside the same
    rest, numbers apart: ``training_set`` and ``test_set``, ``train`` and ``test1``,
    ``seg_train`` and ``seg_test``, ``trainA`` and ``testA``, ``images`` and ``labels``, ``fold1``
    and ``fold2``; not ``steam_train`` and ``test_tube``.

    Returns:
        The splits by name; where they are as many as the names, the folders are no classes.
    """
    found = {name: part for name in names if (part := _part(name))}
    splits: dict[tuple[str, ...], set[str]] = {}
    for split, rest in found.values():
        splits.setdefault(rest, set()).add(split)
    several = any(len(beside) > 1 for beside in splits.values())
    return {name: split for name, (split, _) in found.items()} if several else {}


def names_a_split(column: str) -> bool:
    """Whether a table's column is called as one that says which rows are of a split.

    ``is_valid`` and ``in_train`` are; ``train`` may be a class.
    """
    part = _part(column)
    return bool(part and part[0] in SPLIT_NAMES.values() and part[1] in (("is",), ("in",)))


def _part(name: str) -> tuple[str, tuple[str, ...]] | None:
    """The split that a name stands for, and its other words."""
    if fold := _FOLD.fullmatch(name):
        return f"fold {fold[1]}", ()
    if name.lower() in _PARTS:
        return _PARTS[name.lower()], ()
    # `trainA` is two words; and `validação` is written without accents as often.
    parted = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
    plain = [
        each for each in unicodedata.normalize("NFD", parted) if not unicodedata.combining(each)
    ]
    words = re.findall(r"[^\W\d_]+", unicodedata.normalize("NFC", "".join(plain)).lower())
    words = " ".join(_GLUED.sub(r"\1 \2", word) for word in words).split()
    found = [word for word in words if word in _PARTS]
    rest = tuple(word for word in words if word not in _PARTS and not _NEUTRAL.fullmatch(word))
    if len(found) == 1:
        return _PARTS[found[0]], rest
    return ("images", ()) if words and not found and not rest else None
