"""What becomes of each network's layers."""

from collections import Counter

import keras
import pytest
from keras import layers

import keras_inception
from inception_export.folding import fold_batch_norm
from inception_export.int8.plan import Plan, make_plan
from inception_export.int8.program import record
from inception_export.serving_graph import split

SLOW = pytest.mark.slow


def plan_of(model: keras.Model) -> tuple[keras.Model, Plan]:
    body, _, _ = split(model)
    folded = fold_batch_norm(body)
    return folded, make_plan(record(folded), image_signed=True)


def floats(plan: Plan) -> Counter[str]:
    return Counter(type(step.call.layer).__name__ for step in plan.steps if step.kind == "float")


@pytest.mark.parametrize(
    ("network", "settings"),
    [
        ("InceptionV1", {}),
        ("InceptionV1", {"stem": "small", "input_shape": (28, 28, 1)}),
        pytest.param("InceptionV1", {"variant": "torchvision"}, marks=SLOW),
        pytest.param("InceptionV2", {"stem": "small", "input_shape": (None, None, 3)}, marks=SLOW),
        pytest.param("InceptionV3", {"input_shape": (75, 139, 3)}, marks=SLOW),
        pytest.param("InceptionV3", {"variant": "torchvision"}, marks=SLOW),
        pytest.param("InceptionV4", {"input_shape": (None, None, 3)}, marks=SLOW),
        pytest.param("InceptionV4", {"stem": "small", "input_shape": (32, 32, 3)}, marks=SLOW),
    ],
)
def test_every_convolution_of_v1_to_v4_is_in_int8(network: str, settings: dict) -> None:
    """And with its ReLU: no tensor in between has a sign."""
    build = getattr(keras_inception, network)
    model, plan = plan_of(build(weights=None, classes=5, width=0.25, **settings))
    convolutions = sum(isinstance(layer, layers.Conv2D) for layer in model.layers)
    kinds = Counter(step.kind for step in plan.steps)
    assert kinds["conv"] == convolutions
    # torchvision pads the image itself, before it is bytes.
    assert floats(plan).keys() <= {"ZeroPadding2D", "GlobalAveragePooling2D", "Dropout"}
    assert sum(plan.signed.values()) == 1  # the image, as it enters the first convolution


@SLOW
@pytest.mark.parametrize("network", ["InceptionResNetV1", "InceptionResNetV2"])
def test_of_inception_resnets_the_sums_alone_are_float32(network: str) -> None:
    build = getattr(keras_inception, network)
    model, plan = plan_of(
        build(weights=None, classes=5, width=0.125, stem="small", input_shape=(32, 32, 3))
    )
    convolutions = sum(isinstance(layer, layers.Conv2D) for layer in model.layers)
    assert Counter(step.kind for step in plan.steps)["conv"] == convolutions
    assert floats(plan).keys() <= {
        *("Rescaling", "Add", "Activation", "ReLU", "MaxPooling2D", "Concatenate"),
        *("GlobalAveragePooling2D", "Dropout"),
    }


def test_columns_of_a_concat_and_its_pools_share_a_range() -> None:
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 1, activation="relu")(image)
    a = layers.Conv2D(4, 1, activation="relu")(x)
    b = layers.MaxPooling2D(3, 1, "same")(x)
    joined = layers.Concatenate()([a, b])
    other = layers.Conv2D(4, 1, activation="relu")(joined)
    plan = make_plan(record(keras.Model(image, other)), image_signed=False)
    by_kind = {step.kind: step for step in plan.steps}
    column, pool = by_kind["concat"].inputs
    shared = plan.range_of(column)
    assert plan.range_of(pool) == plan.range_of(by_kind["max_pool"].inputs[0]) == shared
    assert plan.range_of(by_kind["concat"].output) == shared
    assert plan.range_of(plan.output) != shared
    assert len(plan.ranges) == 3  # the image's, the shared one, the output's
    assert not any(plan.signed.values())


@pytest.mark.parametrize(
    "layer",
    [
        layers.Conv2D(4, 3, dilation_rate=2, padding="same"),
        layers.Conv2D(4, 3, strides=(1, 2)),
        layers.Conv2D(4, 3, groups=2),
        layers.Conv2D(4, 3, activation="gelu"),
        layers.DepthwiseConv2D(3),
        layers.SeparableConv2D(4, 3),
    ],
    ids=lambda layer: layer.name,
)
def test_other_convolutions_stay_float32(layer: keras.Layer) -> None:
    image = keras.Input((8, 8, 4))
    plan = make_plan(record(keras.Model(image, layer(image))), image_signed=True)
    assert [step.kind for step in plan.steps] == ["float"]
    assert not plan.ranges


def test_what_two_layers_read_is_kept_without_its_relu() -> None:
    image = keras.Input((8, 8, 4))
    x = layers.Conv2D(4, 1)(image)
    both = layers.Add()([layers.ReLU()(x), layers.MaxPooling2D(1)(x)])
    plan = make_plan(record(keras.Model(image, both)), image_signed=True)
    assert sorted(step.kind for step in plan.steps) == ["conv", "float", "float", "max_pool"]
    assert [step.relu for step in plan.steps if step.kind == "conv"] == [False]
