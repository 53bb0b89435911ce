"""Loading: what fits, what does not, and that nothing is left at its random value in silence."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

import keras_inception
from keras_inception import WeightsError, load_weights
from keras_inception.weights import slim
from keras_inception.weights.names import written_as_theirs
from tests.weights.checkpoints import Values, random_values, write_frozen, write_v1, write_v2

Model = keras.Model
NARROW = {"width": 0.125, "input_shape": (299, 299, 3)}
ROOT = "InceptionV3"


def build(classes: int = 1001, **arguments: object) -> Model:
    """v3, an eighth as wide."""
    return keras_inception.InceptionV3(classes=classes, **NARROW, **arguments)


def variables(model: Model) -> Values:
    return {
        f"{layer.name}/{weight.name}": keras.ops.convert_to_numpy(weight)
        for layer in model.layers
        for weight in layer.weights
    }


def as_slim(values: Values) -> Values:
    places = slim.source("inception_v3").places
    return {
        places[ours].name: written_as_theirs(places[ours].layout, value)
        for ours, value in values.items()
    }


@pytest.fixture(scope="module")
def built() -> Model:
    return build(aux=True)


@pytest.fixture
def model(built: Model) -> Model:
    """v3 with its auxiliary head, all zeros."""
    for weight in built.weights:
        weight.assign(np.zeros(weight.shape))
    return built


@pytest.fixture(scope="module")
def values(built: Model) -> Values:
    """Random values of every variable of ours, auxiliary head included."""
    return random_values({name: value.shape for name, value in variables(built).items()})


def assert_holds(model: Model, values: Values) -> None:
    loaded = variables(model)
    assert loaded.keys() == values.keys()
    for name, value in values.items():
        np.testing.assert_array_equal(loaded[name], value, err_msg=name)


def test_every_form_of_tensorflows(model: Model, values: Values, tmp_path: Path) -> None:
    theirs = as_slim(values)
    training = {"global_step": np.int64(7), "beta1_power": np.float32(0.9)}
    for name, value in theirs.items():
        training |= {f"{name}/{slot}": value for slot in ("RMSProp", "RMSProp_1", "Adam_1")}
        training |= {f"{name}/ExponentialMovingAverage": value + 1}
    write_v2(tmp_path / "v2", theirs)
    write_v1(tmp_path / "v1", theirs)
    write_v2(tmp_path / "trained-7", theirs | training)
    write_frozen(tmp_path / "frozen", theirs)
    (tmp_path / "folder").mkdir()
    write_v2(tmp_path / "folder" / "model.ckpt-7", theirs)
    (tmp_path / "folder" / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-7"\n')
    files = [
        "v2",
        "v2.index",
        "v2.data-00000-of-00001",
        "v1",
        "trained-7",
        "frozen",
        "folder",
        "folder/model.ckpt-7",
    ]
    assert_holds(build(weights=tmp_path / "v2", aux=True), values)
    for file in files:
        for weight in model.weights:
            weight.assign(np.zeros(weight.shape))
        assert load_weights(model, tmp_path / file) == []
        assert_holds(model, values)


def test_moving_averages(model: Model, values: Values, tmp_path: Path) -> None:
    theirs = as_slim(values)
    shadows = {  # of what is trained, as TF-Slim keeps them
        f"{name}/ExponentialMovingAverage": value + 1
        for name, value in theirs.items()
        if "moving" not in name
    }
    write_v2(tmp_path / "trained", theirs | shadows)
    load_weights(model, tmp_path / "trained", ema=True)
    assert_holds(model, {n: v if "moving" in n else v + 1 for n, v in values.items()})
    write_v2(tmp_path / "bare", theirs)
    with pytest.raises(ValueError, match="no moving averages"):
        load_weights(model, tmp_path / "bare", ema=True)


def with_gamma(theirs: Values, factor: float = 1.0) -> Values:
    """TF-Slim's names with a gamma in every batch norm."""
    random = np.random.default_rng(0)
    gammas = {
        name.replace("beta", "gamma"): (factor * random.uniform(0.9, 1.1, value.shape)).astype("f4")
        for name, value in theirs.items()
        if name.endswith("beta")
    }
    return theirs | gammas


