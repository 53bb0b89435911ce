"""A model's graph: every call of every layer is seen, and who reads whose output."""

import keras

from keras_inception.models.graph import OUTPUT, outputs, producers, readers


def _twice() -> keras.Model:
    image = keras.Input((8, 8, 3), name="image")
    conv = keras.layers.Conv2D(3, 1, name="conv")
    first = conv(image)
    second = conv(first)
    total = keras.layers.Add(name="add")([first, second])
    return keras.Model(image, {"total": total, "conv": second})


def test_every_call_of_a_layer_is_seen() -> None:
    model = _twice()
    assert producers(model) == {
        "image": [],
        "conv": [["image"], ["conv"]],
        "add": [["conv", "conv"]],
    }
    assert readers(model) == {
        "image": ["conv"],
        "conv": ["conv", "add", "add", OUTPUT],
        "add": [OUTPUT],
    }
    assert outputs(model) == ["conv", "add"]
    assert [tensor.shape for tensor in model.outputs] == [(None, 8, 8, 3)] * 2


def test_a_call_with_keywords_and_an_operation_that_is_no_layer() -> None:
    query = keras.Input((4, 8), name="query")
    value = keras.Input((4, 8), name="value")
    attended = keras.layers.MultiHeadAttention(1, 8, name="attention")(query=query, value=value)
    model = keras.Model([query, value], keras.ops.multiply(attended, query))
    assert producers(model)["attention"] == [["query", "value"]]
    (operation,) = outputs(model)
    assert producers(model)[operation] == [["attention", "query"]]


def test_a_sequential_and_a_loaded_model(tmp_path) -> None:
    sequential = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(2, name="a"), keras.layers.ReLU(name="b")]
    )
    assert producers(sequential)["b"] == [["a"]]
    assert outputs(sequential) == ["b"]
    model = _twice()
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert producers(loaded) == producers(model)
    assert readers(loaded) == readers(model)


def test_a_model_in_a_model_is_one_layer() -> None:
    image = keras.Input((8, 8, 3), name="outer")
    inner = keras.Model(
        inner_image := keras.Input((8, 8, 3)), keras.layers.ReLU()(inner_image), name="inner"
    )
    model = keras.Model(image, inner(image))
    assert producers(model) == {"outer": [], "inner": [["outer"]]}
    assert readers(model)["inner"] == [OUTPUT]
