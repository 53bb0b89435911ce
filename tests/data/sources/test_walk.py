"""The walk through folders: every row of the table in docs/data.md, with what becomes of it."""

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from inception_serving.predictions.prediction import PredictionError
from inception_serving.walk import Walk
from keras_inception.data.errors import DataError
from keras_inception.data.sources import open_source
from keras_inception.data.sources.split_names import parts_of
from keras_inception.inference.predict import list_images

DOCS = Path(__file__).parents[3] / "docs" / "data.md"


def put(folder: Path, *names: str | bytes) -> None:
    for name in names:
        path = os.path.join(os.fsencode(folder), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(b"x")


def link(place: Path, to: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(to)


@dataclass(frozen=True)
class Row:
    """What lies in a folder beside cat/1.jpg and dog/1.jpg, and what is made of it."""

    make: Callable[[Path], None]
    counts: dict[str, int] | None = None  # images of each class; nothing but the two by default
    note: str = ""  # a pattern in the notes; none at all by default
    refused: str = ""


def within_a_class(folder: Path) -> None:
    put(folder, "cat/monday/early/2.jpg", "cat/tuesday/2")


def links(folder: Path) -> None:
    put(folder.parent / "disk", "lynx/1.jpg", "more/2.jpg", "more/deep/3.jpg")
    link(folder / "lynx", folder.parent / "disk" / "lynx")
    link(folder / "cat" / "disk", folder.parent / "disk" / "more")
    link(folder / "dog" / "2.jpg", folder / "dog" / "1.jpg")


def circles(folder: Path) -> None:
    link(folder / "cat" / "itself", folder / "cat")
    link(folder / "cat" / "all", folder)
    link(folder / "cat" / "above", folder.parent)
    link(folder / "cat" / "again", folder / "cat" / "monday")
    put(folder, "cat/monday/2.jpg")


def nothing_behind(folder: Path) -> None:
    link(folder / "cat" / "gone.jpg", folder / "nowhere.jpg")
    link(folder / "cat" / "below.jpg", folder / "cat" / "1.jpg" / "below.jpg")


def circle(folder: Path) -> None:
    link(folder / "cat" / "a", folder / "cat" / "b")
    link(folder / "cat" / "b", folder / "cat" / "a")


def devices(folder: Path) -> None:
    link(folder / "cat" / "zeros.jpg", Path("/dev/zero"))
    os.mkfifo(folder / "cat" / "pipe.jpg")


def private(folder: Path) -> None:
    put(folder, "cat/private/1.jpg")


def hidden(folder: Path) -> None:
    put(folder, ".DS_Store", ".Trash-1000/cat/1.jpg", "cat/._1.jpg", "cat/.thumbnails/1.jpg")


def systems(folder: Path) -> None:
    put(folder, "__MACOSX/cat/1.jpg", "cat/Thumbs.db", "cat/desktop.ini", "$RECYCLE.BIN/1.jpg")
    put(folder, "System Volume Information/x", "cat/@eaDir/1.jpg/SYNOFILE_THUMB_M.jpg")
    put(folder, "#recycle/cat/1.jpg", "@Recycle/1.jpg", "lost+found/1.jpg", "cat/Icon\r")
    put(folder, "@SynoEAStream/1.jpg", "TheVolumeSettingsFolder/1.jpg", "__pycache__/1.jpg")


def under_a_name(folder: Path) -> None:
    put(folder, "cat/1.jpg:Zone.Identifier", "cat/2.jpg\uf03aZone.Identifier", "cat/1.jpg~")
    put(folder, "dog/1.jpg@SynoEAStream", "dog/1.jpg:com.dropbox.attrs", "dog/~$1.jpg")
    put(folder, "dog/1.jpg_original", "dog/10:30.jpg")  # an image of half past ten


def other_kinds(folder: Path) -> None:
    put(folder, "cat/IMG_1.MOV", "cat/IMG_1.AAE", "cat/1.jpg.json", "cat/notes.txt", "labels.csv")
    put(folder, "cat/1.LRV", "cat/1.insv", "cat/1.jpg.pp3", "cat/1.webloc", "cat/README", "License")


def beside(folder: Path) -> None:
    put(folder, "1.jpg", "2.png")


def flat(folder: Path) -> None:
    folder.rename(folder.parent / "aside")
    put(folder, "1.jpg", "2.JPG", "3.heic", "notes.txt", "unknown.xyz")


def of_a_tool(folder: Path) -> None:
    put(folder, "@Odd/settings", "@Odd/deeper/cache.xyz")
    for name, content in (("owl/1", b"\xff\xd8\xff\xe0"), ("yak/1", b"\xff\x0a")):
        put(folder, name)
        (folder / name).write_bytes(content)


def once_more(folder: Path) -> None:
    put(folder, "photos/cat/1.jpg", "photos/dog/1.jpg", "cow/1.jpg", "photos/cow/1.jpg")


def mixed(folder: Path) -> None:
    put(folder, "train/1.jpg", "test/1.jpg", "no_label/1.jpg")


def empty(folder: Path) -> None:
    (folder / "owl" / "inner").mkdir(parents=True)
    put(folder, "newt/Thumbs.db")


def two_forms(folder: Path) -> None:
    put(folder, "K\u00e4fer/1.jpg", "Ka\u0308fer/2.jpg")


def no_text(folder: Path) -> None:
    put(folder, b"cat/M\xfcller.jpg", b"K\xe4fer/1.jpg")


def parts(folder: Path) -> None:
    folder.rename(folder.parent / "aside")
    put(folder, "training_set/cat/1.jpg", "test_set/cat/1.jpg", "Thumbs.db")


ROWS = {
    "`CLASS/1.jpg`, `CLASS/monday/1`": Row(within_a_class, {"cat": 3, "dog": 1}),
    "a linked file or folder": Row(links, {"cat": 3, "dog": 2, "lynx": 1}),
    "a link to a folder around it, or to one seen already in the class": Row(
        circles,
        {"cat": 2, "dog": 1},
        r"4 linked to a folder seen already \(such as cat/above\)\.$",
    ),
    "a link to nothing": Row(
        nothing_behind, note=r"Left out: 2 linked to nothing \(such as cat/\w+.jpg\)\.$"
    ),
    "a circle of links, `a -> b -> a`": Row(
        circle, note=r"Left out: 2 linked in a circle \(such as cat/\w\)\.$"
    ),
    "a device, a pipe or a socket, linked or not": Row(
        devices, note=r"Left out: 2 neither file nor folder \(such as cat/\w+.jpg\)\.$"
    ),
    "a folder that can't be opened": Row(
        private, note=r"Left out: 1 not to be opened \(such as cat/private\)\.$"
    ),
    "hidden files and folders: `.DS_Store`, `._1.jpg`, `.Trash-1000`, `.thumbnails`": Row(
        hidden, note=r"Left out: 4 hidden \(such as \.\w+"
    ),
    "what systems and tools leave: `__MACOSX`, `Icon`, `Thumbs.db`, `desktop.ini`, `$RECYCLE.BIN`,"
    " `System Volume Information`, `@eaDir`, `@SynoEAStream`, `#recycle`, `@Recycle`, `lost+found`,"
    " `TheVolumeSettingsFolder`, `__pycache__` and the like": (
        Row(systems, note=r"Left out: 13 left there by a system or a tool")
    ),
    "what they leave under an image's name: `1.jpg:Zone.Identifier`, `1.jpg@SynoEAStream`,"
    " `1.jpg~`, `1.jpg_original`": Row(
        under_a_name, {"cat": 1, "dog": 2}, r"Left out: 7 left there by a system or a tool"
    ),
    "other kinds by their suffix: films, sound, notes, sidecars, archives, programs, models"
    " (`.mov`, `.lrv`, `.insv`, `.aae`, `.pp3`, `.webloc`, `.json`, `.txt`, `.csv`, `.zip` ...);"
    " and `README`, `LICENSE` and their like": Row(
        other_kinds, note=r"Left out: 11 of other kinds by their names"
    ),
    "files beside the classes' folders": Row(
        beside, note=r"^2 files lie in .*, in no class's folder, and are left out: 1.jpg, 2.png$"
    ),
    "images only, and no folder for each class": Row(
        flat,
        refused=r"holds 3 images \(1\.jpg, 2\.JPG, 3\.heic\), but no folder for each class\. Left"
        r" out: 1 of other kinds .* Expected one folder for each class",
    ),
    "a folder where no file is an image by its suffix or its first bytes, whoever left it": Row(
        of_a_tool,
        {"cat": 1, "dog": 1, "owl": 1, "yak": 1},
        r"^Folders where no file is an image .* no classes: @Odd$",
    ),
    "a folder without any file": Row(empty, note=r"which are no classes: newt, owl"),
    "two folders of one name in Unicode's form NFC": Row(
        two_forms, {"K\u00e4fer": 2, "cat": 1, "dog": 1}
    ),
    "names that are not UTF-8": Row(no_text, {"K\\udce4fer": 1, "cat": 2, "dog": 1}),
    "nothing but parts of a data set: `training_set` and `test_set`, `train` and `val`,"
    " `train` and `test1`, `seg_train` and `seg_test`, `trainA` and `testA`, `treino` and `teste`,"
    " `tr` and `te`, `train` and `labels`, `fold1` and `fold2`": Row(
        parts,
        refused=r"holds parts of a data set \(test_set, training_set\), not classes\. Name one"
        r" of them, such as \S+/training_set; to validate on another: --validation-data"
        r" \S+/test_set\.$",
    ),
    "a folder that holds folders of the same names as all those beside it": Row(
        once_more,
        refused=r"photos/photos holds folders of the same names as those beside it"
        r" \(cat, cow, dog\), and so the data set once more\. Name it, or move it",
    ),
    "such parts among other folders; `no_label`, `unlabeled`, `unsorted`": Row(
        mixed,
        {"cat": 1, "dog": 1, "no_label": 1, "test": 1, "train": 1},
        r"^Taken for classes as the other folders are: no_label, test, train\. If they are parts",
    ),
}


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders called private can't be opened, whoever runs the tests."""
    scandir = os.scandir

    def refusing(folder: Path | bytes) -> object:
        if os.fsencode(folder).endswith(b"private"):
            raise PermissionError(13, "Permission denied", folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refusing)


@pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))
def test_what_lies_in_a_folder(row: Row, tmp_path: Path, locked: None) -> None:
    folder = tmp_path / "photos"
    put(folder, "cat/1.jpg", "dog/1.jpg")
    row.make(folder)
    if row.refused:
        with pytest.raises(DataError, match=row.refused):
            open_source(folder)
        return
    examples = open_source(folder)
    counts = dict(zip(examples.labels, examples.counts().tolist(), strict=True))
    assert counts == (row.counts or {"cat": 1, "dog": 1})
    said = "\n".join(examples.notes)
    assert bool(said) == bool(row.note), said
    assert re.search(row.note, said, re.MULTILINE), said
    said.encode("utf-8")
    assert all(examples.images.encoded(index) for index in range(len(examples)))


