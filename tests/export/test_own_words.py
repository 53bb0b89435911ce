"""Models that are not exported as they are: what is said can be followed."""

from pathlib import Path

import keras
import numpy as np
import pytest

from inception_export.export import ExportError
from inception_export.samples import accuracy_of, check_order
from inception_export.serving_graph import ServingGraphError, split
from keras_inception.cli import main
from keras_inception.models.nested import flatten
from tests.training.made_up import colour_model, write_photos

L = keras.layers
LABELS = ("red", "green", "blue")


def features() -> tuple[keras.KerasTensor, keras.KerasTensor]:
    image = keras.Input((16, 16, 3))
    return image, L.GlobalAveragePooling2D()(L.Conv2D(4, 3)(image))


def test_of_several_outputs_the_one_to_serve_is_taken_as_the_message_says() -> None:
    image, x = features()
    ends = [L.Dense(3, "softmax", name="kind")(x), L.Dense(2, "softmax", name="age")(x)]
    for model in (
        keras.Model(image, ends),
        keras.Model(image, ends[:1]),
        keras.Model(image, {"kind": ends[0], "age": ends[1]}),
        keras.Model(image, {"predictions": ends[0], "age": ends[1]}),
    ):
        with pytest.raises(ServingGraphError, match=r"kind|predictions") as refused:
            split(model)
        advice = str(refused.value).partition("such as: ")[2].partition(", and save")[0]
        body, dense, _ = split(eval(advice, {"keras": keras, "model": model}))
        assert body.output_shape == (None, 4) and dense.name in ("kind", "age")


def test_what_stands_behind_the_dense_layer_is_cut_off_as_the_message_says() -> None:
    image, x = features()
    inner = keras.Model(image, L.Dropout(0.1)(L.Dense(3, name="classifier")(x)))
    outer = keras.Input((16, 16, 3))
    for model in (inner, keras.Model(outer, L.Reshape((3,))(inner(outer)))):
        with pytest.raises(ServingGraphError, match="which ends in") as refused:
            split(model)
        advice = str(refused.value).partition("end there: ")[2].partition(", and save")[0]
        *lines, last = advice.split("; ")
        names = {"keras": keras, "model": model}
        exec("\n".join(lines), names)
        assert split(eval(last, names))[1].name == "classifier"
    bare = keras.Model(image, L.Conv2D(3, 1)(image))
    with pytest.raises(ServingGraphError, match=r'It has none.*model.export\("MODELS/NAME/1"\)'):
        split(bare)


def test_hidden_layers_behind_the_features_are_exported_as_features() -> None:
    image, x = features()
    model = keras.Model(image, L.Dense(3, "softmax")(L.Dropout(0.2)(L.Dense(7, "relu")(x))))
    body, dense, _ = split(model)
    assert body.output_shape == (None, 7) and dense.units == 3


def fails(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main([str(argument) for argument in arguments]) == 1
    return capsys.readouterr().err


def test_inputs_that_are_no_image_of_one_size_are_refused_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def saved(name: str, image: keras.KerasTensor, *more: keras.KerasTensor) -> Path:
        x = L.GlobalAveragePooling2D()(L.Rescaling(1 / 255)(image))
        x = L.Concatenate()([x, *more]) if more else x
        inputs = [image, *more] if more else image
        keras.Model(inputs, L.Dense(3, "softmax")(x)).save(tmp_path / name)
        return tmp_path / name

    (tmp_path / "labels.txt").write_text("".join(f"{label}\n" for label in LABELS))
    rest = [tmp_path / "models", "--name", "m", "--labels", tmp_path / "labels.txt"]
    two = saved("two.keras", keras.Input((16, 16, 3)), keras.Input((4,)))
    assert "takes (16, 16, 3) and (4,)" in fails(capsys, "export", two, *rest)
    grey = saved("grey.keras", keras.Input((16, 16, 1)))
    assert "images in colour: (height, width, 3)" in fails(capsys, "export", grey, *rest)
    oblong = saved("oblong.keras", keras.Input((16, 24, 3)))
    assert "Received: (16, 24, 3)\n" in fails(capsys, "export", oblong, *rest)
    wanted = saved("open.keras", keras.Input((None, None, 3)))
    said = fails(capsys, "export", wanted, *rest)
    advice = said.partition("Give it one: ")[2].strip()
    advice = advice.replace("MODEL", f"{str(wanted)!r}").replace("299", "16")
    advice = advice.replace("FIXED", repr(str(tmp_path / "fixed.keras")))
    exec("\n".join(advice.split("; ")), {"keras": keras})
    fixed = flatten(keras.models.load_model(tmp_path / "fixed.keras"))
    assert fixed.input_shape == (None, 16, 16, 3) and split(fixed)[1].units == 3
    assert not (tmp_path / "models").exists()


def test_one_output_is_one_class_and_its_name_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, x = features()
    keras.Model(image, L.Dense(1, "sigmoid")(x)).save(tmp_path / "m.keras")
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    said = fails(capsys, "export", tmp_path / "m.keras", tmp_path / "models", "--name", "m",
                 "--labels", tmp_path / "labels.txt", "--input-range", "0", "1")  # fmt: skip
    assert "the score of one class" in said and "Received: 2 names" in said


def test_places_are_refused_before_a_model_is_opened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is no such model, which would be said as soon as it was opened."""
    (tmp_path / "file").write_text("")
    (tmp_path / "models" / "m" / "3").mkdir(parents=True)
    model = tmp_path / "nowhere.keras"
    for arguments, said in (
        ([tmp_path / "file", "--name", "m"], "is no folder to be written to"),
        ([tmp_path / "file" / "x", "--name", "m"], "is no folder to be written to"),
        ([tmp_path / "models", "--name", "a b"], "Received: name='a b'"),
        ([tmp_path / "models", "--name", "m", "--version", "3"], "next free one is 4"),
        ([tmp_path / "models", "--name", "m", "--configs", tmp_path / "file"], "--configs"),
    ):
        assert said in fails(capsys, "export", model, *arguments)


def test_labels_that_are_right_in_another_order_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = write_photos(tmp_path / "photos", LABELS, 4, noise=5)
    colour_model(3).save(tmp_path / "model.keras")
    labels = tmp_path / "labels.txt"
    labels.write_text("green\nred\nblue\n")
    command = ["export", tmp_path / "model.keras", tmp_path / "models", "--name", "m", "--labels",
               labels, "--samples", photos, "--input-range", "-1", "1"]  # fmt: skip
    said = fails(capsys, *command)
    assert "on 12 samples is 0.3333, and would be 1.0000 with the labels in another order" in said
    assert "red for green, green for red" in said and "--max-accuracy-fall 1" in said
    assert not (tmp_path / "models" / "m").exists()


def test_confusion_that_is_no_order_passes() -> None:
    truth = np.repeat([0, 1, 2, -1], 10)

    def check(*answers: list[int]) -> None:
        best = np.concatenate([*map(np.array, answers), np.full(10, -1)])
        assert accuracy_of(best, truth)["images"] == 30
        check_order(best, truth, LABELS, 0.05)

    check([0] * 10, [1] * 10, [2] * 10)
    check([0] * 10, [0] * 10, [0] * 10)  # two classes never answered
    check([0] * 6 + [1] * 4, [0] * 5 + [1] * 5, [2] * 10)
    check([1] * 10, [1] * 10, [2] * 10)  # no order of the labels makes it right
    with pytest.raises(ExportError, match=r"0\.3333, and would be 1\.0000"):
        check([1] * 10, [0] * 10, [2] * 10)
