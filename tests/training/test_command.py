"""`keras-inception train --dry-run` and `keras-inception recipes`, as typed."""

import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from keras_inception.cli import main
from keras_inception.runs.named_recipes import NOTES, RECIPES, load_recipe
from keras_inception.runs.run import Run

ROOT = Path(__file__).parents[2]


def test_recipes_are_listed_with_what_they_are_for(capsys) -> None:
    assert main(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(RECIPES)
    assert all(len(line) <= 110 for line in lines)


@pytest.mark.parametrize("name", RECIPES)
def test_what_is_printed_can_be_given_back(name: str, capsys, tmp_path: Path) -> None:
    assert main(["recipes", name]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"# {NOTES[name].splitlines()[0]}")
    (tmp_path / "mine.yaml").write_text(printed)
    assert load_recipe(str(tmp_path / "mine.yaml")) == RECIPES[name]


@pytest.mark.parametrize("command", ["train", "augment-preview"])
def test_an_unknown_setting_is_refused_with_the_nearest(command: str, capsys) -> None:
    with pytest.raises(SystemExit):
        main([command, "PHOTOS", "--lerning-rate", "0.1"])
    assert "--lerning-rate 0.1. Did you mean '--learning-rate'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["predict", "x", "--with", "RUN", "--treshold", "1"], "--treshold 1. Did you mean '--th"),
        (["data", "check", "PHOTOS", "--tracback"], "--tracback. Did you mean '--traceback'?"),
        (["train", "PHOTOS", "--no-aix"], "--no-aix. Did you mean '--no-aux'?"),
        (["train", "PHOTOS", "zzz"], "unrecognized arguments: zzz."),
        (["train", "PHOTOS", "--stem", "huge"], "argument --stem: invalid choice: 'huge'"),
    ],
)
def test_every_command_refuses_what_it_does_not_know(
    arguments: list[str], hint: str, capsys
) -> None:
    """In two lines, without pages of usage; `data` has commands of its own."""
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    said = capsys.readouterr().err
    assert stopped.value.code == 2
    assert hint in said
    assert said.startswith("keras-inception " + arguments[0])
    assert re.search(r"^.*\nAll that it takes: keras-inception [a-z ]+ --help\n$", said)


def test_a_contradiction_is_refused_by_name(capsys) -> None:
    assert main(["train", "PHOTOS", "--output", "RUN", "--epsilon", "1"]) == 1
    assert "`epsilon` must be left out with optimizer=sgd" in capsys.readouterr().err


def test_what_a_recipe_sets_can_be_left_out(tmp_path: Path, capsys) -> None:
    """By the options that the note of a recipe names, of which the last alone do not do."""
    note = " ".join(NOTES["paper-v1"].split())
    (options,) = re.findall(r"these crops: (--.*)\.$", note)
    nowhere = ["train", str(tmp_path / "nowhere"), "--output", str(tmp_path / "run")]
    given = shlex.split(options)
    assert main([*nowhere, "--recipe", "paper-v1", *given]) == 1
    assert "nowhere does not exist" in capsys.readouterr().err
    assert main([*nowhere, "--recipe", "paper-v1", "--optimizer", "rmsprop"]) == 1
    assert "nowhere does not exist" in capsys.readouterr().err, "it has no Nesterov to leave out"
    assert main([*nowhere, "--recipe", "paper-v1", *given[4:]]) == 1
    said = capsys.readouterr().err
    assert "`decay_rate` must be left out with schedule=polynomial" in said
    assert "what a recipe sets is left out by `none`" in said


def test_a_run_needs_a_folder(capsys) -> None:
    assert main(["train", "PHOTOS"]) == 1
    assert "--output RUN" in capsys.readouterr().err


SETTINGS = ["--recipe", "small", "--width", "0.125", "--batch-size", "8", "--epochs", "12"]


def run(*arguments: object) -> tuple[float, float, str]:
    """Seconds, memory in bytes and output of a command."""
    command = [sys.executable, "-m", "keras_inception", "train", *map(str, arguments), *SETTINGS]
    start = time.monotonic()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return time.monotonic() - start, usage.ru_maxrss * 1024, output


