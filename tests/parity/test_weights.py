"""Files that TF-Slim, keras.applications and timm have written, through every reader of ours.

Each holds random values that try every part: moving statistics, and gammas of either sign.
"""

from __future__ import annotations

import importlib
import sys
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import safetensors.torch
import tensorflow as tf
import tf_slim
import torch
from tf_slim.nets import inception

import keras_inception
from keras_inception import load_weights, save_weights
from keras_inception.weights.files import open_file
from tests.parity import no_torchvision
from tests.parity.weights import TOLERANCE, assert_same, difference, images, predict
from tests.weights.checkpoints import random_values

no_torchvision.install()
import timm  # noqa: E402

v1 = tf.compat.v1
# TensorFlow still looks for the legacy layers where tf_keras had them before its own `src`.
for name in ("legacy_tf_layers", "legacy_tf_layers.normalization"):
    sys.modules[f"tf_keras.{name}"] = importlib.import_module(f"tf_keras.src.{name}")

SLIM = {"inception_v1": "InceptionV1", "inception_v2": "InceptionV2", "inception_v3": "InceptionV3"}
WITH_GAMMA = {"inception_v1": True, "inception_v2": False, "inception_v3": True}


@pytest.fixture(scope="module", params=SLIM)
def slim(request, tmp_path_factory) -> Iterator[tuple[str, Path, np.ndarray, dict]]:
    """A network as TF-Slim trains and saves it, and what it says to two images."""
    network = request.param
    folder = tmp_path_factory.mktemp(network)
    x = images(getattr(inception, network).default_image_size)
    graph = tf.Graph()
    with graph.as_default(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow 1's words are deprecated; they are its own
        placeholder = v1.placeholder(tf.float32, x.shape, name="input")
        with (
            tf_slim.arg_scope(getattr(inception, f"{network}_arg_scope")()),
            tf_slim.arg_scope([tf_slim.layers.batch_norm], scale=WITH_GAMMA[network]),
        ):
            build = getattr(inception, network)
            logits, points = build(placeholder, num_classes=1001, is_training=False)
        model = v1.global_variables()
        step = v1.train.get_or_create_global_step()
        averages = v1.train.ExponentialMovingAverage(0.9)
        averaging = averages.apply(v1.trainable_variables())
        training = v1.train.RMSPropOptimizer(0.01, momentum=0.9).minimize(
            tf.reduce_mean(logits), global_step=step
        )
        assert averaging is not None and training is not None
        everything = v1.global_variables()
        with v1.Session(graph=graph) as session:
            session.run(v1.global_variables_initializer())
            shapes = {variable.op.name: variable.shape.as_list() for variable in everything}
            values = random_values(shapes) | {step.op.name: np.int64(7)}
            _assign(session, {variable: values[variable.op.name] for variable in everything})
            v1.train.Saver(everything).save(session, str(folder / "v2"), write_meta_graph=False)
            v1.train.Saver(everything, write_version=v1.train.SaverDef.V1).save(
                session, str(folder / "v1.ckpt"), write_meta_graph=False
            )
            v1.train.Saver(model).save(session, str(folder / "bare"), write_meta_graph=False)
            frozen = v1.graph_util.convert_variables_to_constants(
                session, graph.as_graph_def(), [each.op.name for each in points.values()]
            )
            (folder / "frozen.pb").write_bytes(frozen.SerializeToString())
            raw = session.run(dict(points), {placeholder: x})
            trained = v1.trainable_variables()
            _assign(session, {v: values[averages.average(v).op.name] for v in trained})
            shadows = session.run(dict(points), {placeholder: x})
    yield network, folder, x, {"raw": raw, "shadows": shadows}


def _assign(session, values) -> None:
    """At once: TensorFlow 1 takes its time for each new thing that it is asked to run."""
    initializers = {variable.initializer: value for variable, value in values.items()}
    session.run(list(initializers), {op.inputs[1]: value for op, value in initializers.items()})


@pytest.mark.parametrize("file", ["v2", "v2.index", "v1.ckpt", "bare", "frozen.pb", "shadows"])
def test_slim(slim, file):
    network, folder, x, points = slim
    ema = file == "shadows"
    theirs = points["shadows" if ema else "raw"]
    model = getattr(keras_inception, SLIM[network])(
        weights=folder / ("v2" if ema else file),
        ema=ema,
        classes=1001,
        classifier_activation=None,
        aux=network == "inception_v3",
    )
    if network == "inception_v3":
        ours = keras.ops.convert_to_numpy(model(x, training=False)["aux"])
        found = difference(ours, theirs["AuxLogits"])
        print(f"\n{network} {file}, auxiliary head: {found:.2e}", end="")
        assert found < TOLERANCE
    found = difference(predict(model, x), theirs["Logits"])
    print(f"\n{network} {file}: {found:.2e}", end="")
    assert found < TOLERANCE
    if file == "frozen.pb":
        assert_same(model, theirs["Logits"], x, f"{network} {file}")
    if file == "v1.ckpt":  # and without background
        model = getattr(keras_inception, SLIM[network])(
            weights=folder / file, classifier_activation=None
        )
        assert difference(predict(model, x), theirs["Logits"][:, 1:]) < TOLERANCE


@pytest.mark.parametrize("title", ["InceptionV3", "InceptionResNetV2"])
@pytest.mark.parametrize("top", [True, False])
def test_keras_applications(title, top, tmp_path):
    keras.utils.set_random_seed(0)
    build = getattr(keras.applications, title)
    x = images(299)
    for session in ("first", "second"):  # where the numbers go on
        theirs = build(
            weights=None,
            include_top=top,
            classifier_activation=None,
            pooling=None if top else "avg",
        )
        for weight in theirs.weights:  # Keras's own initial values fade in so deep a network
            weight.assign(
                random_values({weight.name: weight.shape}, zlib.crc32(weight.path.encode()))[
                    weight.name
                ]
            )
        answer = keras.ops.convert_to_numpy(theirs(x, training=False))
        for file in (f"{session}.weights.h5", f"{session}.keras", f"{session}.h5"):
            path = tmp_path / file
            theirs.save_weights(path) if "weights" in file else theirs.save(path)
            ours = getattr(keras_inception, title)(
                weights=path,
                include_top=top,
                pooling=None if top else "avg",
                classifier_activation=None,
            )
            path.unlink()
            found = difference(keras.ops.convert_to_numpy(ours(x, training=False)), answer)
            print(f"\nkeras.applications {title} {file}, top {top}: {found:.2e}", end="")
            assert found < TOLERANCE
    if top:
        assert_same(ours, answer, x, f"keras.applications {title}")


def _randomize(model: torch.nn.Module) -> None:
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            module.weight.data *= torch.where(torch.rand_like(module.weight) < 0.5, -1.0, 1.0)
            module.weight.data[0] = 0.0
            torch.nn.init.normal_(module.bias, 0, 0.2)
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
        elif isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("inception_v3", "InceptionV3"),
        ("inception_v4", "InceptionV4"),
        ("inception_resnet_v2", "InceptionResNetV2"),
    ],
)
def test_timm(name, title, tmp_path):
    aux = name == "inception_v3"
    theirs = timm.create_model(name, **({"aux_logits": True} if aux else {})).eval()
    x = images(299)
    with torch.no_grad():
        _randomize(theirs)
        torch_x = torch.from_numpy(x.transpose(0, 3, 1, 2))
        if aux:
            logits, aux_logits = (each.numpy() for each in theirs(torch_x))
        else:
            logits = theirs(torch_x).numpy()
    state = theirs.state_dict()
    safetensors.torch.save_file(state, tmp_path / "model.safetensors")
    torch.save(state, tmp_path / "model.pth")
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "checkpoint.pth.tar")
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for file in ("model.safetensors", "model.pth", "checkpoint.pth.tar", "old.pth"):
        build = getattr(keras_inception, title)
        ours = build(weights=tmp_path / file, classifier_activation=None, aux=aux)
        answer = ours(x, training=False)
        if aux:
            found = difference(keras.ops.convert_to_numpy(answer["aux"]), aux_logits)
            print(f"\ntimm {name} {file}, auxiliary head: {found:.2e}", end="")
            assert found < TOLERANCE
            answer = answer["predictions"]
        found = difference(keras.ops.convert_to_numpy(answer), logits)
        print(f"\ntimm {name} {file}: {found:.2e}", end="")
        assert found < TOLERANCE
    assert_same(ours, logits, x, f"timm {name}")
    without = build(variant="torchvision" if aux else None)
    assert load_weights(without, tmp_path / file, fold_gamma=True) == []


