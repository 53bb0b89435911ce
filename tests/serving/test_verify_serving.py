"""A server's answers held against the export's record, and the record itself."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from inception_export.export import FORMAT, MANIFEST, SAMPLES
from inception_export.samples import MOST_RECORDED_BYTES, choose_recorded, record_answers
from inception_serving import ModelServer, messages
from inception_serving.client import export_record
from inception_serving.client.export_record import read_export_record
from inception_serving.client.verify_serving import _compare_ranked, verify_serving
from inception_serving.tensors import to_proto
from keras_inception.cli import main
from tests.serving.saved_models import save_colours
from tests.serving.test_answers import FakeServer, response

ROOT = Path(__file__).parents[2]
OLD = ROOT / "tests" / "export" / "made_by_246bb20" / "colours"
SIGNATURES = {
    *("serving_default", "all_classes", "predict_images"),
    *("logits", "features", "classify"),
}


@pytest.fixture(scope="module")
def served(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    """`photos`, the export, and `others`, which takes images too and is none of ours."""
    base = tmp_path_factory.mktemp("served")
    shutil.copytree(models / "photos", base / "photos")
    save_colours(base / "others" / "7")
    with ModelServer(base) as server:
        yield server


@pytest.fixture
def export(models: Path, tmp_path: Path) -> Path:
    """The export's copy, for a test to spoil."""
    return shutil.copytree(models / "photos" / "1", tmp_path / "photos" / "1")


