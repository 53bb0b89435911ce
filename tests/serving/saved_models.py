"""The SavedModels that the tests serve: tiny, and of every kind.

    python -m tests.serving.saved_models FOLDER

writes them, with a `models.config`, for another server to serve.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import tensorflow as tf


class Arithmetic(tf.Module):
    """Signatures of every shape that the conformance tests need."""

    def __init__(self, add: float = 2.0) -> None:
        super().__init__()
        self.add = tf.Variable(add)
        self.calls = tf.Variable(0)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def half_plus(self, x: Any) -> dict[str, Any]:
        return {"y": x * 0.5 + self.add}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.float32, name="a"),
            tf.TensorSpec([None], tf.float32, name="b"),
        ]
    )
    def two_in_two_out(self, a: Any, b: Any) -> dict[str, Any]:
        return {"sum": a + b, "product": a * b}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def echo(self, text: Any) -> dict[str, Any]:
        return {"plain": text, "raw_bytes": text}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def reshape(self, x: Any) -> dict[str, Any]:
        return {"y": tf.reshape(x, [2, 2])}

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32, name="seconds")])
    def slow(self, seconds: Any) -> dict[str, Any]:
        end = tf.timestamp() + tf.cast(seconds, tf.float64)
        (turns,) = tf.while_loop(lambda n: tf.timestamp() < end, lambda n: [n + 1], [0])
        return {"turns": turns}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def count(self, x: Any) -> dict[str, Any]:
        return {"calls": self.calls.assign_add(1), "x": x}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, name="x")])
    def scalar_out(self, x: Any) -> dict[str, Any]:
        return {"total": tf.reduce_sum(x)}

    @tf.function(input_signature=[])
    def no_inputs(self) -> dict[str, Any]:
        return {"y": self.add}


DTYPES = [
    "float32",
    "float64",
    "float16",
    "bfloat16",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "bool",
    "complex64",
    "complex128",
]


def _identity(dtype: str) -> Any:
    @tf.function(input_signature=[tf.TensorSpec([None], dtype, name="x")])
    def identity(x: Any) -> dict[str, Any]:
        return {"y": tf.identity(x)}

    return identity


class Colours(tf.Module):
    """Labels images by their brightest channels; the signatures are those our exports have."""

    def __init__(self) -> None:
        super().__init__()
        self.labels = tf.constant(["red", "green", "blue"])

    def scores(self, images: Any) -> Any:
        return tf.nn.softmax(tf.reduce_mean(tf.cast(images, tf.float32), [1, 2]) / 25.5)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def classify(self, image_bytes: Any) -> dict[str, Any]:
        def decode(data: Any) -> Any:
            pixels = tf.io.decode_image(data, channels=3, expand_animations=False)
            return tf.image.resize(pixels, [8, 8])

        pixels = tf.map_fn(decode, image_bytes, fn_output_signature=tf.float32)
        scores, indices = tf.math.top_k(self.scores(pixels), k=2)
        return {"classes": tf.gather(self.labels, indices), "scores": scores}

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")])
    def probabilities(self, images: Any) -> dict[str, Any]:
        return {"probabilities": self.scores(images)}


def save_arithmetic(path: Path, add: float = 2.0) -> None:
    module = Arithmetic(add)
    identities = {f"identity_{dtype}": _identity(dtype) for dtype in DTYPES}
    signatures = {
        "serving_default": module.half_plus,
        "two_in_two_out": module.two_in_two_out,
        "echo": module.echo,
        "reshape": module.reshape,
        "slow": module.slow,
        "count": module.count,
        "scalar_out": module.scalar_out,
        "no_inputs": module.no_inputs,
        **identities,
    }
    tf.saved_model.save(module, str(path), signatures=signatures)


def save_colours(path: Path) -> None:
    module = Colours()
    tf.saved_model.save(
        module,
        str(path),
        signatures={"serving_default": module.classify, "predict_images": module.probabilities},
    )


def save_float8(path: Path) -> None:
    """Apart, since TensorFlow's optimizer of graphs leaves one with these types as it is."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def narrow(x: Any) -> dict[str, Any]:
        return {"y": tf.cast(x, "float8_e5m2")}

    identities = {dtype: _identity(dtype) for dtype in ("float8_e5m2", "float8_e4m3fn")}
    signatures = {"serving_default": narrow, **identities}
    tf.saved_model.save(tf.Module(), str(path), signatures=signatures)


def save_keras(path: Path) -> None:
    import keras

    inputs = keras.Input([4], name="features")
    model = keras.Model(inputs, keras.layers.Dense(3, kernel_initializer="ones")(inputs))
    model.export(str(path), format="tf_saved_model", verbose=False)


