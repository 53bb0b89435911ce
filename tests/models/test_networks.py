"""What holds for every network of the family: counts, sizes, names, widths."""

from __future__ import annotations

from math import prod

import keras
import numpy as np
import pytest
from keras import layers

import keras_inception
from keras_inception import endpoints
from keras_inception.models.catalogue import CATALOGUE, recognize
from keras_inception.models.conventions import conventions
from keras_inception.models.drawing.outline import outline
from keras_inception.models.layers import avg_pool, chain, concat, conv, max_pool, position, stem

FAMILY = [
    "InceptionV1",
    "InceptionV2",
    "InceptionV3",
    "InceptionV4",
    "InceptionResNetV1",
    "InceptionResNetV2",
]

# Parameters (kernels, biases, beta, moving statistics) without top, with 1000 and 1001 classes,
# the same two with auxiliary heads, and as PyTorch counts the network with 1000 classes: gamma
# where we have none, moving statistics left out.
COUNTS = [
    ("InceptionV1", "slim", 5_607_184, 6_632_184, 6_633_209, 13_012_424, 13_015_499, 6_624_904),
    ("InceptionV1", "paper", 5_988_112, 7_013_112, 7_014_137, 13_393_352, 13_396_427, 7_005_832),
    ("InceptionV2", "slim", 10_173_112, 11_198_112, 11_199_137, 17_592_688, None, None),
    ("InceptionV2", "full", 10_179_936, 11_204_936, 11_205_961, 17_599_512, None, 11_194_984),
    (
        *("InceptionV3", "slim", 21_802_784, 23_851_784, 23_853_833),
        *(27_179_376, 27_182_194, 23_834_568),
    ),
    (
        *("InceptionV3", "paper", 21_655_328, 23_704_328, 23_706_377),
        *(27_031_920, 27_034_738, 23_687_112),
    ),
    (
        *("InceptionV4", None, 41_174_400, 42_711_400, 42_712_937),
        *(46_071_760, 46_074_066, 42_679_816),
    ),
    (
        *("InceptionResNetV2", None, 54_336_736, 55_873_736, 55_875_273),
        *(59_242_288, 59_244_594, 55_843_464),
    ),
    ("InceptionResNetV1", None, 22_578_384, 24_371_384, 24_373_177, None, None, 24_357_096),
]


@pytest.mark.parametrize(
    ("title", "variant", "no_top", "top", "top_1001", "aux", "aux_1001", "torch"), COUNTS
)
def test_parameters(build, title, variant, no_top, top, top_1001, aux, aux_1001, torch):
    arguments = {} if variant in (None, "full") else {"variant": variant}
    model = build(title, **arguments)
    assert model.count_params() == top
    channels = sum(
        layer.beta.shape[0] for layer in model.layers if type(layer) is layers.BatchNormalization
    )
    assert torch in (None, top - channels)  # gamma for two moving statistics

    if aux is None:
        larger = build(title, classes=1001)
    else:
        larger = build(title, classes=1001, aux=True, **arguments)
        classifiers = [layer for layer in larger.layers if type(layer) is layers.Dense]
        classifiers = [layer for layer in classifiers if layer.name.endswith("logits")]
        a_class = sum(layer.kernel.shape[0] + 1 for layer in classifiers)
        assert larger.count_params() == aux + a_class
        assert aux_1001 in (None, larger.count_params())
    heads = sum(layer.count_params() for layer in larger.layers if layer.name.startswith("aux"))
    assert larger.count_params() - heads == top_1001

    assert build(title, include_top=False, **arguments).count_params() == no_top


@pytest.mark.parametrize("title", FAMILY)
def test_without_top_the_last_feature_map_is_the_output(build, title):
    model, bare = build(title), build(title, include_top=False)
    assert bare.output.shape == model.get_layer("avg_pool").input.shape
    top = ("avg_pool", "dropout", "logits", "predictions")
    names = [layer.name for layer in model.layers if layer.name not in top]
    assert [layer.name for layer in bare.layers] == names