@pytest.mark.slow
def test_the_estimate_is_near_what_happens(photos: Path, tmp_path: Path) -> None:
    """Within 30 %; other programs on the machine may disturb one comparison, but not all."""
    for attempt in range(4):
        _, _, told = run(photos, "--dry-run")
        seconds, memory, _ = run(photos, "--output", tmp_path / f"run{attempt}")
        estimate = re.search(r"Time: ([\d.]+) (s|min) in all", told)
        size = re.search(r"Memory: ([\d.]+) GB", told)
        assert estimate and size
        estimated = float(estimate[1]) * (60 if estimate[2] == "min" else 1)
        assert float(size[1]) * 1e9 == pytest.approx(memory, rel=0.3)
        assert "Steps: 4 of 8 images an epoch, 12 epochs: 48" in told
        if estimated == pytest.approx(seconds, rel=0.3):
            return
    raise AssertionError(f"estimated {estimated} s, took {seconds} s")


def test_a_dry_run_writes_nothing(photos: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    from tests.training.test_train import one_convolution

    monkeypatch.setattr("keras_inception.training.train.build", one_convolution)
    monkeypatch.setattr("keras_inception.training.estimate._SECONDS", 0.1)
    monkeypatch.chdir(tmp_path)
    code = main(
        ["train", str(photos), "--dry-run", *SETTINGS, "--ema", "0.9", "--image-size", "28"]
    )
    assert code == 0
    told = capsys.readouterr().out
    for part in ("Parameters: ", "Steps: 4 of", "by sgd", "Memory: ", "Nothing was written."):
        assert part in told
    assert not list(tmp_path.iterdir())


@pytest.fixture
def trained(request: pytest.FixtureRequest) -> Run:
    found: Run = request.getfixturevalue("run")  # a name that this file has for a command
    return found


def test_settings_are_refused_before_an_image_is_looked_at(
    trained: Run, photos: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    """Whatever is wrong with them, and on a million images."""
    (tmp_path / "junk.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(400))
    (tmp_path / "1.yaml").write_text("1: 2\n")
    (tmp_path / "text").write_text("")
    (tmp_path / "others" / "owl").mkdir(parents=True)
    (tmp_path / "others" / "owl" / "1.jpg").write_bytes(b"x")
    monkeypatch.setattr(
        "keras_inception.data.preparation.prepare._check",
        lambda *arguments: pytest.fail("an image was looked at"),
    )
    refused = {
        "--model InceptionV9": "a network of the family",
        "--variant nope": "`variant` must be one of",
        "--recipe small --image-size 10": "at least 28 x 28",
        "--image-size 40": "at least 75 x 75",
        "--weights nowhere.h5": "a file that exists",
        "--weights junk.h5": "damaged",
        "--weights imagenet:nope": "imagenet:slim/inception_v3",
        f"--weights {trained.path}": "Needed: inception_v3",
        f"--weights {trained.path} --model InceptionV1": "does not fit",
        f"--weights {trained.path} --recipe small --width 0.125 --trainable-from x": "inception_3a",
        f"--output {trained.path}": "never overwritten",
        "--output text/run": "no folder to be written to",
        "--devices 99": "at most",
        "--validation-data nowhere": "nowhere does not exist",
        "--validation-data others": "the model does not know: owl",
        "--best-epoch-metric mean_average_precision": "where every image is of one class",
        "--validation-fraction 0 --calibrate": "needs validation images",
        "--learning-rate inf": "`learning_rate` must be finite and above 0",
        "--recipe 1.yaml": "no setting '1'",
        "--encoding gbk": "for tables",
    }  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for settings, rule in refused.items():
        arguments = ["train", str(photos), "--output", "new", *settings.split()]
        assert main(arguments) == 1, settings
        said = capsys.readouterr().err
        assert rule in said and said.count("\n") == 1, said
        assert not (tmp_path / "new").exists()
