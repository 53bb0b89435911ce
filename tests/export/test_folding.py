"""Batch norm folded into the convolution before it computes the same."""

import keras
import numpy as np
import pytest

from inception_export.folding import fold_batch_norm
from inception_export.serving_graph import ServingGraphError, split
from keras_inception import (
    InceptionResNetV2,
    InceptionV1,
    InceptionV2,
    InceptionV3,
    InceptionV4,
)


def with_random_statistics(model: keras.Model) -> keras.Model:
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights(
                [
                    random.uniform(0.5, 2.0, each.shape)
                    if each.name in ("gamma", "moving_variance")
                    else random.normal(0, 0.5, each.shape)
                    for each in layer.weights
                ]
            )
    return model


def largest_difference(model: keras.Model, folded: keras.Model) -> float:
    """Of the outputs, in their standard deviations."""
    images = np.random.default_rng(1).uniform(-1, 1, (4, *model.input_shape[1:]))
    expected, result = model.predict(images, verbose=0), folded.predict(images, verbose=0)
    return float(np.abs(result - expected).max() / expected.std())


@pytest.mark.parametrize(
    ("builder", "variant"),
    [
        (InceptionV1, None),
        (InceptionV2, "slim"),  # a stem with biases and without batch norm
        (InceptionV3, "torchvision"),
        pytest.param(InceptionV4, None, marks=pytest.mark.slow),
        # Projections with biases and without batch norm.
        pytest.param(InceptionResNetV2, None, marks=pytest.mark.slow),
    ],
)
def test_a_network_folds_to_the_same_logits_without_batch_norm(builder, variant) -> None:
    model = builder(
        stem="small", width=0.125, classes=7, classifier_activation=None, variant=variant
    )
    model = with_random_statistics(model)
    before = [weight.copy() for weight in model.get_weights()]
    folded = fold_batch_norm(model)

    def count(network: keras.Model, kind: type) -> int:
        return sum(isinstance(layer, kind) for layer in network.layers)

    assert count(folded, keras.layers.BatchNormalization) == 0
    assert count(folded, keras.layers.Conv2D) == count(model, keras.layers.Conv2D)
    assert largest_difference(model, folded) < 1e-4
    for weight, untouched in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, untouched)


def test_gamma_and_a_bias_are_folded_too() -> None:
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(5, 3, use_bias=True, bias_initializer="normal")(image)
    x = keras.layers.BatchNormalization(gamma_initializer="normal")(x)
    model = with_random_statistics(keras.Model(image, x))
    folded = fold_batch_norm(model)
    assert len(folded.layers) == 2
    assert largest_difference(model, folded) < 1e-5


def test_a_batch_norm_that_does_not_alone_follow_a_convolution_stays() -> None:
    image = keras.Input((8, 8, 3))
    shared = keras.layers.Conv2D(4, 3, name="shared")(image)
    active = keras.layers.Conv2D(4, 3, activation="relu", name="active")(image)
    after_shared = keras.layers.BatchNormalization(name="after_shared")(shared)
    after_active = keras.layers.BatchNormalization(name="after_active")(active)
    joined = keras.layers.Concatenate()([shared, after_shared, after_active])
    after_join = keras.layers.BatchNormalization(name="after_join")(joined)
    model = with_random_statistics(keras.Model(image, after_join))
    folded = fold_batch_norm(model)
    stayed = {
        layer.name for layer in folded.layers if isinstance(layer, keras.layers.BatchNormalization)
    }
    assert stayed == {"after_shared", "after_active", "after_join"}
    assert largest_difference(model, folded) < 1e-5


def test_a_convolution_used_twice_is_not_folded_for_one_of_its_uses() -> None:
    """`layer.input` tells of the first call alone."""
    image, other = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    twice = keras.layers.Conv2D(4, 3, name="twice")
    once = keras.layers.Conv2D(4, 3, name="once")
    first = keras.layers.BatchNormalization(name="after_first")(twice(image))
    second = keras.layers.BatchNormalization(name="after_second")(twice(other))
    both = keras.layers.BatchNormalization(name="both")
    plain = keras.layers.BatchNormalization(name="plain")(once(image))
    x = keras.layers.Concatenate()([both(first), both(second), plain])
    model = with_random_statistics(keras.Model([image, other], x))
    folded = fold_batch_norm(model)
    stayed = {
        layer.name for layer in folded.layers if isinstance(layer, keras.layers.BatchNormalization)
    }
    assert stayed == {"after_first", "after_second", "both"}
    images = np.random.default_rng(1).uniform(-1, 1, (2, 4, 8, 8, 3))
    expected = model.predict(list(images), verbose=0)
    np.testing.assert_allclose(folded.predict(list(images), verbose=0), expected, atol=1e-4)


def test_a_batch_norm_that_reads_two_convolutions_stays() -> None:
    image = keras.Input((8, 8, 3))
    norm = keras.layers.BatchNormalization(name="norm")
    x = keras.layers.Add()(
        [norm(keras.layers.Conv2D(4, 3)(image)), norm(keras.layers.Conv2D(4, 3)(image))]
    )
    model = with_random_statistics(keras.Model(image, x))
    folded = fold_batch_norm(model)
    assert "norm" in [layer.name for layer in folded.layers]
    assert largest_difference(model, folded) < 1e-5


def classifier(*ends: keras.layers.Layer) -> keras.Model:
    image = x = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    for layer in ends:
        x = layer(x)
    return keras.Model(image, x)


@pytest.mark.parametrize(
    ("ends", "activation"),
    [
        ([keras.layers.Dense(3)], "softmax"),
        ([keras.layers.Dense(3, "softmax")], "softmax"),
        ([keras.layers.Dense(3, "sigmoid")], "sigmoid"),
        ([keras.layers.Dense(3), keras.layers.Softmax()], "softmax"),
        ([keras.layers.Dense(3), keras.layers.Activation("sigmoid")], "sigmoid"),
        ([keras.layers.Dense(3, "sigmoid"), keras.layers.Activation("linear")], "sigmoid"),
    ],
)
def test_a_classifier_is_taken_apart_by_its_graph(ends: list, activation: str) -> None:
    body, dense, found = split(classifier(*ends))
    assert [layer.name for layer in body.layers][-1] == "pool"
    assert dense is ends[0]
    assert found.__name__ == activation


@pytest.mark.parametrize("same_image", [True, False])
def test_a_dense_layer_called_elsewhere_first_is_refused_and_a_clone_is_not(
    same_image: bool,
) -> None:
    dense = keras.layers.Dense(3, name="dense")
    first = classifier(keras.layers.Dense(4, "relu", name="hidden"), dense)
    other = keras.layers.Dense(4, "tanh", name="other")
    if same_image:
        model = keras.Model(first.input, dense(other(first.get_layer("pool").output)))
    else:
        model = classifier(other, dense)
    with pytest.raises(ServingGraphError, match="dense, in which the model ends, must be used"):
        split(model)
    body, _, _ = split(keras.models.clone_model(model))
    assert body.layers[-1].name == "other"


def test_a_model_that_ends_in_no_dense_layer_is_refused() -> None:
    with pytest.raises(ServingGraphError, match=r"ends in a dense layer.*hidden \(ReLU\)"):
        split(classifier(keras.layers.Dense(3), keras.layers.ReLU(name="hidden")))