def test_two_networks_in_one_model_do_not_clash(narrow):
    one, two = narrow("InceptionV1"), narrow("InceptionV2")
    image = keras.Input((64, 64, 3))
    both = keras.Model(image, layers.Average()([one(image), two(image)]))
    assert both.count_params() == one.count_params() + two.count_params()


def test_the_third_network_ends_as_the_notes_say(build):
    points = endpoints(build("InceptionV3"))
    assert points["mixed_7c"].shape == (None, 8, 8, 2048)
    assert points["avg_pool"].shape == (None, 2048)
    assert points["predictions"].shape == (None, 1000)


@pytest.mark.parametrize("kernel", [1, 3, 5, 7, (1, 7), (7, 1)])
def test_same_keeps_the_size_and_valid_shrinks_it(kernel):
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    x = keras.Input((35, 17, 6))
    assert conv(24, kernel)(x, "same").shape == (None, 35, 17, 24)
    valid = (None, 35 - height + 1, 17 - width + 1, 24)
    assert conv(24, kernel, 1, "valid")(x, "valid").shape == valid


@pytest.mark.parametrize("pool", [max_pool, avg_pool])
@pytest.mark.parametrize("arguments", [(3,), (3, 2), (3, 2, "valid"), (2, 2), (5, 3, "valid")])
def test_pools_keep_the_channels(pool, arguments):
    assert pool(*arguments)(keras.Input((35, 35, 6)), "pool").shape[-1] == 6


@pytest.mark.parametrize("title", FAMILY)
def test_the_minimum_is_true(narrow, title):
    model = narrow(title)
    minimum = 1 if title in ("InceptionV1", "InceptionV2") else 75
    assert model(np.zeros((1, minimum, minimum + 2, 3))).shape == (1, 10)
    builder = getattr(keras_inception, title)
    if minimum > 1:
        below = minimum - 1
        assert _last_grid(model, minimum) == (1, 1)
        with pytest.raises(ValueError):  # Keras's own, at some layer whose output is empty
            _last_grid(model, below)
        message = (
            f"at least {minimum} x {minimum} pixels. Received: input size {below} x 299.*small"
        )
        with pytest.raises(ValueError, match=message):
            builder(input_shape=(below, 299, 3))


def _last_grid(model, side):
    inner = keras.Model(model.inputs, model.get_layer("avg_pool").input)
    shape = inner.compute_output_shape((None, side, side, 3))[1:3]
    if 0 in shape:
        raise ValueError("an empty grid")
    return shape


@pytest.mark.parametrize(
    ("title", "on", "minimum"),
    [
        ("InceptionV1", "inception_4d", 65),
        ("InceptionV2", "inception_4d", 65),
        ("InceptionV3", "mixed_6e", 107),
        ("InceptionV4", "mixed_6h", 107),
        ("InceptionResNetV2", "block17_20", 107),
    ],
)
def test_the_minimum_with_auxiliary_heads_is_true(narrow, title, on, minimum):
    inner = keras_inception.features(narrow(title), at=on)
    # The heads begin with a 5x5 pool that pads nothing.
    assert inner.compute_output_shape((None, minimum, minimum, 3))[1:3] == (5, 5)
    assert inner.compute_output_shape((None, minimum - 1, minimum - 1, 3))[1:3] == (4, 4)
    with pytest.raises(ValueError, match=f"at least {minimum} x {minimum} pixels.*{minimum - 1}"):
        getattr(keras_inception, title)(input_shape=(minimum - 1, 299, 3), aux=True)


@pytest.mark.parametrize("title", FAMILY)
def test_odd_sizes(narrow, title):
    assert narrow(title)(np.zeros((2, 91, 78, 3))).shape == (2, 10)


