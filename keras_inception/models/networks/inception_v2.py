"""Inception v2 (BN-Inception): Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network
Training by Reducing Internal Covariate Shift", arXiv:1502.03167.

The appendix's table, figure 5, row by row: v1 with batch normalization, every 5x5 taken apart into
two 3x3, and modules of stride 2 (3c, 4e) that halve the grid in their own columns. Of its first row
there are two variants. In 4c and 4d the table prints 128 for the pool's projection, but its output
column, 576, needs 96, as here.

"Inception v2" is also the name of an ablation in arXiv:1512.00567; this is not that network.

Variants:

- ``"full"`` (the default): the stem begins with a full 7x7 convolution, batch normalized as all
  others, as Caffe's BN-Inception. It was called ``"paper"``.
- ``"slim"``: it begins with a separable 7x7 of depth multiplier 8, with biases and without batch
  normalization, as TF-Slim's released weights. The appendix says that the paper's model had a
  separable convolution of depth multiplier 8 there, too, so this one is nearer to it.
"""

from __future__ import annotations

from keras_inception.models.application import Application, AuxiliaryHead
from keras_inception.models.catalogue import CATALOGUE
from keras_inception.models.layers import (
    Pool,
    Tensor,
    avg_pool,
    concat,
    conv,
    max_pool,
    separable_conv,
    stem,
)
from keras_inception.models.networks.inception_v1 import auxiliary

AVG, MAX = avg_pool(3), max_pool(3)


def body(x: Tensor, variant: str) -> Tensor:
    """Figure 5, from the image to the 7 x 7 x 1024 before the average pool."""
    slim = variant == "slim"
    # 224 x 224 x 3
    x = stem(
        x,
        separable_conv(64, 7, 2, depth_multiplier=8) if slim else conv(64, 7, 2),  # 112 x 112 x 64
        max_pool(3, 2),  # 56 x 56 x 64
        conv(64, 1),     # 56 x 56 x 64, the "3x3 reduce" of the next row
        conv(192, 3),    # 56 x 56 x 192
        max_pool(3, 2),  # 28 x 28 x 192
    )  # fmt: skip

    # fmt: off
    #                                        3x3       2 x 3x3   pool
    #                                   1x1  red. 3x3  red. 3x3  and proj.     grid
    x = inception(x, "inception_3a",     64,  64,  64,  64,  96, AVG,  32)   # 28 x 28 x 256
    x = inception(x, "inception_3b",     64,  64,  96,  64,  96, AVG,  64)   # 28 x 28 x 320
    x = inception_2(x, "inception_3c",       128, 160,  64,  96)             # 14 x 14 x 576
    x = inception(x, "inception_4a",    224,  64,  96,  96, 128, AVG, 128)   # 14 x 14 x 576
    x = inception(x, "inception_4b",    192,  96, 128,  96, 128, AVG, 128)   # 14 x 14 x 576
    x = inception(x, "inception_4c",    160, 128, 160, 128, 160, AVG,  96)   # 14 x 14 x 576
    x = inception(x, "inception_4d",     96, 128, 192, 160, 192, AVG,  96)   # 14 x 14 x 576
    x = inception_2(x, "inception_4e",       128, 192, 192, 256)             # 7 x 7 x 1024
    x = inception(x, "inception_5a",    352, 192, 320, 160, 224, AVG, 128)   # 7 x 7 x 1024
    x = inception(x, "inception_5b",    352, 192, 320, 192, 224, MAX, 128)   # 7 x 7 x 1024
    # fmt: on
    return x


# fmt: off
def inception(
    x: Tensor, name: str,
    c1: int, reduce3: int, c3: int, reduce33: int, c33: int, pool: Pool, project: int,
) -> Tensor:
    """A row of stride 1: v1's figure 2(b) with two 3x3 in the place of the 5x5."""
    return concat(x, [conv(c1, 1)],
                     [conv(reduce3, 1), conv(c3, 3)],
                     [conv(reduce33, 1), conv(c33, 3), conv(c33, 3)],
                     [pool, conv(project, 1)], name=name)


def inception_2(
    x: Tensor, name: str, reduce3: int, c3: int, reduce33: int, c33: int,
) -> Tensor:
    """A row of stride 2: no 1x1 column, and the pool passes its channels through."""
    return concat(x, [conv(reduce3, 1), conv(c3, 3, 2)],
                     [conv(reduce33, 1), conv(c33, 3), conv(c33, 3, 2)],
                     [max_pool(3, 2)], name=name)
# fmt: on


InceptionV2 = Application(
    CATALOGUE["InceptionV2"],
    body,
    {
        "aux_4a": AuxiliaryHead("inception_4a", auxiliary, loss_weight=0.3),
        "aux_4d": AuxiliaryHead("inception_4d", auxiliary, loss_weight=0.3),
    },
)
