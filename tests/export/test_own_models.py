"""Models as people bring them: a scaling of their own, models inside, samples of known classes."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_inception
from inception_export.folding import fold_batch_norm
from inception_export.pixel_range import check_range, find_scaling, input_range, mean_and_std, raw
from inception_export.publish import ExportError, export_run
from inception_export.samples import check_accuracy
from keras_inception.cli import main
from keras_inception.data.preprocessing import Preprocessing, named
from keras_inception.inference.evaluate import evaluate
from keras_inception.models.nested import flatten
from keras_inception.runs.run import Run
from tests.export.test_folding import largest_difference, with_random_statistics
from tests.training.made_up import HOW, colour_model, make_run, write_photos

L = keras.layers
LABELS = ("red", "green", "blue")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("colours") / "photos", LABELS, 8, noise=5)


def with_scaling(*scaling: keras.Layer, nested: bool) -> keras.Model:
    """The model that knows colours, behind layers that make [-1, 1] of [0, 255]."""
    inner = colour_model(3)
    if nested:
        return keras.Sequential([keras.Input((16, 16, 3)), keras.Sequential(scaling), inner])
    image = x = keras.Input((16, 16, 3))
    for layer in scaling:
        x = layer(x)
    return keras.Model(image, inner(x, training=False))


@pytest.mark.parametrize(
    ("scaling", "nested"),
    [
        (lambda: [L.RandomFlip(), L.Rescaling(1 / 127.5, -1)], False),
        (lambda: [L.Normalization(mean=[127.5] * 3, variance=[127.5**2] * 3)], True),
    ],
)
def test_a_model_that_scales_pixels_itself_is_fed_them_as_they_are(
    scaling, nested: bool, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_scaling(*scaling(), nested=nested).save(tmp_path / "model.keras")
    (tmp_path / "labels.txt").write_text("".join(f"{label}\n" for label in LABELS))
    command = ["export", str(tmp_path / "model.keras"), str(tmp_path / "models"), "--name", "m",
               "--labels", str(tmp_path / "labels.txt"), "--samples", str(photos)]  # fmt: skip
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "Pixels go in as they are, 0 to 255" in out
    assert "Accuracy on 24 samples: 1.0000\n" in out
    folder = tmp_path / "models" / "m" / "1"
    manifest = json.loads((folder / "assets.extra" / "keras_inception.json").read_text())
    assert manifest["samples"] == {"accuracy": 1.0, "images": 24, "recorded": None}
    assert manifest["preprocessing"]["mean"] == [0, 0, 0]
    assert manifest["preprocessing"]["std"] == [1, 1, 1]
    if not nested:
        assert evaluate(folder, photos).accuracy == 1.0


def test_an_adapted_normalization_keeps_its_values_in_the_flat_model() -> None:
    layer = L.Normalization()
    layer.adapt(np.random.default_rng(0).normal(120, 50, (64, 8, 8, 3)).astype(np.float32))
    end = L.Conv2D(2, 3, name="end")
    model = keras.Sequential([keras.Input((8, 8, 3)), layer, end])
    images = np.random.default_rng(1).uniform(0, 255, (2, 8, 8, 3)).astype(np.float32)
    for same in (flatten(model), fold_batch_norm(model)):
        np.testing.assert_allclose(
            same.predict(images, verbose=0), model.predict(images, verbose=0), atol=1e-5
        )
    low, high = find_scaling(model)(np.zeros((1, 8, 8, 3))), find_scaling(model)(images[:1])
    np.testing.assert_allclose(low[0, 0, 0], -layer.mean[0, 0, 0] / layer.variance[0, 0, 0] ** 0.5)
    assert high.shape == (1, 8, 8, 3)


def test_keras_preprocess_input_is_a_scaling_and_the_end_of_a_network_is_none() -> None:
    image = keras.Input((8, 8, 3))
    scaled = keras.applications.inception_v3.preprocess_input(image)
    model = keras.Model(image, L.Dense(2)(L.GlobalAveragePooling2D()(scaled)))
    scaling = find_scaling(model)
    np.testing.assert_allclose(scaling(np.full((1, 8, 8, 3), 255.0)), 1, atol=1e-6)
    late = keras.Model(image, L.Dense(2)(L.Rescaling(2.0)(L.GlobalAveragePooling2D()(image))))
    assert find_scaling(late) is None


def test_pixels_scaled_twice_or_not_enough_are_refused() -> None:
    double = with_scaling(L.Rescaling(1 / 127.5, -1), nested=False)
    with pytest.raises(ExportError, match=r"makes -1.008 to -0.9922 of -1 to 1, which no network"):
        check_range(double, HOW)
    check_range(double, raw(HOW))
    of_ones = with_scaling(L.Rescaling(2, -1), nested=True)
    with pytest.raises(ExportError, match=r"makes -1 to 509 of 0 to 255.*--input-range LOW HIGH"):
        check_range(of_ones, raw(HOW))
    check_range(of_ones, Preprocessing(16, **input_range(0, 1)))


def test_a_range_said_is_the_one_of_the_named_preprocessings() -> None:
    assert Preprocessing(9, **input_range(-1, 1)) == Preprocessing(9)
    assert Preprocessing(9, **input_range(0, 1)) == named("tf-hub", 9)
    theirs = Preprocessing(9, **mean_and_std((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    ours = named("torchvision", 9)
    np.testing.assert_allclose([theirs.mean, theirs.std], [ours.mean, ours.std], rtol=1e-12)
    with pytest.raises(ExportError, match="in units of pixels / 255"):
        mean_and_std((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
    with pytest.raises(ExportError, match=r"LOW first\. Received: 1 -1"):
        input_range(1, -1)


def test_a_range_that_nothing_says_is_asked_for_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    colour_model(3).save(tmp_path / "own.keras")
    (tmp_path / "labels.txt").write_text("".join(f"{label}\n" for label in LABELS))
    command = ["export", str(tmp_path / "own.keras"), str(tmp_path / "models"), "--name", "m",
               "--labels", str(tmp_path / "labels.txt")]  # fmt: skip
    for options, message in (
        ([], "Say it: --input-range LOW HIGH"),
        (["--mean", "0.5", "0.5", "0.5"], "both of --mean and --std"),
        (["--max-accuracy-fall", "2"], "`max_accuracy_fall` is a share"),
    ):
        assert main(command + options) == 1
        assert message in capsys.readouterr().err
    assert main(["export", str(tmp_path), "b", "--name", "m", "--input-range", "0", "1"]) == 1
    assert "--input-range: only of a MODEL.keras" in capsys.readouterr().err
    assert not (tmp_path / "models").exists()


def test_sequential_of_base_pooling_and_dense(tmp_path: Path) -> None:
    """A network of this family inside says the range, and is folded, and explained."""
    keras.utils.set_random_seed(0)
    inner = keras_inception.InceptionV1(
        include_top=False, input_shape=(32, 32, 3), width=0.125, stem="small"
    )
    with_random_statistics(inner)
    ends = [L.GlobalAveragePooling2D(), L.Dense(3, "softmax")]
    keras.Sequential([keras.Input((32, 32, 3)), inner, *ends]).save(tmp_path / "model.keras")
    (tmp_path / "labels.txt").write_text("cat\ndog\nowl\n")
    command = ["export", str(tmp_path / "model.keras"), str(tmp_path / "models"), "--name", "m",
               "--labels", str(tmp_path / "labels.txt")]  # fmt: skip
    assert main(command) == 0
    manifest = json.loads(
        (tmp_path / "models/m/1/assets.extra/keras_inception.json").read_text("utf-8")
    )
    assert manifest["preprocessing"]["std"] == [127.5] * 3
    assert manifest["parity"]["probabilities"] < 1e-4
    assert b"Rsqrt" not in (tmp_path / "models/m/1/saved_model.pb").read_bytes()


def test_batch_norm_is_folded_inside_models_but_not_of_a_convolution_used_twice() -> None:
    def block(name: str) -> keras.Model:
        x = image = keras.Input((8, 8, 3))
        x = L.BatchNormalization(name="norm")(L.Conv2D(4, 3, name="conv")(x))
        return with_random_statistics(keras.Model(image, L.ReLU()(x), name=name))

    once, twice = block("once"), block("twice")
    image = keras.Input((8, 8, 3))
    # The norm outside follows the convolution that ends the model inside.
    end = keras.Sequential([keras.Input((8, 8, 3)), L.Conv2D(4, 3)])
    outside = L.BatchNormalization(name="outside", moving_variance_initializer="ones")
    x = L.Add()([once(image), twice(image), twice(L.Rescaling(-1.0)(image)), outside(end(image))])
    model = keras.Model(image, x)
    folded = fold_batch_norm(model)
    stayed = [each for each in folded.layers if isinstance(each, L.BatchNormalization)]
    assert len(stayed) == 1 and len(folded.get_layer(stayed[0].name)._inbound_nodes) == 2
    assert largest_difference(model, folded) < 1e-5


def test_a_fall_of_the_runs_accuracy_is_not_published(photos: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", colour_model(3), LABELS, [])
    record = run.record | {"validation": {"accuracy": 1.0}}
    record["preprocessing"] |= {"mean": [0, 0, 0], "std": [1e6] * 3}  # all grey
    (run.path / "run.json").write_text(json.dumps(record))
    lines: list[str] = []
    samples = [path for path in sorted(photos.rglob("*.*"))]
    options = {
        "samples": [path.read_bytes() for path in samples],
        "sample_classes": [path.parent.name for path in samples],
    }
    message = r"on 24 samples is 0\.3333, and the run recorded 1\.0000.*--max-accuracy-fall 0\.67"
    with pytest.raises(ExportError, match=message):
        export_run(run.path, tmp_path, "m", log=lines.append, **options)
    assert not (tmp_path / "m").exists()
    assert "Accuracy on 24 samples: 0.3333; the run recorded 1.0000" in lines


@pytest.mark.parametrize(
    ("right", "images", "recorded", "passes"),
    [
        (3, 4, 1.0, True),  # one of four may be chance
        (2, 4, 1.0, False),
        (96, 100, 1.0, True),
        (94, 100, 1.0, False),
        (70, 100, 0.78, True),  # two standard errors are 0.08
        (700, 1000, 0.78, False),
        (90, 100, 0.5, True),
    ],
)
def test_what_may_be_chance_passes(right: int, images: int, recorded: float, passes: bool) -> None:
    measured = {"accuracy": right / images, "images": images}
    check_accuracy(measured, recorded, 0.5)
    if passes:
        check_accuracy(measured, recorded, 0.05)
    else:
        with pytest.raises(ExportError, match=f"is {right / images:.4f}"):
            check_accuracy(measured, recorded, 0.05)


def test_folders_of_other_names_and_broken_samples_are_said(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run: Run = make_run(tmp_path / "run", colour_model(3), LABELS, [])
    (tmp_path / "mixed" / "violet").mkdir(parents=True)
    (tmp_path / "mixed" / "red").mkdir()
    image = Image.open(photos / "red" / "0.jpg")
    image.save(tmp_path / "mixed" / "red" / "1.png")
    image.save(tmp_path / "mixed" / "violet" / "1.png")
    (tmp_path / "mixed" / "red" / "2.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    command = ["export", str(run.path), str(tmp_path / "models"), "--name", "m",
               "--samples", str(tmp_path / "mixed")]  # fmt: skip
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "1 samples can't be decoded and are left out" in out and "2.png" in out
    assert "on 1 of 2 samples: no class is called violet" in out
    assert "Accuracy on 1 samples: 1.0000; the run recorded 0.7000" in out


def test_images_are_resized_as_keras_does_where_the_user_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Against `tf.image.resize`, which is behind Keras's image_dataset_from_directory."""
    model = keras.Sequential(
        [keras.Input((24, 24, 3)), L.Rescaling(1 / 255), L.Flatten(), L.Dense(3, "softmax")]
    )
    model.save(tmp_path / "model.keras")
    (tmp_path / "labels.txt").write_text("".join(f"{label}\n" for label in LABELS))
    pixels = np.random.default_rng(0).integers(0, 256, (40, 100, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    command = ["export", str(tmp_path / "model.keras"), str(tmp_path / "models"), "--name", "m",
               "--labels", str(tmp_path / "labels.txt"), "--resize", "stretch", "--crop", "1",
               "--no-antialias"]  # fmt: skip

    assert main(command) == 0

    assert "Protocol: stretched to 24 x 24 pixels" in capsys.readouterr().out
    served = tf.saved_model.load(str(tmp_path / "models/m/1")).signatures["all_classes"]
    content = tf.constant([(tmp_path / "wide.png").read_bytes()])
    wanted = model(tf.image.resize(pixels, (24, 24))[None]).numpy()
    answer = served(image_bytes=content)
    names = [LABELS[index].encode() for index in (-wanted[0]).argsort()]
    assert answer["classes"].numpy().tolist() == [names]
    np.testing.assert_allclose(answer["scores"], -np.sort(-wanted), atol=1e-5)


def test_samples_in_folders_that_are_no_classes_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    colour_model(3).save(tmp_path / "model.keras")
    (tmp_path / "labels.txt").write_text("".join(f"{label}\n" for label in LABELS))
    (tmp_path / "sets" / "train").mkdir(parents=True)
    Image.new("RGB", (16, 16)).save(tmp_path / "sets" / "train" / "1.png")
    command = ["export", str(tmp_path / "model.keras"), str(tmp_path / "models"), "--name", "m",
               "--labels", str(tmp_path / "labels.txt"), "--input-range", "-1", "1",
               "--samples", str(tmp_path / "sets")]  # fmt: skip

    assert main(command) == 1
    assert "none is called as a class of the model" in capsys.readouterr().err
    assert not (tmp_path / "models" / "m" / "1").exists()
