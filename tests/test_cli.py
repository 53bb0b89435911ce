"""The commands as a person types them, good input and bad."""

import csv
import io
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from inception_serving import Client
from keras_inception.cli import _is_of_a_library, main
from keras_inception.data.text import printable
from tests.training.made_up import colour_model, make_run

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def server(models: Path) -> Iterator[str]:
    """``keras-inception serve`` in a process of its own; HOST:PORT."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "keras_inception",
            "serve",
            models,
            "--port",
            "0",
            "--rest-port",
            "0",
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("gRPC on "), process.communicate()
    yield line.split()[-1]
    process.send_signal(signal.SIGTERM)
    log = process.communicate(timeout=30)[1]
    assert process.returncode == 0
    # The decoders write to it themselves; TensorFlow's start-up lines are not there.
    assert not re.search(r"^([IWE]\d{4} |WARNING: All log)", log, re.MULTILINE), log


def fails(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run a command that must fail; its one line."""
    assert main([str(argument) for argument in arguments]) == 1
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    assert captured.err.startswith(f"keras-inception {arguments[0]}: ")
    return captured.err.removeprefix(f"keras-inception {arguments[0]}: ")


def test_a_run_is_trained_from_the_command_line(photos: Path, tmp_path: Path) -> None:
    """As a process, since this is what a newcomer does first: its output is looked at whole."""
    answer = subprocess.run(
        [sys.executable, "-m", "keras_inception", "train", photos, "--output", tmp_path / "run",
         "--recipe", "small", "--width", "0.125", "--epochs", "1", "--batch-size", "12"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert "36 training and 4 validation images of 2 classes" in answer.stdout
    assert re.search(r"Epoch 1/1: loss .*; validation loss .*, accuracy ", answer.stdout)
    assert f"The run is in {tmp_path / 'run'}" in answer.stdout
    assert answer.stderr == ""
    recipe = (tmp_path / "run" / "recipe.yaml").read_text()
    assert "batch_size: 12\n" in recipe and "width: 0.125\n" in recipe


def test_evaluate_prints_a_table_and_writes_json(
    run, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(photos, tmp_path / "photos")
    (folder / "dusk" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    written, drawn = tmp_path / "e.json", tmp_path / "reliability.png"
    arguments = ["evaluate", run.path, folder, "--json", written, "--figure", drawn]
    assert main([str(argument) for argument in arguments]) == 0
    captured = capsys.readouterr()
    assert "of 40 images" in captured.out and "loss 0." in captured.out
    assert "Protocol: shorter side to 36.57 pixels, the centre of 32 x 32" in captured.out
    assert "Left out: 1 file" in captured.err and "broken.jpg" in captured.err
    assert drawn.read_bytes().startswith(b"\x89PNG")
    result = json.loads(written.read_text())
    assert result["images"] == 40
    assert sum(map(sum, result["confusion"])) == 40
    assert result["accuracy"] > 0.9
    assert result["classes"]["dawn"]["recall"] > 0.9 and result["classes"]["dawn"]["images"] == 20
    assert 0 <= result["ece"] == result["calibration"]["ece"] < 0.5
    assert result["protocol"]["crops"] == 1 and result["protocol"]["preprocessing"]["size"] == 32
    assert result["data"]["source"] == str(folder)
    assert result["left_out"][0]["image"].endswith("broken.jpg")
    assert result["model"] == {"using": str(run.path), "kind": "run"}
    assert "tensorflow" in result["versions"]


def test_evaluate_takes_the_runs_own_validation_images(
    run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(run.path)]) == 0
    assert "Accuracy 1.0000 (4 of 4 images)" in capsys.readouterr().out


def test_run_export_and_server_answer_alike(
    run, models: Path, server: str, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = []
    for using in (run.path, models / "photos" / "1", models / "photos", f"{server}/photos"):
        assert main(["predict", str(photos), "--with", str(using), "--format", "json"]) == 0
        answers.append(json.loads(capsys.readouterr().out))
        assert main(["evaluate", str(using), str(photos)]) == 0
        assert "of 40 images" in capsys.readouterr().out
    for answer in answers[1:]:
        for one, other in zip(answers[0], answer, strict=True):
            assert one["image"] == other["image"]
            scores = dict(zip(other["labels"], other["scores"], strict=True))
            for label, score in zip(one["labels"], one["scores"], strict=True):
                assert scores[label] == pytest.approx(score, abs=1e-4)


def test_export_writes_configs_and_shows_itself(
    checked_here, run, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a .keras file, with the user's own images to compare on."""
    arguments = ["export", run.path / "model.keras", tmp_path / "models", "--name", "m",
                 "--labels", run.path / "labels.txt", "--samples", photos / "dusk",
                 "--configs", tmp_path / "configs"]  # fmt: skip
    assert main([str(argument) for argument in arguments]) == 0
    assert main(["export", "--show", str(tmp_path / "models" / "m")]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"parity: images +│ 20 ", shown)
    assert re.search(r"labels +│ dawn, dusk ", shown)
    from google.protobuf import text_format
    from tensorflow.core.protobuf import config_pb2
    from tensorflow_serving.config import model_server_config_pb2

    config = text_format.Parse(
        (tmp_path / "configs" / "models.config").read_text(),
        model_server_config_pb2.ModelServerConfig(),
    )
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path) == ("m", "/models/m")  # as compose.yaml mounts them
    session = text_format.Parse(
        (tmp_path / "configs" / "session_config.pbtxt").read_text(), config_pb2.ConfigProto()
    )
    assert session.gpu_options.allow_growth
    batching = (tmp_path / "configs" / "batching_params.pbtxt").read_text()
    assert "max_batch_size { value: 8 }" in batching
    assert (tmp_path / "configs" / "monitoring.config").exists()


def test_predict_writes_csv_a_table_and_a_picture(
    run, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = photos / "dawn" / "00.jpg"
    assert main(["predict", str(image), "--with", str(run.path), "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["rank"] for row in rows] == ["1", "2"]
    assert {row["label"] for row in rows} == {"dawn", "dusk"}
    figure = tmp_path / "figure.png"
    assert main(["predict", str(photos), "--with", str(run.path), "--figure", str(figure)]) == 0
    assert re.search(r"dawn +[01]\.\d{3}", capsys.readouterr().out)
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_webp_is_read_everywhere(
    run, models: Path, server: str, photos: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    image = tmp_path / "photo.webp"
    with Image.open(photos / "dawn" / "00.jpg") as photo:
        photo.save(image)
    for using in (run.path, models / "photos", f"{server}/photos"):
        assert main(["predict", str(image), "--with", str(using), "--format", "json"]) == 0
        assert json.loads(capsys.readouterr().out)[0]["labels"][0] == "dawn"


def test_an_image_the_decoder_refuses_is_named_and_the_others_predicted(
    run, models: Path, server: str, photos: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    shutil.copy(photos / "dawn" / "00.jpg", tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes(b"\xff\xd8\xff broken")
    (tmp_path / "c.jpg").write_text("I am text.")
    shutil.copy(photos / "dusk" / "01.png", tmp_path / "d.png")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "e.jpg").write_text("I am hidden.")
    for using in (run.path, models / "photos", f"{server}/photos"):
        code = main(["predict", str(tmp_path), "--with", str(using), "--format", "json"])
        captured = capsys.readouterr()
        assert code == 1
        note, *errors = captured.err.strip().splitlines()
        assert "Left out: 1 hidden (such as .cache)." in note
        assert len(errors) == 2
        assert "b.jpg: it is a damaged JPEG, or one that is cut off" in errors[0]
        assert "c.jpg" in errors[1]
        answered = [bool(each["labels"]) for each in json.loads(captured.out)]
        assert answered == [True, False, False, True]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "{tmp}", "--output", "{tmp}/run"], "{tmp} holds no images"),
        (["train", "{tmp}/nowhere", "--output", "{tmp}/run"], "nowhere does not exist"),
        (["train", "{photos}", "--output", "{tmp}/run", "--model", "ResNet"], "'ResNet'"),
        (["train", "{photos}", "--output", "{tmp}/run", "--recipe", "x"], "recipes are: default"),
        (["train", "{photos}", "--output", "{tmp}/run", "--epochs", "x"], "`epochs` must be a"),
        (["train", "{photos}", "--output", "{run}"], "exists already"),
        (["evaluate", "{tmp}", "{photos}"], "{tmp} is neither a run, nor a SavedModel"),
        (["evaluate", "localhost:1/m"], "Name a folder to evaluate localhost:1/m on"),
        (["evaluate", "{run}", "{tmp}"], "{tmp} holds no images"),
        (["report", "{tmp}"], "{tmp} is no run"),
        (["export", "{tmp}", "{tmp}/models", "--name", "m"], "{tmp} is no run"),
        (["export", "{run}", "{tmp}/models", "--name", "a/b"], "name='a/b'"),
        (["export", "{run}", "{tmp}/models"], "An export needs --name"),
        (["export", "{run}", "", "--name", "m"], "An export needs BASE"),
        (
            ["export", "{tmp}/no.keras", "{tmp}/m", "--name", "m"],
            "no file or folder {tmp}/no.keras",
        ),
        (["export", "{models}/photos", "{tmp}/m", "--name", "m"], "is a SavedModel already"),
        (["export", "{run}", "{tmp}/models", "--name", "m", "--labels", "x"], "has its class"),
        (["export", "--show", "{tmp}"], "{tmp} is no export of ours"),
        (["export", "{run}/model.keras", "{tmp}/models", "--name", "m"], "give --labels"),
        (["serve", "{tmp}", "--port", "0"], "No model to serve in {tmp}"),
        (["serve", "{run}"], "{run} is a run, and a server takes what `export` writes. First: "),
        (["serve", "{run}/model.keras"], "keras-inception export {run}/model.keras models --name"),
        (["predict", "{photos}", "--with", "{tmp}"], "{tmp} is neither a run"),
        (["predict", "{tmp}/no.jpg", "--with", "{run}"], "no image or folder {tmp}/no.jpg"),
        (["predict", "{photos}", "--with", "localhost:1/m"], "No server answers on localhost:1"),
        (["predict", "{photos}", "--with", "localhost:1"], "a server's address without a model:"),
        (["predict", "{photos}", "--with", "localhost:1/m/x"], "where VERSION is a number."),
        (["predict", "{photos}", "--with", "http://h:8501/v1/models/m"], "such as h:8500/photos"),
        (["predict", "{photos}", "--with", "{models}"], "name one, such as {models}/photos."),
        (["predict", "{photos}", "--with", ""], "'' is neither a run"),
        (["predict", "{photos}", "--with", "{run}/model.keras"], "tells neither class names nor"),
        (["evaluate", "{run}", "--labels", "{run}/labels.txt"], "--labels: only for a model on a"),
        (["evaluate", "{models}/photos", "{photos}", "--activation", "softmax"], "leave it out"),
        (["train", "{photos}", "--output", "{run}/run.json"], "is a file, and a run is a folder"),
        (["serve", ""], "BASE needs a name"),
        (["serve", "{tmp}/no"], "There is no folder {tmp}/no"),
        (["serve", "{models}", "--port", "8500", "--rest-port", "8500"], "must differ"),
        (["describe", "ResNet50"], "'ResNet50'"),
    ],
)
def test_bad_input_is_answered_in_a_line_and_leaves_nothing(
    arguments: list[str], message: str, run, models: Path, photos: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    places = {"tmp": tmp_path, "photos": photos, "run": run.path, "models": models}
    said = fails(capsys, *(argument.format(**places) for argument in arguments))
    assert message.format(**places) in said
    assert list(tmp_path.iterdir()) == []


def test_two_versions_are_served_and_compared(models: Path, photos: Path, tmp_path: Path) -> None:
    base = shutil.copytree(models, tmp_path / "models")
    shutil.copytree(base / "photos" / "1", base / "photos" / "2")
    command = [sys.executable, "-m", "keras_inception", "serve", str(base), "--num-versions", "2"]
    with subprocess.Popen(
        [*command, "--port", "0", "--rest-port", "0"], cwd=ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            with Client(process.stdout.readline().split()[-1], model="photos") as client:
                (both,) = client.compare([photos / "dawn" / "00.jpg"], 1, 2)
        finally:
            process.send_signal(signal.SIGTERM)
    assert (both.one.version, both.other.version) == (1, 2)
    assert both.agree and both.one.label == "dawn"


def test_one_class_is_refused(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(photos / "dawn", tmp_path / "data" / "dawn")
    said = fails(capsys, "train", tmp_path / "data", "--output", tmp_path / "run")
    assert "at least two classes" in said
    assert not (tmp_path / "run").exists()


def test_a_port_in_use_is_named(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = fails(capsys, "serve", models, "--port", port, "--rest-port", "0")
    assert f"127.0.0.1:{port}" in said and "in use" in said


def test_a_model_the_server_does_not_have_is_named(
    server: str, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = fails(capsys, "predict", photos, "--with", f"{server}/flowers")
    assert "Servable not found for request: Latest(flowers). There is no model 'flowers'" in said
    said = fails(capsys, "predict", photos, "--with", f"{server}/photos/7")
    assert "Specific(photos, 7). The versions of 'photos' there: 1 (AVAILABLE)." in said


def test_status_shows_versions_and_signatures_and_loads_no_tensorflow(
    server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    script = (
        "import sys; from keras_inception.cli import main\n"
        f"code = main(['status', '{server}/photos'])\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)\n"
        "sys.exit(code)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert re.search(r"1 +AVAILABLE", answer.stdout) and answer.stderr == ""
    assert "  serving_default(image_bytes: string [?]) -> (classes: string [" in answer.stdout
    assert "address without a model: HOST:PORT/NAME" in fails(capsys, "status", server)
    assert "HOST:PORT/NAME. Received: 'photos'" in fails(capsys, "status", "photos")
    said = fails(capsys, "status", f"{server}/photos/7")
    assert "Could not find version 7 of model photos" in said


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ([], "usage: keras-inception"),
        (["fly"], "usage: keras-inception"),
        (["predict", "x"], "arguments are required: --with\n"),
        (["train"], "arguments are required: DATA\n"),
    ],
)
def test_a_command_half_typed_shows_what_it_lacks(
    arguments: list[str], shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert shown in capsys.readouterr().err


def test_what_libraries_refuse_is_a_line_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], photos: Path
) -> None:
    """Of whatever kind it is; our own mistakes show in full."""
    import keras

    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"junk")
    image = photos / "dawn" / "00.jpg"
    assert "DecodeError" in fails(capsys, "predict", image, "--with", tmp_path / "1")
    with pytest.raises(ValueError) as within:
        keras.layers.deserialize(3)
    assert _is_of_a_library(within.value)
    with pytest.raises(AttributeError) as ours:
        printable(3)  # type: ignore[arg-type]
    assert not _is_of_a_library(ours.value)


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [("predict x.jpg --with RUN --figure {folder}", "no picture's name, which ends in .png"),
     ("predict x.jpg --with RUN --figure nowhere/x.png", "is its folder there"),
     ("evaluate RUN DATA --json nowhere/x.json", "is its folder there"),
     ("evaluate RUN DATA --figure {folder}", "no picture's name, which ends in .png"),
     ("evaluate RUN DATA --figure x.txt", "no picture's name, which ends in .png"),
     ("predict x.jpg --with RUN --figure x", "no picture's name, which ends in .png"),
     ("evaluate RUN DATA --json setup.cfg/x.json", "can't be written: Not a directory"),
     ("evaluate RUN DATA --json {long}", "can't be written: File name too long"),
     ("report RUN --output setup.cfg/x.html", "can't be written: Not a directory"),
     ("serve BASE --num-versions 0", "no whole number of at least 1"),
     ("report RUN --output nowhere/x.html", "is its folder there"),
     ("augment-preview DATA --output nowhere/x.png", "is its folder there"),
     ("describe InceptionV3 --figure nowhere/x.svg", "is its folder there"),
     ("data records DATA OUT --validation-fraction 1", "at least 0 and below 1"),
     ("data records DATA OUT --validation-fraction nan", "at least 0 and below 1"),
     ("data records DATA OUT --seed -1", "at least 0")],
)  # fmt: skip
def test_what_can_be_known_is_said_before_any_work(
    arguments: str, rule: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments.format(folder=tmp_path, long="x" * 300).split())
    assert rule in " ".join(capsys.readouterr().err.split())


def test_damaged_runs_are_refused_in_a_line(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "whole", colour_model(2), ("dawn", "dusk"), [])

    def damaged(name: str, content: str | None) -> Path:
        copy = Path(shutil.copytree(run.path, tmp_path / f"{name} {content}"))
        (copy / name).unlink()
        if content is not None:
            (copy / name).write_text(content)
        return copy

    image = photos / "dawn" / "00.jpg"
    for name, content, rule in (
        ("run.json", "[]", "run.json can't be read"),
        ("run.json", "{}", "run.json can't be read: it has no 'preprocessing'"),
        ("run.json", '{"format": "x"}', "run.json can't be read"),
        ("labels.txt", None, "it has no labels.txt"),
        ("recipe.yaml", None, "it has no recipe.yaml"),
    ):
        assert rule in fails(capsys, "predict", image, "--with", damaged(name, content))
    cut = damaged("model.keras", "PK, and no more")
    assert "model.keras is cut off or damaged" in fails(capsys, "predict", image, "--with", cut)
    assert "validation.csv is not as" in fails(capsys, "evaluate", damaged("validation.csv", "x\n"))
    history = damaged("history.csv", "epoch,loss\n1,abc\n")
    assert "history.csv is not as training wrote it" in fails(capsys, "report", history)
    assert "needs a name" in fails(capsys, "predict", "", "--with", run.path)
    assert "need a source" in fails(capsys, "data", "check", "")


def test_a_setting_is_searched_once(capsys: pytest.CaptureFixture[str]) -> None:
    twice = ["--search", "learning_rate=0.1..0.2", "--search", "learning-rate=1,2"]
    error = fails(capsys, "tune", "photos", *twice, "--output", "found")
    assert error == "`search` must name a setting once. Received: learning_rate 2 times\n"