@pytest.mark.parametrize("gamma", [1.7, -0.4, 0.0])
@pytest.mark.parametrize("fold", [False, True])
def test_gamma_is_exact(gamma: float, fold: bool, values: Values, tmp_path: Path) -> None:
    """Kept or folded, against batch normalization that has gamma, in double precision."""
    theirs = with_gamma(as_slim(values), gamma)
    write_v2(tmp_path / "with", theirs)
    model = build(weights=tmp_path / "with", fold_gamma=fold, aux=True)
    name = "mixed_5b_branch_0_a_1x1"
    scope = f"{ROOT}/Mixed_5b/Branch_0/Conv2d_0a_1x1"
    random = np.random.default_rng(0)
    x = random.normal(size=(4, 5, 5, values[f"{name}/kernel"].shape[2])).astype("f4")
    beta, mean, variance = (
        theirs[f"{scope}/BatchNorm/{part}"].astype(float)
        for part in ("beta", "moving_mean", "moving_variance")
    )
    convolved = x.astype(float) @ theirs[f"{scope}/weights"][0, 0].astype(float)
    normed = (convolved - mean) / np.sqrt(variance + 1e-3)
    expected = normed * theirs[f"{scope}/BatchNorm/gamma"] + beta
    ours = model.get_layer(f"{name}_bn")(model.get_layer(name)(x), training=False)
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)
    bn = model.get_layer(f"{name}_bn")
    assert bn.scale is not fold
    np.testing.assert_array_equal(bn.beta, theirs[f"{scope}/BatchNorm/beta"])
    np.testing.assert_array_equal(bn.moving_variance, theirs[f"{scope}/BatchNorm/moving_variance"])
    if not fold:  # in training as well: with the batch's own statistics
        normed = (convolved - convolved.mean((0, 1, 2))) / np.sqrt(convolved.var((0, 1, 2)) + 1e-3)
        expected = normed * theirs[f"{scope}/BatchNorm/gamma"] + beta
        ours = bn(model.get_layer(name)(x), training=True)
        np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-4)


def test_gamma_follows_the_weights(model: Model, values: Values, tmp_path: Path) -> None:
    bare, theirs = as_slim(values), with_gamma(as_slim(values))
    ones = {name: np.ones_like(v) if name.endswith("gamma") else v for name, v in theirs.items()}
    for name, file in (("bare", bare), ("with", theirs), ("ones", ones)):
        write_v2(tmp_path / name, file)
    with pytest.raises(ValueError, match=r"gammas .* scale=True.*; or say fold_gamma=True: .*only"):
        load_weights(model, tmp_path / "with")
    assert not any(np.any(value) for value in variables(model).values())  # none by halves
    with pytest.raises(ValueError, match="scale=True"):
        build(weights=tmp_path / "with", scale=False, aux=True)
    load_weights(model, tmp_path / "ones")  # as our safetensors of a network without have them
    assert_holds(model, values)
    built = build(weights=tmp_path / "bare", scale=True, aux=True)
    gammas = {name: v for name, v in variables(built).items() if name.endswith("gamma")}
    assert len(gammas) == 96 and all((gamma == 1).all() for gamma in gammas.values())
    assert not any(name.endswith("gamma") for name in variables(build()))
    for damage in ("missing", "shape"):
        damaged = dict(theirs)
        name = f"{ROOT}/Mixed_5b/Branch_0/Conv2d_0a_1x1/BatchNorm/gamma"
        gamma = damaged.pop(name)
        if damage == "shape":
            damaged[name] = gamma[:1]  # would be multiplied in all the same
        write_v2(tmp_path / damage, damaged)
        with pytest.raises(WeightsError, match=name):
            build(weights=tmp_path / damage, aux=True)
    with pytest.raises(WeightsError, match=rf"Of another shape: {name} \(1,\), not \(8,\)"):
        load_weights(model, tmp_path / "shape", fold_gamma=True)


def test_gamma_in_our_own_files_and_in_those_for_others(
    values: Values, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x = np.random.default_rng(1).uniform(-1, 1, (1, 299, 299, 3)).astype("f4")
    original = build(weights=write_v2(tmp_path / "with", with_gamma(as_slim(values), 1.3)))
    answer = original(x, training=False)
    for name in ("own.weights.h5", "own.safetensors", "slim"):
        keras_inception.save_weights(original, tmp_path / name)
        assert ("for inference only" in capsys.readouterr().out) is (name == "slim")
        again = build(weights=tmp_path / name, variant=None)
        assert again.get_layer("stem_a_3x3_bn").scale is (name != "slim")
        np.testing.assert_allclose(again(x, training=False), answer, atol=1e-5)
        if name != "slim":
            held = variables(again)
            for ours, value in variables(original).items():
                np.testing.assert_array_equal(held[ours], value, err_msg=ours)
        folded = build(weights=tmp_path / name, fold_gamma=True)
        assert not folded.get_layer("stem_a_3x3_bn").scale
        np.testing.assert_allclose(folded(x, training=False), answer, atol=1e-5)


def test_the_background_class(values: Values, tmp_path: Path, capsys) -> None:
    path = write_v2(tmp_path / "slim", as_slim(values))
    model = build(1000, weights=path, aux=True)
    for head in ("logits", "aux_logits"):
        layer = model.get_layer(head)
        np.testing.assert_array_equal(layer.kernel, values[f"{head}/kernel"][:, 1:])
        np.testing.assert_array_equal(layer.bias, values[f"{head}/bias"][1:])
    assert capsys.readouterr().err == ""


def test_another_number_of_classes_makes_a_new_head(values: Values, tmp_path: Path, capsys) -> None:
    path = write_v2(tmp_path / "slim", as_slim(values))
    model = build(10, weights=path, aux=True)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"inception_v3: 10 classes here, 1001 in {path}: not taken:"
        " aux_logits/kernel, aux_logits/bias, logits/kernel, logits/bias"
    )
    np.testing.assert_array_equal(model.get_layer("logits").bias, np.zeros(10))
    np.testing.assert_array_equal(model.get_layer("aux_b_1x1").kernel, values["aux_b_1x1/kernel"])
    load_weights(model, path, skip="*logits*")
    assert capsys.readouterr().err == ""