@pytest.mark.parametrize("title", FAMILY)
def test_small_images(title):
    model = getattr(keras_inception, title)(
        stem="small", input_shape=(28, 28, 1), classes=10, width=0.125
    )
    assert model(np.zeros((1, 28, 28, 1))).shape == (1, 10)
    points = endpoints(model)
    words = [name for name in points if name.startswith("stem_")]
    assert points[words[-1]].shape[1:3] == (14, 14)
    grids = [tensor.shape[1] for tensor in points.values() if len(tensor.shape) == 4]
    assert grids[-1] == 4  # the two later halvings: 14, 7, 4


@pytest.mark.parametrize(
    ("side", "kept", "grid"),
    [
        (28, ["stem_a_3x3", "stem_c_1x1", "stem_d_3x3", "stem_e_max_pool"], 14),
        (55, ["stem_a_3x3", "stem_c_1x1", "stem_d_3x3", "stem_e_max_pool"], 28),
        (56, ["stem_a_3x3", "stem_b_max_pool", "stem_c_1x1", "stem_d_3x3", "stem_e_max_pool"], 14),
        (112, ["stem_a_7x7", "stem_b_max_pool", "stem_c_1x1", "stem_d_3x3", "stem_e_max_pool"], 14),
    ],
)
def test_a_small_stem_loses_halvings_from_the_front(side, kept, grid):
    image = keras.Input((side, side, 3))
    with conventions(small=True):
        x = stem(image, conv(64, 7, 2), max_pool(3, 2), conv(64, 1), conv(192, 3), max_pool(3, 2))
    names = [layer.name for layer in keras.Model(image, x).layers[1:]]
    assert [name for name in names if not name.endswith(("_bn", "_relu"))] == kept
    assert x.shape == (None, grid, grid, 192)


@pytest.mark.parametrize("title", FAMILY)
def test_width_scales_every_convolution(build, narrow, title):
    full = build(title)
    for layer in narrow(title).layers:
        if type(layer) is layers.Conv2D:
            published = full.get_layer(layer.name).filters
            if layer.name.endswith("_linear"):  # back to the channels of what it is added to
                block = layer.name.removesuffix("_b_linear")
                assert layer.filters == narrow(title).get_layer(f"{block}_scale").output.shape[-1]
            else:
                assert layer.filters == max(8, 8 * round(published / 8 / 8)), layer.name
                assert layer.filters % 8 == 0


def test_names_do_not_depend_on_what_was_built_before(build, narrow):
    names = [layer.name for layer in narrow("InceptionV1").layers]
    build("InceptionV2", width=0.5)
    again = build("InceptionV1", width=0.25, classes=3)
    assert [layer.name for layer in again.layers] == names
    assert len(set(names)) == len(names)


def test_variants_of_the_first_network(build):
    paper, slim = build("InceptionV1"), build("InceptionV1", variant="slim")
    torchvision = build("InceptionV1", variant="torchvision")
    assert paper.get_layer("inception_3a_branch_2_b_5x5").kernel_size == (5, 5)
    assert slim.get_layer("inception_3a_branch_2_b_3x3").kernel_size == (3, 3)
    assert paper.get_layer("inception_4_max_pool").pool_size == (3, 3)
    assert slim.get_layer("inception_4_max_pool").pool_size == (2, 2)
    assert torchvision.get_layer("stem_a_7x7_pad").padding == ((3, 3), (3, 3))
    assert torchvision.get_layer("stem_a_7x7").output.shape[1:3] == (112, 112)


def test_variants_of_the_second_network(build):
    paper, slim = build("InceptionV2"), build("InceptionV2", variant="slim")
    assert paper.get_layer("stem_a_7x7").kernel.shape == (7, 7, 3, 64)
    separable = slim.get_layer("stem_a_7x7")
    assert separable.depth_multiplier == 8 and separable.use_bias
    assert separable.count_params() == prod((7, 7, 3, 8)) + 24 * 64 + 64
    names = {layer.name for layer in slim.layers}
    assert "stem_a_7x7_relu" in names and "stem_a_7x7_bn" not in names