def test_the_table_in_the_docs_has_these_rows() -> None:
    section = DOCS.read_text("utf-8").split("\n## Folders\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.*?) \| .* \|$", section, re.MULTILINE)
    assert set(rows) == {"in a folder", "---", *ROWS}


def test_a_folder_listed_twice_is_listed_by_its_own_name(tmp_path: Path) -> None:
    put(tmp_path, "cat/z/1.jpg", "dog/1.jpg")
    link(tmp_path / "cat" / "a", tmp_path / "cat" / "z")
    assert Walk(tmp_path).files(b"cat") == [b"cat/z/1.jpg"]


def test_predict_and_samples_walk_alike(tmp_path: Path) -> None:
    for make in (within_a_class, links, circles, hidden, systems, other_kinds, no_text):
        folder = tmp_path / make.__name__ / "photos"
        put(folder, "cat/1.jpg", "dog/1.jpg", "loose.jpg")
        make(folder)
        trained = open_source(folder)
        names = [trained.images.name(index) for index in range(len(trained))]
        said: list[str] = []
        assert list_images([folder], said.append) == sorted([*names, f"{folder}/loose.jpg"])
        (walk := Walk(folder)).files()
        assert said == ([f"In {folder}: {walk.note()}"] if walk.left_out else [])
    put(tmp_path / "none", ".hidden.jpg", "notes.txt")
    with pytest.raises(
        PredictionError, match=r"holds no images\. Left out: 1 hidden.*; 1 of other"
    ):
        list_images([tmp_path / "none"])


