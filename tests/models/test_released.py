"""Layer by layer: the networks against the released graphs, which nobody here wrote."""

from __future__ import annotations

from math import prod

import pytest
from keras import layers

from keras_inception import endpoints
from tests.models.released import BUILDERS, RELEASED, our_layers

NETWORKS = pytest.mark.parametrize("network", BUILDERS)
CONVOLUTIONS = (layers.Conv2D, layers.SeparableConv2D)
POOLS = {"MaxPool": layers.MaxPooling2D, "AvgPool": layers.AveragePooling2D}


@pytest.fixture
def model(build, network):
    title, arguments = BUILDERS[network]
    return build(title, classes=1001, **arguments)


@NETWORKS
def test_every_end_point_has_the_released_shape(model, network):
    ours = endpoints(model)
    for slim, shape in RELEASED[network]["end_points"].items():
        flat = [side for side in shape if side != 1]  # a pooled map, 1 x 1 x C, is C for Keras
        assert list(ours[slim].shape[1:]) in (shape, flat), slim


@NETWORKS
def test_every_convolution_is_the_released_one(model, network):
    released = dict(RELEASED[network]["convolutions"])
    depthwise = released.pop("Conv2d_1a_7x7/separable_conv2d/depthwise", None)
    ours = our_layers(released, model, *CONVOLUTIONS)
    for slim, (kernel, stride, padding, out) in released.items():
        layer = ours[slim]
        if isinstance(layer, layers.Dense):  # a 1x1 convolution of a 1 x 1 map
            assert [1, 1, *layer.kernel.shape] == kernel, slim
            continue
        assert list(layer.output.shape[1:]) == out, slim
        if isinstance(layer, layers.SeparableConv2D):
            assert list(layer.pointwise_kernel.shape) == kernel, slim
            kernel, stride, padding, _ = depthwise
            assert list(layer.depthwise_kernel.shape) == kernel, slim
        else:
            assert list(layer.kernel.shape) == kernel, slim
        assert layer.strides == (stride, stride), slim
        assert layer.padding == padding or prod(layer.kernel_size) == 1, slim
    all_ours = {layer.name for layer in model.layers if isinstance(layer, CONVOLUTIONS)}
    assert all_ours <= {layer.name for layer in ours.values()}


@NETWORKS
def test_every_pool_is_the_released_one(model, network):
    released = RELEASED[network]["pools"]
    # The last one is global here, and as large as the grid there.
    released = {slim: pool for slim, pool in released.items() if not slim.startswith("Logits/")}
    ours = our_layers(released, model, *POOLS.values())
    for slim, (kind, size, stride, padding, out) in released.items():
        layer = ours[slim]
        assert type(layer) is POOLS[kind], slim
        assert (layer.pool_size, layer.strides) == ((size, size), (stride, stride)), slim
        assert layer.padding == padding, slim
        assert list(layer.output.shape[1:]) == out, slim
    all_ours = {layer.name for layer in model.layers if isinstance(layer, tuple(POOLS.values()))}
    assert all_ours == {layer.name for layer in ours.values()}


@NETWORKS
def test_parameters_are_the_released_ones(model, network):
    counts = RELEASED[network]["parameters"]
    assert model.count_params() == counts["all_with_aux"]
    assert sum(prod(w.shape) for w in model.trainable_weights) == counts["trainable_with_aux"]


# Inception-ResNet v1 has no released graph: against the paper's figures 7 and 10 to 14, by hand.
# One line a convolution: kernel, channels, stride and padding; the grid after it; columns by "|".
RESNET_V1 = {
    "stem_a": "3x3 32 /2 V -> 149",
    "stem_b": "3x3 32 V -> 147",
    "stem_c": "3x3 64 -> 147",
    "stem_e": "1x1 80 -> 73",
    "stem_f": "3x3 192 V -> 71",
    "stem_g": "3x3 256 /2 V -> 35",
    "block35_{1..5}": """
        1x1 32 -> 35
        | 1x1 32 -> 35, 3x3 32 -> 35
        | 1x1 32 -> 35, 3x3 32 -> 35, 3x3 32 -> 35
        | 1x1 256 -> 35""",
    "mixed_6a": """
        3x3 384 /2 V -> 17
        | 1x1 192 -> 35, 3x3 192 -> 35, 3x3 256 /2 V -> 17""",
    "block17_{1..10}": """
        1x1 128 -> 17
        | 1x1 128 -> 17, 1x7 128 -> 17, 7x1 128 -> 17
        | 1x1 896 -> 17""",
    "mixed_7a": """
        1x1 256 -> 17, 3x3 384 /2 V -> 8
        | 1x1 256 -> 17, 3x3 256 /2 V -> 8
        | 1x1 256 -> 17, 3x3 256 -> 17, 3x3 256 /2 V -> 8""",
    "block8_{1..6}": """
        1x1 192 -> 8
        | 1x1 192 -> 8, 1x3 192 -> 8, 3x1 192 -> 8
        | 1x1 1792 -> 8""",
}


def _in_words(layer):
    height, width = layer.kernel_size
    stride = " /2" if layer.strides == (2, 2) else ""
    valid = " V" if layer.padding == "valid" and (height, width) != (1, 1) else ""
    return f"{height}x{width} {layer.filters}{stride}{valid} -> {layer.output.shape[1]}"


def test_inception_resnet_v1_is_the_papers(build):
    model = build("InceptionResNetV1")
    convolutions = {
        layer.name: _in_words(layer) for layer in model.layers if type(layer) is layers.Conv2D
    }
    expected = {}
    for name, text in RESNET_V1.items():
        family, _, count = name.partition("{1..")
        modules = [f"{family}{n + 1}" for n in range(int(count[:-1]))] if count else [name]
        words = [word.strip() for column in text.split("|") for word in column.split(",")]
        expected |= {module: words for module in modules}
    for module, words in expected.items():
        ours = sorted(name for name in convolutions if name.startswith(f"{module}_"))
        assert [convolutions.pop(name) for name in ours] == words, module
    assert not convolutions
    shapes = {name: tensor.shape[1:] for name, tensor in endpoints(model).items()}
    assert shapes["stem_d_max_pool"] == (73, 73, 64)
    assert shapes["block35_5"] == (35, 35, 256)
    assert shapes["mixed_6a"] == shapes["block17_10"] == (17, 17, 896)
    assert shapes["mixed_7a"] == shapes["block8_6"] == (8, 8, 1792)


@pytest.mark.parametrize(
    ("title", "scales", "linear"),
    [
        ("InceptionResNetV1", {"35": [0.17] * 5, "17": [0.1] * 10, "8": [0.2] * 5 + [1.0]}, 6),
        ("InceptionResNetV2", {"35": [0.17] * 10, "17": [0.1] * 20, "8": [0.2] * 9 + [1.0]}, 10),
    ],
)
def test_residual_blocks_scale_their_corrections(build, title, scales, linear):
    model = build(title)
    for grid, expected in scales.items():
        for index, scale in enumerate(expected, start=1):
            block = f"block{grid}_{index}"
            assert model.get_layer(f"{block}_scale").scale == scale
            project = model.get_layer(f"{block}_b_linear")
            assert project.use_bias and project.activation.__name__ == "linear"
            last = model.get_layer(block)  # a ReLU ends every block but the last
            assert isinstance(
                last, layers.Add if block == f"block8_{linear}" else layers.Activation
            )
