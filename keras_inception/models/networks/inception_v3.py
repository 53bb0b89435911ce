"""Inception v3: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision",
arXiv:1512.00567.

The network as released, with the three kinds of modules of table 1: figure 5 on the 35 x 35 grid,
figure 6 (n = 7) on the 17 x 17, figure 7 on the 8 x 8, and figure 10's reductions between them.
Before the first module it is not table 1's: see ``plain_stem``. Large kernels are taken apart: a
7x7 becomes a 1x7 and a 7x1, and on the smallest grid a 3x3 becomes a 1x3 beside a 3x1.

The columns stand in the order of the released weights, which decides the concat: 1x1 first, pool
last.

Variants:

- ``"slim"`` (the default, since it is what every ImageNet weight by Google and Keras was trained
  with): the second column of figure 5 has a 5x5 where the paper's figure has a single 3x3, as every
  released network has, and average pools leave the padding out of the mean.
- ``"paper"``: the same with figure 5 as it is drawn, a single 3x3 in that place. No weights are
  known.
- ``"torchvision"``: ``"slim"`` with average pools that count the padding in, as torchvision's and
  timm's code does.
"""

from __future__ import annotations

from typing import Final

from keras import layers

from keras_inception.models.application import Application, AuxiliaryHead
from keras_inception.models.catalogue import CATALOGUE
from keras_inception.models.layers import (
    CHANNELS_LAST,
    Tensor,
    avg_pool,
    chain,
    concat,
    conv,
    max_pool,
    side_by_side,
    stem,
)

V: Final = "valid"


# fmt: off
def body(x: Tensor, variant: str) -> Tensor:
    """From the image to the 8 x 8 x 2048 before the average pool."""
    k = 3 if variant == "paper" else 5
    # 299 x 299 x 3
    x = plain_stem(x)                              # 35 x 35 x 192
    x = inception_a(x, "mixed_5b", k=k, pool=32)   # 35 x 35 x 256
    x = inception_a(x, "mixed_5c", k=k, pool=64)   # 35 x 35 x 288
    x = inception_a(x, "mixed_5d", k=k, pool=64)   # 35 x 35 x 288
    x = reduction_a(x, "mixed_6a")            # 17 x 17 x 768
    x = inception_b(x, "mixed_6b", c=128)     # 17 x 17 x 768
    x = inception_b(x, "mixed_6c", c=160)     # 17 x 17 x 768
    x = inception_b(x, "mixed_6d", c=160)     # 17 x 17 x 768
    x = inception_b(x, "mixed_6e", c=192)     # 17 x 17 x 768
    x = reduction_b(x, "mixed_7a")            # 8 x 8 x 1280
    x = inception_c(x, "mixed_7b")            # 8 x 8 x 2048
    x = inception_c(x, "mixed_7c")            # 8 x 8 x 2048
    return x


def plain_stem(x: Tensor) -> Tensor:
    """The first rows as released.

    Table 1 has a 3x3 80, a 3x3/2 192 and a 3x3 288 in place of the last three, and so 288 channels
    before the first module.
    """
    return stem(
        x,
        conv(32, 3, 2, V),    # 149 x 149 x 32
        conv(32, 3, 1, V),    # 147 x 147 x 32
        conv(64, 3),          # 147 x 147 x 64
        max_pool(3, 2, V),    # 73 x 73 x 64
        conv(80, 1, 1, V),    # 73 x 73 x 80
        conv(192, 3, 1, V),   # 71 x 71 x 192
        max_pool(3, 2, V),    # 35 x 35 x 192
    )


def inception_a(x: Tensor, name: str, k: int, pool: int) -> Tensor:
    """Figure 5: the 35 x 35 grid; ``k`` is 3 in the figure, and 5 in every released network."""
    return concat(x, [conv(64, 1)],
                     [conv(48, 1), conv(64, k)],
                     [conv(64, 1), conv(96, 3), conv(96, 3)],
                     [avg_pool(3), conv(pool, 1)], name=name)


def reduction_a(x: Tensor, name: str) -> Tensor:
    """Figure 10: from the 35 x 35 to the 17 x 17 grid, columns that halve side by side."""
    return concat(x, [conv(384, 3, 2, V)],
                     [conv(64, 1), conv(96, 3), conv(96, 3, 2, V)],
                     [max_pool(3, 2, V)], name=name)


def inception_b(x: Tensor, name: str, c: int) -> Tensor:
    """Figure 6 with n = 7: the 17 x 17 grid."""
    return concat(x, [conv(192, 1)],
                     [conv(c, 1), conv(c, (1, 7)), conv(192, (7, 1))],
                     [conv(c, 1), conv(c, (7, 1)), conv(c, (1, 7)), conv(c, (7, 1)),
                      conv(192, (1, 7))],
                     [avg_pool(3), conv(192, 1)], name=name)


def reduction_b(x: Tensor, name: str) -> Tensor:
    """Figure 10's idea again: from the 17 x 17 to the 8 x 8 grid."""
    return concat(x, [conv(192, 1), conv(320, 3, 2, V)],
                     [conv(192, 1), conv(192, (1, 7)), conv(192, (7, 1)), conv(192, 3, 2, V)],
                     [max_pool(3, 2, V)], name=name)


def inception_c(x: Tensor, name: str) -> Tensor:
    """Figure 7: the 8 x 8 grid, where columns widen into a 1x3 beside a 3x1."""
    wide = side_by_side([conv(384, (1, 3))], [conv(384, (3, 1))])
    return concat(x, [conv(320, 1)],
                     [conv(384, 1), wide],
                     [conv(448, 1), conv(384, 3), wide],
                     [avg_pool(3), conv(192, 1)], name=name)
# fmt: on


def auxiliary(x: Tensor, name: str) -> Tensor:
    """Figure 8's auxiliary classifier on the last 17 x 17 grid, up to its 768 features."""
    x = chain(x, avg_pool(5, 3, V), conv(128, 1), name=name)  # 5 x 5 x 128
    x = conv(768, x.shape[1:3], 1, V)(x, f"{name}_c")  # the whole map: 1 x 1 x 768
    return layers.Flatten(CHANNELS_LAST, name=f"{name}_flatten")(x)


InceptionV3 = Application(
    CATALOGUE["InceptionV3"],
    body,
    {"aux": AuxiliaryHead("mixed_6e", auxiliary, loss_weight=0.4)},
)