@pytest.mark.parametrize(
    ("names", "splits"),
    [(["training_set", "test_set"], ["train", "test"]),
     (["train", "val"], ["train", "validation"]),
     (["train", "test1"], ["train", "test"]),
     (["Train", "VALID", "Test"], ["train", "validation", "test"]),
     (["seg_train", "seg_test", "seg_pred"], ["train", "test", "prediction"]),
     (["trainset", "testset"], ["train", "test"]),
     (["train2017", "val2017"], ["train", "validation"]),
     (["TrainingData", "test-images"], ["train", "test"]),
     (["flowers_train", "flowers_dev"], ["train", "validation"]),
     (["trainA", "testA", "trainB", "testB"], ["train", "test", "train", "test"]),  # CycleGAN
     (["cat_train", "cat_test", "dog_train", "dog_test"], ["train", "test", "train", "test"]),
     (["treino", "teste"], ["train", "test"]),
     (["Treinamento", "Valida\u00e7\u00e3o"], ["train", "validation"]),
     (["entrai\u0302nement", "test"], ["train", "test"]),  # as a Mac writes it
     (["\u5b66\u7fd2", "\u30c6\u30b9\u30c8"], ["train", "test"]),
     (["tr", "va", "te"], ["train", "validation", "test"]),
     (["train", "labels"], ["train", "annotations"]),
     (["images", "masks"], ["images", "annotations"]),
     (["JPEGImages", "Annotations", "SegmentationClass"], ["images", *["annotations"] * 2]),
     (["fold1", "fold2"], ["fold 1", "fold 2"]),
     (["with_mask", "without_mask"], []),  # classes
     (["photos", "pictures"], []),
     (["tea", "train"], []),
     (["steam_train", "test_tube"], []),  # two things
     (["train", "bus"], []),
     (["train", "training"], []),  # the same part
     (["train"], []),
     (["cat", "dog"], [])],
)  # fmt: skip
def test_parts_are_told_from_classes(names: list[str], splits: list[str]) -> None:
    assert list(parts_of(names).values()) == splits


