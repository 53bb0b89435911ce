"""Inception v1 (GoogLeNet): Szegedy et al., "Going Deeper with Convolutions", arXiv:1409.4842.

Table 1, row by row. Every module looks at its input at several scales at once (figure 2(b)): a
1x1, a 3x3, a 5x5 and a pool side by side, the larger ones behind a 1x1 convolution that mixes the
channels of each pixel and makes them fewer.

Where the paper has local response normalization, this network has batch normalization after every
convolution, as everyone's since 2015.

Variants:

- ``"paper"`` (the default, since the paper is what a reader compares with): a true 5x5 in the
  third column, and 3x3 in the last max pool.
- ``"slim"``: 3x3 in the third column and 2x2 in the last max pool, as TF-Slim's released weights.
- ``"torchvision"``: TF-Slim's, with the stem's 7x7 padded 3 pixels on every side, as
  torchvision's released weights.
"""

from __future__ import annotations

from functools import partial

from keras import layers

from keras_inception.models.application import Application, AuxiliaryHead
from keras_inception.models.catalogue import CATALOGUE
from keras_inception.models.conventions import Padding, scaled
from keras_inception.models.layers import (
    CHANNELS_LAST,
    Tensor,
    avg_pool,
    chain,
    concat,
    conv,
    max_pool,
    stem,
)


def body(x: Tensor, variant: str) -> Tensor:
    """Table 1, from the image to the 7 x 7 x 1024 before the average pool."""
    module = partial(inception, large=5 if variant == "paper" else 3)
    last_pool = 3 if variant == "paper" else 2
    first_padding: Padding = 3 if variant == "torchvision" else "same"

    # 224 x 224 x 3
    x = stem(
        x,
        conv(64, 7, 2, first_padding),  # 112 x 112 x 64
        max_pool(3, 2),                 # 56 x 56 x 64
        conv(64, 1),                    # 56 x 56 x 64, the "3x3 reduce" of the next row
        conv(192, 3),                   # 56 x 56 x 192
        max_pool(3, 2),                 # 28 x 28 x 192
    )  # fmt: skip

    # fmt: off
    #                                 3x3       5x5      pool
    #                            1x1  red. 3x3  red. 5x5 proj.      grid
    x = module(x, "inception_3a",  64,  96, 128,  16,  32,  32)    # 28 x 28 x 256
    x = module(x, "inception_3b", 128, 128, 192,  32,  96,  64)    # 28 x 28 x 480
    x = max_pool(3, 2)(x, "inception_3")                           # 14 x 14 x 480
    x = module(x, "inception_4a", 192,  96, 208,  16,  48,  64)    # 14 x 14 x 512
    x = module(x, "inception_4b", 160, 112, 224,  24,  64,  64)    # 14 x 14 x 512
    x = module(x, "inception_4c", 128, 128, 256,  24,  64,  64)    # 14 x 14 x 512
    x = module(x, "inception_4d", 112, 144, 288,  32,  64,  64)    # 14 x 14 x 528
    x = module(x, "inception_4e", 256, 160, 320,  32, 128, 128)    # 14 x 14 x 832
    x = max_pool(last_pool, 2)(x, "inception_4")                   # 7 x 7 x 832
    x = module(x, "inception_5a", 256, 160, 320,  32, 128, 128)    # 7 x 7 x 832
    x = module(x, "inception_5b", 384, 192, 384,  48, 128, 128)    # 7 x 7 x 1024
    # fmt: on
    return x


# fmt: off
def inception(
    x: Tensor, name: str, c1: int, reduce3: int, c3: int, reduce5: int, c5: int, pool: int,
    *, large: int,
) -> Tensor:
    """Figure 2(b); the numbers are a row of table 1, ``large`` the kernel of its 5x5 column."""
    return concat(x, [conv(c1, 1)],
                     [conv(reduce3, 1), conv(c3, 3)],
                     [conv(reduce5, 1), conv(c5, large)],
                     [max_pool(3), conv(pool, 1)], name=name)
# fmt: on


def auxiliary(x: Tensor, name: str) -> Tensor:
    """Section 5's auxiliary classifier, up to its 1024 features.

    The paper's 70 % dropout is the last word; the classifier itself is the shell's.
    """
    x = chain(x, avg_pool(5, 3, "valid"), conv(128, 1), name=name)  # 4 x 4 x 128
    x = layers.Flatten(CHANNELS_LAST, name=f"{name}_flatten")(x)
    x = layers.Dense(scaled(1024), activation="relu", name=f"{name}_dense")(x)
    return layers.Dropout(0.7, name=f"{name}_dropout")(x)


InceptionV1 = Application(
    CATALOGUE["InceptionV1"],
    body,
    {
        "aux_4a": AuxiliaryHead("inception_4a", auxiliary, loss_weight=0.3),
        "aux_4d": AuxiliaryHead("inception_4d", auxiliary, loss_weight=0.3),
    },
)