def test_what_was_not_asked_for_stays_in_the_file(values: Values, tmp_path: Path) -> None:
    path = write_v2(tmp_path / "slim", as_slim(values))
    for arguments in ({}, {"include_top": False}):
        model = build(weights=path, **arguments)
        kernel = model.get_layer("mixed_7c_branch_0_a_1x1").kernel
        np.testing.assert_array_equal(kernel, values["mixed_7c_branch_0_a_1x1/kernel"])


def test_names_that_do_not_fit_are_listed(model: Model, values: Values, tmp_path: Path) -> None:
    theirs = as_slim(values)
    missing = f"{ROOT}/Mixed_6c/Branch_1/Conv2d_0b_1x7/weights"
    wrong = f"{ROOT}/Mixed_7b/Branch_1/Conv2d_0b_1x3/weights"
    theirs[f"{ROOT}/Mixed_9z/weights"] = theirs.pop(missing)
    theirs[wrong] = theirs[wrong][:, :, 1:]
    path = write_v2(tmp_path / "other", theirs)
    with pytest.raises(WeightsError) as caught:
        load_weights(model, path)
    error = caught.value
    assert error.missing == [f"mixed_6c_branch_1_b_1x7/kernel ({missing})"]
    assert error.left_over == [f"{ROOT}/Mixed_9z/weights"]
    assert error.wrong_shape == [
        f"mixed_7b_branch_1_b_branch_0_a_1x3/kernel ({wrong}) (1, 3, 47, 48), not (1, 3, 48, 48)"
    ]
    for name in (missing, f"{ROOT}/Mixed_9z/weights", wrong, "skip="):
        assert name in str(error)
    assert not any(np.any(value) for value in variables(model).values())  # none by halves
    with pytest.raises(WeightsError):
        build(weights=path, aux=True)
    skipped = load_weights(model, path, skip=[missing, "*Mixed_9z*", "mixed_7b_*_1x3/kernel"])
    assert skipped == sorted(
        [
            f"{ROOT}/Mixed_9z/weights",
            "mixed_6c_branch_1_b_1x7/kernel",
            "mixed_7b_branch_1_b_branch_0_a_1x3/kernel",
            "mixed_7b_branch_2_c_branch_0_a_1x3/kernel",
        ]
    )


def test_auxiliary_heads_that_are_not_there_are_missing(
    model: Model, values: Values, tmp_path: Path
) -> None:
    bare = {name: value for name, value in values.items() if not name.startswith("aux")}
    path = write_v2(tmp_path / "bare", as_slim(bare))
    with pytest.raises(WeightsError, match=r"Missing: aux_b_1x1/kernel \(InceptionV3/AuxLogits"):
        load_weights(model, path)
    skipped = load_weights(model, path, skip="aux*")
    assert len(skipped) == 10


