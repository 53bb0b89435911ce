"""The model card: what is known is in it, what is not is said, and what it tells to type works."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import markdown_it
import numpy as np
import pytest

from inception_export import open_export
from inception_export.card.model_card import CARD, model_card
from inception_export.export import MANIFEST
from inception_export.publish import export_run, export_saved_model
from inception_serving.server import ModelServer
from keras_inception.runs.run import Run
from tests.training.made_up import HOW, colour_model, make_run

LABELS = ("red", "yellow", "green")


def rows(text: str, title: str) -> dict[str, list[str]]:
    """The cells of the first table of a section, by those of its first column, as rendered."""
    html = markdown_it.MarkdownIt("commonmark").enable("table").render(text)
    section = html.split(f"<h2>{title}</h2>")[1] if title else html
    body = section.split("<tbody>")[1].split("</tbody>")[0]
    cells = [re.findall("<td>(.*?)</td>", row) for row in body.split("</tr>")[:-1]]
    plain = [[re.sub("<[^>]+>", "", each) for each in row] for row in cells]
    return {first: rest for first, *rest in plain}


def test_a_runs_export_tells_of_data_recipe_and_accuracy(models: Path, run: Run) -> None:
    card = (models / "photos" / "1" / CARD).read_text("utf-8")
    assert card.startswith("# photos, version 1\n")
    data, sha256 = run.record["data"], open_export(models / "photos").manifest["weights"]["sha256"]
    told = rows(card, "")
    assert told["network"] == ["InceptionV1 (inception_v1)"]
    assert told["weights"] == [f"model.keras, SHA-256 {sha256}"]
    told = rows(card, "Training data")
    assert told["training images"] == ["36"]
    assert told["validation images"] == ["4, set apart from the same source"]
    assert told["hash of the training images' names and classes"] == [data["fingerprint"]]
    assert "| dawn | 18 |\n| dusk | 18 |" in card
    told = rows(card, "Training")
    assert told["width"][0] == "0.125"
    assert "seed" not in told, "which is the default"
    # Wilson's interval of 4 right of 4: 4 / (4 + 1.96²) = 0.5101 to 1.
    (accuracy,) = (row for name, row in rows(card, "Accuracy").items() if "best class" in name)
    assert accuracy == ["1.0000", "0.5101 to 1.0000"]
    for name in ("macro_f1", "mean_roc_auc"):
        low, high = run.record["validation_intervals"][name]
        (row,) = (row for about, row in rows(card, "Accuracy").items() if about.startswith(
            {"macro_f1": "macro F1", "mean_roc_auc": "ROC AUC"}[name]))  # fmt: skip
        assert row[1] == f"{low:.4f} to {high:.4f}"
    told = rows(card, "Input")
    assert told["resized"] == [
        "the shorter side to 36.57 pixels, the shape kept; bilinear, antialiased"
    ]
    assert told["scaled"] == ["(pixel - 127.5) / 127.5, pixels 0 to 255"]
    told = rows(card, "Signatures")
    assert told["serving_default"] == [
        "image_bytes: string [any]",
        "classes: string [any, 2], scores: float [any, 2]",
    ]
    assert told["predict_images"][0] == "images: uint8 [any, any, any, 3]"
    assert set(told) == set(open_export(models / "photos").signatures)
    assert "Fewer than 30 training images: dawn (18), dusk (18)." in card
    assert rows(card, "Software")["keras"] == [run.record["versions"]["keras"]]


def test_what_it_tells_to_type_works(
    models: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    card = (models / "photos" / "1" / CARD).read_text("utf-8")
    shutil.copy(photos / "dusk" / "00.jpg", tmp_path / "IMAGE.jpg")
    monkeypatch.chdir(tmp_path)
    (python,) = re.findall(r"^```python\n(.*?)^```", card, re.MULTILINE | re.DOTALL)
    (curl,) = re.findall(r"^    (echo .*\\\n.*)$", card, re.MULTILINE)
    with ModelServer(models, rest_port=0) as server:
        exec(python.replace("localhost:8500", server.address), {})
        assert "labels=('dusk', 'dawn')" in capsys.readouterr().out
        command = curl.replace("http://localhost:8501", str(server.rest_address))
        answer = subprocess.run(["bash", "-c", command], capture_output=True, check=True)
    assert json.loads(answer.stdout)["predictions"][0]["classes"] == ["dusk", "dawn"]


def test_what_is_not_known_is_said(tmp_path: Path) -> None:
    target = export_saved_model(
        colour_model(3, "sigmoid"), tmp_path, "colours", labels=LABELS, preprocessing=HOW,
        precision="bfloat16", mirror=True, log=lambda line: None,
    )  # fmt: skip
    card = (target / CARD).read_text("utf-8")
    assert rows(card, "")["weights"] == ["unknown"]
    assert rows(card, "")["answers"] == [
        "a score for each class by itself (sigmoid), the mean of the image's and its mirror image's"
    ]
    sections = dict(part.split("\n\n", 1) for part in card.split("\n## ")[1:])
    for title in ("Training data", "Training", "Accuracy"):
        assert sections[title].startswith("Unknown")
    assert "red, yellow, green." in sections["Training data"]
    assert "arithmetic is bfloat16" in sections["Limits"]
    assert "add up to 1" not in card


def test_names_stay_names(tmp_path: Path) -> None:
    """Whatever the classes are called, and wherever the images were."""
    labels = ("a | b", "<script>", "[c](http://d)")
    made = make_run(tmp_path / "run", colour_model(3), labels, [])
    made.update_record(
        data={"training": "/a`b|c\nd", "training_images": 9, "training_counts": [2, 3, 40],
              "validation_images": 0, "left_out": ["e.jpg", "f.jpg"]},
        validation={},
    )  # fmt: skip
    target = export_run(made.path, tmp_path / "models", "m", log=lambda line: None)
    card = (target / CARD).read_text("utf-8")
    told = rows(card, "Training data")
    assert told["source"] == ["/a\u2019b|c d"]
    assert told["left out, since they can't be read"] == ["2"]
    html = markdown_it.MarkdownIt("commonmark").enable("table").render(card)
    assert "<script>" not in html and "<a href" not in html
    assert "<td>a | b</td>\n<td>2</td>" in html
    assert "Fewer than 30 training images: a | b (2), &lt;script&gt; (3)." in html
    assert json.loads((target / MANIFEST).read_text("utf-8"))["data"]["left_out"] == 2
    assert "Unknown: nothing was measured." in card


def test_many_classes_are_not_all_listed(models: Path, tmp_path: Path) -> None:
    """As of an export whose files say so; the accuracy on samples comes with its interval."""
    folder = shutil.copytree(models / "photos" / "1", tmp_path / "1")
    manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    names = [f"class {number}" for number in range(1000)]
    (folder / "assets" / "labels.txt").write_text("".join(f"{name}\n" for name in names))
    manifest["classes"] = 1000
    manifest["data"]["training_counts"] = np.arange(1000).tolist()
    manifest["samples"] = {"accuracy": 0.9, "images": 50, "recorded": 1.0}
    (folder / MANIFEST).write_text(json.dumps(manifest), "utf-8")
    card = model_card(open_export(folder), "many", 7)
    assert "class 99 and 900 more (`assets/labels.txt`)" in card
    assert "class 9 (9) and 20 more." in card
    # statsmodels.stats.proportion.proportion_confint(45, 50, method="wilson")
    assert "accuracy 0.9000 (95 % interval 0.7864 to 0.9565)" in card