def test_its_former_name_is_an_alias_that_warns(build):
    with pytest.warns(DeprecationWarning, match="variant 'paper' is now called 'full'"):
        former = build("InceptionV2", variant="paper")
    layers_of = [[each.name for each in model.layers] for model in (former, build("InceptionV2"))]
    assert layers_of[0] == layers_of[1]


def test_variants_of_the_third_network(build):
    """Figure 5 has a single 3x3 where every released network has a 5x5."""
    slim, paper = build("InceptionV3"), build("InceptionV3", variant="paper")
    for module in ("mixed_5b", "mixed_5c", "mixed_5d"):
        assert slim.get_layer(f"{module}_branch_1_b_5x5").kernel.shape == (5, 5, 48, 64)
        assert paper.get_layer(f"{module}_branch_1_b_3x3").kernel.shape == (3, 3, 48, 64)
    others = [
        {each.name for each in model.layers if "branch_1_b_" not in each.name}
        for model in (slim, paper)
    ]
    assert others[0] == others[1]


def test_torchvisions_average_counts_the_padding_in():
    ones = np.ones((1, 4, 4, 1), "float32")
    image = keras.Input((4, 4, 1))
    with conventions(average_counts_padding=True):
        counted = keras.Model(image, avg_pool(3)(image, "pool"))(ones)[0, :, :, 0]
    left_out = keras.Model(image, avg_pool(3)(image, "pool"))(ones)[0, :, :, 0]
    np.testing.assert_allclose(left_out, 1.0)
    np.testing.assert_allclose(np.array(counted)[0], [4 / 9, 6 / 9, 6 / 9, 4 / 9], rtol=1e-6)


def test_positions_are_in_order_at_any_length():
    names = [position(index) for index in range(100)]
    assert names[:26] == list("abcdefghijklmnopqrstuvwxyz")
    assert names[26:28] == ["za", "zb"] and names[51:53] == ["zz", "zza"]
    assert names == sorted(set(names))


def test_no_word_of_a_long_chain_is_lost():
    image = keras.Input((32, 32, 3))
    column = [conv(8 * (index + 1), 1) for index in range(30)]
    x = stem(image, *column)
    x = concat(x, *[[avg_pool(3)] for _ in range(12)], column, name="mixed_5b")
    model = keras.Model(image, x)
    points = endpoints(model)
    assert list(points)[:30] == [f"stem_{position(index)}_1x1" for index in range(30)]
    assert points["stem_zd_1x1"].shape == (None, 32, 32, 240)
    module = outline(model)[-1]
    assert module.name == "mixed_5b" and len(module.chain[0].branches) == 13
    assert [step.kind for (step,) in module.chain[0].branches[:12]] == ["avg pool"] * 12
    assert [step.width for step in module.chain[0].branches[12]] == [
        8 * (index + 1) for index in range(30)
    ]
    assert chain(image, *column, name="more").shape == (None, 32, 32, 240)


@pytest.mark.parametrize("title", FAMILY)
@pytest.mark.parametrize("stem", ["imagenet", "small"])
def test_no_other_network_has_the_telling_layers(build, title, stem):
    """In whatever order the catalogue is searched: no other network has the layer."""
    entry = CATALOGUE[title]
    for variant in entry.variants:
        model = build(title, variant=variant, stem=stem)
        names = {layer.name for layer in model.layers}
        telling = {each.title for each in CATALOGUE.values() if names.issuperset(each.telling)}
        assert telling == {title}
        found = recognize(names)
        if stem == "small" and (title, variant) == ("InceptionV1", "torchvision"):
            variant = "slim"  # all is `same` there, so that they are one network
        assert found == (entry.name, variant)


def test_other_networks_are_not_recognized():
    assert recognize([]) is None
    assert recognize(["mixed0", "mixed10", "conv2d_7"]) is None  # keras.applications's
    assert recognize(["conv_7b", "block35_1", "block35_1_conv", "block35_10"]) is None