def test_gamma_in_training(tmp_path):
    """With the batch's own statistics the networks agree where gamma is kept, not where folded."""
    theirs = timm.create_model("inception_v3", num_classes=0).train()
    with torch.no_grad():
        _randomize(theirs)
    safetensors.torch.save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    x = np.random.default_rng(0).uniform(-1, 1, (4, 139, 139, 3)).astype(np.float32)
    with torch.no_grad():
        expected = theirs.forward_features(torch.from_numpy(x.transpose(0, 3, 1, 2))).numpy()
    found = {}
    for fold_gamma in (False, True):
        ours = keras_inception.InceptionV3(
            include_top=False,
            input_shape=(139, 139, 3),
            weights=tmp_path / "model.safetensors",
            fold_gamma=fold_gamma,
        )
        answer = keras.ops.convert_to_numpy(ours(x, training=True))
        theirs_first = answer.transpose(0, 3, 1, 2)
        found[fold_gamma] = np.corrcoef(theirs_first.ravel(), expected.ravel())[0, 1]
    print(f"\ncorrelation with gamma kept {found[False]:.6f}, folded {found[True]:.6f}", end="")
    # Statistics of 36 values, 94 times over, magnify the last bits: no tolerance of them.
    assert found[False] > 0.99999
    assert found[True] < 0.9


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module."])
def test_the_wrappers_of_a_pickle_are_taken_off(prefix, tmp_path):
    torch.save({f"{prefix}fc.weight": torch.ones(2, 3)}, tmp_path / "model.pth")
    assert dict(open_file(tmp_path / "model.pth").shapes) == {"fc.weight": (2, 3)}


