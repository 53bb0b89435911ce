"""End points and the models that end at them, on built and on loaded networks."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_inception import InceptionV3, endpoints, features


def test_end_points_are_in_order_from_the_image_to_the_classifier(build):
    assert list(endpoints(build("InceptionV3"))) == [
        *("stem_a_3x3", "stem_b_3x3", "stem_c_3x3", "stem_d_max_pool"),
        *("stem_e_1x1", "stem_f_3x3", "stem_g_max_pool"),
        *("mixed_5b", "mixed_5c", "mixed_5d"),
        *("mixed_6a", "mixed_6b", "mixed_6c", "mixed_6d", "mixed_6e"),
        *("mixed_7a", "mixed_7b", "mixed_7c", "avg_pool", "logits", "predictions"),
    ]
    v1 = list(endpoints(build("InceptionV1", aux=True, classes=1001)))
    assert v1[5:8] == ["inception_3a", "inception_3b", "inception_3_max_pool"]
    assert v1[-2:] == ["aux_4a", "aux_4d"]


def test_a_convolutions_end_point_is_its_relu(build):
    points = endpoints(build("InceptionV3"))
    assert points["stem_a_3x3"] is build("InceptionV3").get_layer("stem_a_3x3_relu").output
    assert points["Conv2d_1a_3x3"] is points["stem_a_3x3"]


@pytest.mark.parametrize(
    ("title", "slim", "ours"),
    [
        ("InceptionV1", "Mixed_4f", "inception_4e"),
        ("InceptionV1", "MaxPool_3a_3x3", "stem_e_max_pool"),
        ("InceptionV2", "Mixed_5a", "inception_4e"),
        ("InceptionV2", "Mixed_4a", "inception_3c"),
        ("InceptionV3", "MaxPool_3a_3x3", "stem_d_max_pool"),
        ("InceptionV4", "Mixed_4a", "stem_e"),
        ("InceptionResNetV1", "Conv2d_4b_3x3", "stem_g_3x3"),
        ("InceptionResNetV2", "PreAuxLogits", "block17_20"),
        ("InceptionResNetV2", "Conv2d_7b_1x1", "conv_7b_1x1"),
        ("InceptionResNetV2", "PreLogitsFlatten", "avg_pool"),
    ],
)
def test_slims_names_find_ours(build, title, slim, ours):
    points = endpoints(build(title))
    assert points[slim] is points[ours]


def test_features_share_the_weights(narrow):
    model = narrow("InceptionV3")
    part = features(model, at="mixed_6e")
    assert part.layers[-1] is model.get_layer("mixed_6e")
    assert part.output.shape == (None, None, None, model.get_layer("mixed_6e").output.shape[-1])
    assert part(np.zeros((1, 75, 75, 3))).shape[:3] == (1, 3, 3)


def test_features_at_several_points(narrow):
    pyramid = features(narrow("InceptionV3"), at=["Mixed_5d", "mixed_6e", "mixed_7c"])
    shapes = {name: value.shape[1] for name, value in pyramid(np.zeros((1, 107, 107, 3))).items()}
    assert shapes == {"Mixed_5d": 11, "mixed_6e": 5, "mixed_7c": 2}


@pytest.mark.parametrize("at", ["mixed_6z", "Mixed_4f", "", 3])
def test_an_unknown_end_point_is_refused_with_the_choices(build, at):
    with pytest.raises(ValueError, match=rf"mixed_6d, mixed_6e.* Received: at={at!r}"):
        features(build("InceptionV3"), at=at)
    with pytest.raises(KeyError, match=r"mixed_6d, mixed_6e"):
        endpoints(build("InceptionV3"))[at]


def test_another_model_is_refused():
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)], name="other")
    with pytest.raises(ValueError, match=r"network of this family.* Received: model='other'"):
        endpoints(other)


def test_a_loaded_model_has_the_same_end_points(tmp_path):
    model = InceptionV3(stem="small", width=0.125, classes=4, aux=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    shapes = {name: tensor.shape for name, tensor in endpoints(model).items()}
    assert {name: tensor.shape for name, tensor in endpoints(loaded).items()} == shapes
    images = np.random.default_rng(0).uniform(-1, 1, (1, 32, 32, 3)).astype("float32")
    np.testing.assert_array_equal(
        features(loaded, at="Mixed_7c")(images), features(model, at="mixed_7c")(images)
    )