def save_tf1_with_table(path: Path) -> None:
    """A TensorFlow 1 model: a session's graph, with a lookup table that needs its init op."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        words = v1.placeholder(tf.string, [None], name="words")
        keys, values = tf.constant(["cat", "dog"]), tf.constant([10, 20], tf.int64)
        initializer = tf.lookup.KeyValueTensorInitializer(keys, values)
        table = tf.lookup.StaticHashTable(initializer, default_value=-1)
        numbers = table.lookup(words)
        session.run(v1.tables_initializer())
        builder = v1.saved_model.Builder(str(path))
        signature = v1.saved_model.predict_signature_def({"words": words}, {"numbers": numbers})
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {"serving_default": signature},
            main_op=v1.tables_initializer(),
        )
        builder.save()


def save_scorer(path: Path) -> None:
    """A TensorFlow 1 model whose signatures read tf.Examples with a float feature `x`."""
    v1 = tf.compat.v1
    info = v1.saved_model.build_tensor_info
    with tf.Graph().as_default(), v1.Session() as session:
        examples = v1.placeholder(tf.string, [None], name="examples")
        others = v1.placeholder(tf.string, [None], name="others")
        features = {"x": tf.io.FixedLenFeature([], tf.float32, 0.0)}
        x = tf.io.parse_example(examples, features)["x"]
        scores = tf.stack([x, 1 - x], axis=1)
        classes = tf.tile([["yes", "no"]], [tf.shape(x)[0], 1])
        other = tf.strings.to_number(others)

        def signature(inputs: Any, method: str, **outputs: Any) -> Any:
            return v1.saved_model.build_signature_def(
                {name: info(tensor) for name, tensor in inputs.items()},
                {name: info(tensor) for name, tensor in outputs.items()},
                f"tensorflow/serving/{method}",
            )

        one = {"inputs": examples}
        signatures = {
            "serving_default": signature(one, "classify", classes=classes, scores=scores),
            "classes_only": signature(one, "classify", classes=classes),
            "scores_only": signature(one, "classify", scores=scores),
            "flat_scores": signature(one, "classify", scores=x),
            "three_outputs": signature(one, "classify", classes=classes, scores=scores, x=x),
            "no_scores": signature(one, "classify", x=x),
            "two_inputs": signature({**one, "more": others}, "classify", scores=scores),
            "wrong_input": signature({"examples": examples}, "classify", scores=scores),
            "regress": signature(one, "regress", outputs=x[:, None]),
            "regress_flat": signature(one, "regress", outputs=2 * x),
            "regress_wide": signature(one, "regress", outputs=scores),
            "regress_wrong_output": signature(one, "regress", x=x),
            "other_input": signature({"inputs": others}, "regress", outputs=other),
        }
        builder = v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()


def publish(saved_model: Path, version: Path) -> None:
    """Put a SavedModel in place under a version's name, in one step."""
    version.parent.mkdir(exist_ok=True)
    staging = version.parent / f".tmp-{version.name}"
    shutil.copytree(saved_model, staging)
    staging.rename(version)


def save_all(folder: Path) -> None:
    """One SavedModel a folder."""
    save_arithmetic(folder / "arithmetic")
    save_arithmetic(folder / "arithmetic_plus_three", add=3.0)
    save_colours(folder / "colours")
    save_keras(folder / "keras")
    save_scorer(folder / "scorer")
    save_tf1_with_table(folder / "tf1")


def publish_all(saved_models: Path, base: Path) -> None:
    """What the conformance tests expect to be served, as BASE/NAME/VERSION."""
    for name, saved_model, version in (
        ("arithmetic", "arithmetic_plus_three", "1"),
        ("arithmetic", "arithmetic", "00000007"),
        ("colours", "colours", "1"),
        ("keras", "keras", "1"),
        ("scorer", "scorer", "3"),
        ("tf1", "tf1", "1"),
    ):
        publish(saved_models / saved_model, base / name / version)


def main(folder: Path) -> None:
    """Write the models, and the configuration that serves them."""
    base = folder.resolve() / "models"
    base.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as saved_models:
        save_all(Path(saved_models))
        publish_all(Path(saved_models), base)
    configs = [
        f"  config {{ name: '{path.name}' base_path: '{path}' model_platform: 'tensorflow'\n"
        "    model_version_policy { latest { num_versions: 2 } } }\n"
        for path in sorted(base.iterdir())
    ]
    (folder / "models.config").write_text(f"model_config_list {{\n{''.join(configs)}}}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