def rewrite(export: Path, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    path = export / SAMPLES / "answers.npz"
    with np.load(path) as arrays:
        record = dict(arrays)
    change(record)
    np.savez_compressed(path, allow_pickle=False, **record)


def test_the_record_is_what_the_saved_model_answers(models: Path) -> None:
    export = read_export_record(models / "photos")
    record = export.recorded
    assert set(record.answers) == SIGNATURES
    assert len(record.pictures) == len(record.pixels) == 4
    assert sum(path.stat().st_size for path in (export.path / SAMPLES).iterdir()) <= 1_000_000
    for picture, pixels in zip(record.pictures, record.pixels, strict=True):
        expected = tf.io.decode_image(picture, channels=3, expand_animations=False)
        np.testing.assert_array_equal(pixels, expected)
    signatures = tf.saved_model.load(str(export.path)).signatures
    for name in ("serving_default", "all_classes", "logits", "features"):
        answer = signatures[name](image_bytes=tf.constant(record.pictures))
        for output, recorded in record.answers[name].items():
            if output == "classes":
                assert recorded.tolist() == answer[output].numpy().tolist()
            else:
                np.testing.assert_allclose(recorded, answer[output], atol=1e-5)
    for row, pixels in enumerate(record.pixels):
        answer = signatures["predict_images"](images=tf.constant(pixels[np.newaxis]))
        recorded = record.answers["predict_images"]["probabilities"][row]
        np.testing.assert_allclose(recorded, answer["probabilities"][0], atol=1e-5)


def test_the_export_that_is_served_is_verified(
    served: ModelServer, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = tmp_path / "verified.json"
    arguments = ["verify-serving", served.address, "--model", "photos", "--export",
                 str(models / "photos"), "--json", str(written)]  # fmt: skip
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in SIGNATURES)
    assert "photos version 1 on" in shown and "answers as" in shown
    found = json.loads(written.read_text())
    assert found["ok"] and found["version"] == found["export_version"] == 1
    assert {check["signature"] for check in found["checks"]} == SIGNATURES
    assert all(check["pictures"] == 4 for check in found["checks"])
    assert all(check["difference"] < 1e-5 for check in found["checks"])


@pytest.mark.parametrize(
    ("output", "change", "precision", "differs"),
    [
        ("logits/logits", lambda x: x + 0.01 * np.abs(x).max(), None, True),
        ("logits/logits", lambda x: x + 0.01 * np.abs(x).max(), "bfloat16", False),
        ("logits/logits", lambda x: x + 1e-4 * np.abs(x).max(), None, False),
        ("features/features", lambda x: x[:, ::-1], None, True),
        ("serving_default/scores", lambda x: x - 2e-4, None, True),
        ("serving_default/classes", lambda x: x[:, ::-1], None, True),
        ("predict_images/probabilities", lambda x: x * np.float32(np.nan), None, True),
        ("predict_images/probabilities", lambda x: x[:, :1], None, True),
    ],
)
def test_the_output_that_differs_is_told(
    served: ModelServer,
    export: Path,
    output: str,
    change: Callable[[np.ndarray], np.ndarray],
    precision: str | None,
    differs: bool,
) -> None:
    """Of one output recorded otherwise, the same server's answer is another's."""
    rewrite(export, lambda record: record.update({output: change(record[output])}))
    found = verify_serving(served.address, "photos", export, precision=precision)
    wrong = {check.signature for check in found.checks if check.problem}
    assert wrong == ({output.split("/")[0]} if differs else set())
    assert found.ok is not differs


def test_another_model_is_seen(
    served: ModelServer, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["verify-serving", served.address, "--model", "others",
                 "--export", str(models / "photos")]  # fmt: skip
    assert main(arguments) == 1
    shown = capsys.readouterr().out
    assert "has no signature 'logits'" in shown
    assert "which the export does not have" in shown
    assert "The server answers with version 7, and the export is version 1." in shown


@pytest.mark.parametrize(
    ("answers", "problems"),
    [
        (
            {name: np.full([4, 3], b"x", object) for name in ("classes", "scores", "logits")},
            {"strings and strings, not strings and numbers", "strings, not numbers"},
        ),
        (
            {name: np.zeros([4, 3], np.float32) for name in ("classes", "scores")}
            | {"logits": np.zeros([4, 3], np.complex64)},
            {"float32 and float32, not strings and numbers", "complex64, not numbers"},
        ),
    ],
)
def test_answers_of_another_kind_are_told(
    export: Path, answers: dict[str, np.ndarray], problems: set[str]
) -> None:
    """Of a model whose signatures have these names, and other dtypes."""

    class Another(FakeServer):
        @staticmethod
        def signatures() -> Any:
            known = messages.SignatureDefMap()
            for name in ("serving_default", "logits"):
                signature = known.signature_def[name]
                signature.inputs["image_bytes"].dtype = messages.DataType.DT_STRING
                for output, value in answers.items():
                    signature.outputs[output].dtype = to_proto(value).dtype
            return known

    def keep(record: dict[str, np.ndarray]) -> None:
        for name in [name for name in record if name.startswith(OTHERS)]:
            del record[name]

    rewrite(export, keep)
    with Another(lambda request: response(**answers)) as server:
        found = verify_serving(server.address, "photos", export)
    assert {check.problem for check in found.checks} == {f"answers {each}" for each in problems}


OTHERS = ("all_classes", "features", "classify", "predict_images")


def ranked(*rows: dict[str, float]) -> dict[str, np.ndarray]:
    names = np.array([[name.encode() for name in row] for row in rows])
    return {"classes": names, "scores": np.array([list(row.values()) for row in rows])}


@pytest.mark.parametrize(
    ("answered", "difference"),
    [
        ({"a": 0.6, "b": 0.2}, 0.0),
        ({"a": 0.5, "b": 0.25}, 0.1),
        # Beyond the last one told, any score up to it may be a class's own.
        ({"a": 0.6, "c": 0.2}, 0.0),
        ({"a": 0.6, "c": 0.23}, 0.03),
        ({"a": 0.6, "c": 0.17}, 0.03),
        ({"b": 0.6, "a": 0.2}, 0.4),
    ],
)
def test_scores_are_compared_class_by_class(answered: dict[str, float], difference: float) -> None:
    found = _compare_ranked(ranked({"a": 0.6, "b": 0.2}), ranked(answered), {b"a", b"b", b"c"})
    assert found == (pytest.approx(difference), "")


def test_a_precision_without_a_tolerance_has_the_widest(served: ModelServer, export: Path) -> None:
    manifest = json.loads((export / MANIFEST).read_text())
    (export / MANIFEST).write_text(json.dumps(manifest | {"precision": "of 2030"}))
    found = verify_serving(served.address, "photos", export)
    assert {check.allowed for check in found.checks} == {0.1, 0.05}


def test_an_older_export_is_to_be_exported_again(
    served: ModelServer, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["verify-serving", served.address, "--model", "photos", "--export", str(OLD)]
    assert main(arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "records no answers" in line and "Export the network again" in line


def test_what_is_none_of_ours_or_damaged_is_told(
    served: ModelServer, export: Path, tmp_path: Path
) -> None:
    save_colours(tmp_path / "colours" / "1")
    with pytest.raises(ValueError, match="is no export of ours"):
        verify_serving(served.address, "photos", tmp_path / "colours")
    with pytest.raises(ValueError, match=r"one of 'float32', 'tf32'.*precision='int4'"):
        verify_serving(served.address, "photos", export, precision="int4")
    for change in (
        lambda record: record.update(pictures=np.array([], str)),
        lambda record: record.update(pictures=np.array("0.jpg")),
    ):
        spoilt = shutil.copytree(export, tmp_path / "spoilt")
        rewrite(spoilt, change)
        with pytest.raises(ValueError, match=r"answers\.npz is damaged"):
            verify_serving(served.address, "photos", spoilt)
        shutil.rmtree(spoilt)
    manifest = (export / MANIFEST).read_text()
    for text in ("[]", '{"format": "1"}', '{"precision": []}', "[" * 100_000):
        (export / MANIFEST).write_text(text)
        with pytest.raises(ValueError, match=r"keras_inception\.json is damaged"):
            verify_serving(served.address, "photos", export)
    (export / MANIFEST).write_text(manifest)
    (export / SAMPLES / "0.jpg").unlink()
    with pytest.raises(ValueError, match=r"answers\.npz is damaged"):
        verify_serving(served.address, "photos", export)
    (export / SAMPLES / "answers.npz").write_bytes(b"PK junk")
    with pytest.raises(ValueError, match=r"answers\.npz is damaged"):
        verify_serving(served.address, "photos", export)


def test_a_server_that_is_not_there_is_a_line(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["verify-serving", "localhost:1", "--model", "photos", "--timeout", "2",
                 "--export", str(models / "photos")]  # fmt: skip
    assert main(arguments) == 1
    assert "No server answers on localhost:1" in capsys.readouterr().err


def photo(height: int, width: int) -> bytes:
    """Noise, which compresses worst."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_large_pictures_are_made_small_and_of_many_four_are_taken() -> None:
    small, large = photo(20, 30), photo(900, 1600)
    chosen = choose_recorded([large, small, small, small, small, large])
    assert len(chosen) == 4
    assert chosen[1] == small
    with Image.open(io.BytesIO(chosen[0])) as image:
        assert image.format == "JPEG"
        assert image.width * image.height <= 2**15
        assert image.width / image.height == pytest.approx(1600 / 900, abs=0.02)


@pytest.mark.parametrize(("width", "kept"), [(10, 4), (80_000, 2), (400_000, 0)])
def test_a_record_has_a_megabyte_at_most(tmp_path: Path, width: int, kept: int) -> None:
    """As many pictures as it holds."""
    pictures = [photo(100, 100)] * 4
    random = np.random.default_rng(1).normal(size=(4, width)).astype(np.float32)
    record_answers(tmp_path, pictures, {"logits_logits": random})
    files = list((tmp_path / SAMPLES).iterdir()) if kept else []
    assert (tmp_path / SAMPLES).exists() is bool(kept)
    assert sum(path.stat().st_size for path in files) <= MOST_RECORDED_BYTES
    assert sum(path.suffix == ".png" for path in files) == kept


def test_what_is_written_is_read_by_the_same_names(export: Path) -> None:
    """`inception_export` writes what `inception_serving`, which goes without it, reads."""
    assert (export_record.MANIFEST, export_record.FORMAT) == (MANIFEST, FORMAT)
    assert export_record.ANSWERS.parent == SAMPLES
    manifest = json.loads((export / MANIFEST).read_text())
    (export / MANIFEST).write_text(json.dumps(manifest | {"format": FORMAT + 1}))
    with pytest.raises(ValueError, match="was written by a later version: its format is"):
        read_export_record(export)
    with pytest.raises(ValueError, match="is no export: it has neither"):
        read_export_record(export / "variables")


def test_it_needs_no_tensorflow(served: ModelServer, models: Path) -> None:
    """So that it runs where nothing but a client is."""
    script = (
        "import sys; from inception_serving.commands.cli import main\n"
        f"code = main(['verify', '{served.address}', '--model', 'photos',"
        f" '--export', '{models / 'photos'}'])\n"
        "assert not {'tensorflow', 'keras', 'keras_inception'} & set(sys.modules)\n"
        "sys.exit(code)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = ['{ROOT / 'serving'}']\n{script}"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert "answers as" in answer.stdout