def test_a_flat_part_is_said_to_need_folders(tmp_path: Path) -> None:
    put(tmp_path, "train/cat.1.jpg", "test1/1.jpg")
    with pytest.raises(DataError, match="In test1, train there is no folder for each class"):
        open_source(tmp_path)
    put(tmp_path, "train/cat/1.jpg", "train/dog/1.jpg")
    with pytest.raises(DataError, match=r"such as \S+/train; .* In test1 there is no folder"):
        open_source(tmp_path)


def test_classes_within_one_folder_are_pointed_at(tmp_path: Path) -> None:
    put(tmp_path, "photos/cat/1.jpg", "photos/dog/1.jpg")
    with pytest.raises(DataError, match=r"one: photos\. If .* \(cat, dog\), name \S+/photos\."):
        open_source(tmp_path)
    (tmp_path / "Takeout" / "Google Photos").mkdir(parents=True)
    (tmp_path / "photos").rename(tmp_path / "Takeout" / "Google Photos" / "mine")
    with pytest.raises(DataError, match=r"one: Takeout\. .*, name \S+/Google Photos/mine\."):
        open_source(tmp_path)


def test_a_million_files_would_be_listed_in_seconds(tmp_path: Path) -> None:
    put(tmp_path, *(f"{number % 2}/{number}.jpg" for number in range(20_000)))
    best = min(_seconds(lambda: open_source(tmp_path)) for _ in range(3))
    assert best / 20_000 < 100e-6  # about 3 are usual; a second walk or a stat each would show


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