def test_a_pickle_that_is_small_here_and_large_in_memory(tmp_path):
    torch.save({"fc.weight": torch.ones(1).expand(1 << 20, 1 << 20)}, tmp_path / "model.pth")
    with pytest.raises(ValueError, match=r"model.pth is damaged at fc.weight: it holds less than"):
        open_file(tmp_path / "model.pth")


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"fc.weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match="is no state dict"):
        keras_inception.InceptionV3(weights=tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("name", "title", "variant"),
    [
        ("inception_v3", "InceptionV3", "torchvision"),
        ("inception_v4", "InceptionV4", "released"),
        ("inception_resnet_v2", "InceptionResNetV2", "released"),
    ],
)
def test_timm_reads_what_we_write(name, title, variant, tmp_path):
    ours = getattr(keras_inception, title)(variant=variant, classifier_activation=None)
    _fill(ours)
    save_weights(ours, tmp_path / "model.safetensors")
    theirs = timm.create_model(name).eval()
    theirs.load_state_dict(safetensors.torch.load_file(tmp_path / "model.safetensors"))
    x = images(299)
    with torch.no_grad():
        logits = theirs(torch.from_numpy(x.transpose(0, 3, 1, 2))).numpy()
    found = difference(predict(ours, x), logits)
    print(f"\ntimm {name} from our file: {found:.2e}", end="")
    assert found < TOLERANCE


@pytest.mark.parametrize("network", SLIM)
def test_slim_reads_what_we_write(network, tmp_path):
    arguments = {"aux": True} if network == "inception_v3" else {"variant": "slim"}
    build = getattr(keras_inception, SLIM[network])
    ours = build(classes=1001, classifier_activation=None, **arguments)
    _fill(ours)
    save_weights(ours, tmp_path / "model.ckpt")
    x = images(ours.input.shape[1])
    graph = tf.Graph()
    with graph.as_default(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        placeholder = v1.placeholder(tf.float32, x.shape)
        with tf_slim.arg_scope(getattr(inception, f"{network}_arg_scope")()):
            _, points = getattr(inception, network)(
                placeholder, num_classes=1001, is_training=False
            )
        with v1.Session(graph=graph) as session:
            v1.train.Saver().restore(session, str(tmp_path / "model.ckpt"))
            logits = session.run(points["Logits"], {placeholder: x})
    found = difference(predict(ours, x), logits)
    print(f"\ntf-slim {network} from our file: {found:.2e}", end="")
    assert found < TOLERANCE


def _fill(model: keras.Model) -> None:
    for layer in model.layers:
        seed = zlib.crc32(layer.name.encode())
        values = random_values({weight.name: weight.shape for weight in layer.weights}, seed)
        for weight in layer.weights:
            weight.assign(values[weight.name])
