"""The commands that the documents show for settings, run as they stand on small photos."""

import re
import shlex
from pathlib import Path

import pytest

from keras_inception.cli import main
from keras_inception.runs.run import Run, RunError, open_run
from tests.training.test_train import one_convolution

ROOT = Path(__file__).parents[2]
SMALL = ["--image-size", "28", "--stem", "small", "--epochs", "2", "--batch-size", "8"]


def shown(document: str, option: str) -> list[str]:
    """The arguments of the one command in a document that has an option."""
    lines = re.findall(r"^    keras-inception (.*)$", (ROOT / document).read_text("utf-8"), re.M)
    (line,) = (each for each in lines if option in each)
    return shlex.split(line)


@pytest.mark.parametrize(
    "option",
    [
        *("--best-epoch-metric", "--calibrate", "--oversample", "--loss focal"),
        *("--positive-weight", "--gradient-accumulation-steps", "--schedule polynomial"),
    ],
)
def test_what_the_page_on_training_shows_trains(
    option: str, fast: None, photos: Path, tmp_path: Path
) -> None:
    arguments = shown("docs/training.md", option)
    places = {"DATA": str(photos), "runs/mine": str(tmp_path / "run")}
    assert main([places.get(each, each) for each in arguments] + SMALL) == 0
    assert open_run(tmp_path / "run").finished


def test_settings_that_are_given_again_are_no_others(
    fast: None, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those that are not given are the run's, and one that needs them is no contradiction."""
    begun = ["train", str(photos), "--output", str(tmp_path / "run")]
    assert main([*begun, *SMALL, "--optimizer", "rmsprop", "--precision", "float32"]) == 0
    again = [*begun, "--resume", "--epochs", "2", "--momentum", "0.9"]
    assert main(again) == 1
    said = capsys.readouterr().err
    assert "Received otherwise: momentum=0.9 (the run's: None). To" in said
    assert main([*again[:-1], "none"]) == 0
    assert main([*begun, "--resume", "--epochs", "3", "--optimizer", "sgd"]) == 1
    said = capsys.readouterr().err
    assert "otherwise: epochs=3 (the run's: 2); optimizer=sgd (the run's: rmsprop). To" in said


def test_what_the_page_on_training_shows_learns_from_a_teacher(
    run: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keras_inception.training.train.build", one_convolution)
    arguments = shown("docs/training.md", "--teacher")
    small = str(tmp_path / "run")
    places = {"DATA": str(photos), "runs/large": str(run.path), "runs/small": small}
    assert main([places.get(each, each) for each in arguments] + SMALL) == 0
    assert open_run(small).recipe.teacher == str(run.path)


@pytest.mark.slow
def test_what_the_page_on_training_shows_of_growing_images(
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The sizes that it says, of the network that it says; and not trained, which takes hours."""
    monkeypatch.setattr("keras_inception.training.train.fit", stop)
    arguments = shown("docs/training.md", "--image-size-start")
    monkeypatch.chdir(tmp_path)
    assert main([str(photos) if each == "DATA" else each for each in arguments]) == 1
    said = capsys.readouterr()
    assert "Training images grow: 128, 160, 192, 224 pixels" in said.out
    assert "no training here" in said.err


def stop(*arguments: object) -> None:
    raise RunError("no training here")


def test_what_the_page_on_scale_shows_needs_the_devices_that_it_names(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its settings are taken; there is one processor here."""
    arguments = shown("docs/scale.md", "--no-sync-batch-norm")
    assert main([str(photos) if each == "DATA" else each for each in arguments]) != 0
    assert "`devices` must be at most 1" in capsys.readouterr().err


def test_what_the_page_on_evaluation_shows_predicts_by_two_crops(
    run: Run, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = shown("docs/evaluation.md", "predict ANOTHER.jpg")
    places = {"RUN": str(run.path), "ANOTHER.jpg": str(photos / "dawn" / "00.jpg")}
    assert main([places.get(each, each) for each in arguments]) == 0
    assert "dawn" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--augment-flip-vertical", "--augment-crop-evenly"])
def test_what_the_page_on_augmentation_shows_is_drawn(
    option: str, photos: Path, tmp_path: Path
) -> None:
    arguments = shown("docs/augmentation.md", option)
    output = tmp_path / "seen.png"
    given = [str(photos) if each in ("CELLS", "PHOTOS") else each for each in arguments]
    assert main([*given, "--image-size", "64", "--output", str(output)]) == 0
    assert output.is_file()


@pytest.mark.slow
def test_what_the_page_on_training_shows_fine_tunes(run: Run, photos: Path, tmp_path: Path) -> None:
    """From a run's weights, which need no download."""
    arguments = shown("docs/training.md", "--layer-decay")
    places = {"DATA": str(photos), "runs/mine": str(tmp_path / "run")}
    here = f"--weights {run.path} --model InceptionV1 --width 0.125 --head-epochs 1".split()
    given = [places.get(each, each) for each in arguments]
    assert main([*given, *SMALL, *here]) == 0
    assert open_run(tmp_path / "run").recipe.layer_decay == 0.9


def test_what_the_page_on_evaluation_shows_fits_thresholds(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With images of one class, of both and of none."""
    monkeypatch.setattr("keras_inception.training.train.build", one_convolution)
    lines = [
        f"{path},{labels}"
        for number, path in enumerate(sorted(photos.glob("*/*")))
        for labels in [(path.parent.name, "dawn|dusk", "")[number % 3]]
    ]
    (tmp_path / "several.csv").write_text("\n".join(["path,label", *lines]) + "\n")
    arguments = shown("docs/evaluation.md", "--fit-thresholds")
    places = {"several.csv": str(tmp_path / "several.csv"), "runs/mine": str(tmp_path / "run")}
    assert main([places.get(each, each) for each in arguments] + SMALL) == 0
    assert list(open_run(tmp_path / "run").thresholds) == ["dawn", "dusk"]


def test_the_python_of_the_page_on_training_trains(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = (ROOT / "docs/training.md").read_text("utf-8")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "DATA").symlink_to(photos)
    monkeypatch.setattr("keras_inception.training.train.build", one_convolution)
    (block,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    exec(block, {})
    said = capsys.readouterr().out
    assert "told of epoch 2 ['accuracy', 'loss', 'val_accuracy', 'val_loss']" in said