def test_the_variant_goes_with_the_weights(values: Values, tmp_path: Path) -> None:
    path = write_v2(tmp_path / "slim", as_slim(values))
    with pytest.raises(ValueError, match=r"must be 'slim'.*Received: variant='torchvision'"):
        build(weights=path, variant="torchvision")
    with pytest.raises(ValueError, match="must be 'slim'"):
        load_weights(build(variant="torchvision", include_top=False), path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_bytes(b"hello"), "holds no weights that can be read"),
        (lambda path: path.write_bytes(b""), "holds no weights that can be read"),
        (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 99), "damaged, or cut short"),
        (lambda path: path.write_bytes(b"PK\x03\x04" + b"\0" * 99), "damaged, or cut short"),
        (lambda path: path.write_bytes(b"\n\xff\xff\xff"), "no frozen graph, or is damaged"),
        (lambda path: path.mkdir(), "a folder without a TensorFlow checkpoint or model.keras"),
        (lambda path: None, "or a file that exists. Received: weights="),
        (lambda path: write_v2(path, {"a/b": np.zeros(3, "f4")}), r"no network whose names .*a/b"),
        (lambda path: write_v2(path, {"InceptionV4/b": np.zeros(3, "f4")}), "holds inception_v4"),
    ],
)
def test_files_that_are_no_weights(
    make: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    make(tmp_path / "file")
    with pytest.raises(ValueError, match=message):
        build(weights=tmp_path / "file")


def test_a_checkpoint_that_is_cut_short(values: Values, tmp_path: Path) -> None:
    write_v2(tmp_path / "slim", as_slim(values))
    data = tmp_path / "slim.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[: 1 << 19])
    with pytest.raises(ValueError, match="damaged"):
        build(weights=tmp_path / "slim")
    data.unlink()
    with pytest.raises(ValueError, match=r"its slim.data-\* is missing"):
        build(weights=tmp_path / "slim")


def test_a_new_network_on_a_tensor_of_the_callers(values: Values, tmp_path: Path) -> None:
    path = write_v2(tmp_path / "slim", as_slim(values))
    image = keras.Input((107, 107, 3))
    whitened = keras.layers.Conv2D(3, 1, name="whiten")(image)
    model = keras_inception.InceptionV3(
        weights=path, classes=1001, width=0.125, input_tensor=whitened
    )
    assert model.get_layer("whiten")
    np.testing.assert_array_equal(model.get_layer("stem_a_3x3").kernel, values["stem_a_3x3/kernel"])


@pytest.mark.parametrize(
    ("title", "variant", "file"),
    [
        ("InceptionV1", "paper", "model.keras"),
        ("InceptionV2", "slim", "model.keras"),
        ("InceptionV3", "torchvision", "model.weights.h5"),
    ],
)
def test_keras_files_of_ours(title: str, variant: str, file: str, tmp_path: Path) -> None:
    """Trained ones too; the variant, unsaid, is the file's."""
    builder = getattr(keras_inception, title)
    model = builder(variant=variant, width=0.125, classes=5)
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    (model.save if file == "model.keras" else model.save_weights)(tmp_path / file)
    again = builder(weights=tmp_path / file, width=0.125, classes=5)
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]
    assert_holds(again, variables(model))
    network = title.replace("V", "_v").lower()
    with pytest.raises(ValueError, match=f"holds {network}"):
        keras_inception.InceptionV4(weights=tmp_path / file)


@pytest.mark.parametrize("file", ["model.keras", "model.weights.h5"])
def test_a_file_may_have_its_variants_former_name(file: str, tmp_path: Path) -> None:
    model = keras_inception.InceptionV2(width=0.125, classes=5)
    if file == "model.keras":
        model.save(tmp_path / file)
    else:
        keras_inception.save_weights(
            model, tmp_path / file, notes={"variant": "paper"}, log=lambda line: None
        )
    again = keras_inception.InceptionV2(weights=tmp_path / file, width=0.125, classes=5)
    assert_holds(again, variables(model))
    assert keras_inception.load_weights(model, tmp_path / file) == []


def test_layers_are_told_by_name_and_not_by_number(tmp_path: Path) -> None:
    """Two same-shaped kernels change their groups, and their names stay with them."""
    model = build(5)
    model.save_weights(tmp_path / "model.weights.h5")
    names = [f"mixed_6{module}_branch_0_a_1x1" for module in "bc"]
    with h5py.File(tmp_path / "model.weights.h5", "r+") as file:
        groups = {
            g.attrs["name"]: g.parent.name for g in (x["vars"] for x in file["layers"].values())
        }
        one, other = (groups[name] for name in names)
        file.move(one, "/layers/elsewhere")
        file.move(other, one)
        file.move("/layers/elsewhere", other)
    again = build(5, weights=tmp_path / "model.weights.h5")
    for name in names:
        np.testing.assert_array_equal(again.get_layer(name).kernel, model.get_layer(name).kernel)


def test_a_pickle_needs_pytorch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pickle
    import sys
    import zipfile

    monkeypatch.setitem(sys.modules, "torch", None)
    with zipfile.ZipFile(tmp_path / "model.pth", "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps({}))
    with pytest.raises(ValueError, match=re.escape("pip install torch, or save its state dict as")):
        build(weights=tmp_path / "model.pth")
