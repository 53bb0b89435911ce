"""Inception v4: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual
Connections on Learning", arXiv:1602.07261.

Figure 9's schema: the stem of figure 3, then 4 x inception-A (figure 4) on the 35 x 35 grid,
7 x inception-B (figure 5) on the 17 x 17 and 3 x inception-C (figure 6) on the 8 x 8, with the
reductions of figures 7 and 8 between them.

The paper's figures contain slips in 1x7 and 7x1 and in strides; kernels and strides here are the
released network's. The columns stand in the order of the released weights, which decides the
concat: 1x1 first, pool last.

Variants: ``"released"``, the network that TF-Slim's weights were trained with; no other is known.
"""

from __future__ import annotations

from typing import Final

from keras_inception.models.application import Application, AuxiliaryHead
from keras_inception.models.catalogue import CATALOGUE
from keras_inception.models.layers import (
    Tensor,
    avg_pool,
    concat,
    conv,
    max_pool,
    side_by_side,
    stem,
)
from keras_inception.models.networks.inception_v3 import auxiliary

V: Final = "valid"


# fmt: off
def body(x: Tensor, variant: str) -> Tensor:
    """Figure 9, from the image to the 8 x 8 x 1536 before the average pool."""
    # 299 x 299 x 3
    x = split_stem(x)                                            # 35 x 35 x 384
    for letter in "bcde":
        x = inception_a(x, f"mixed_5{letter}")                   # 35 x 35 x 384
    x = reduction_a(x, "mixed_6a", k=192, l=224, m=256, n=384)   # 17 x 17 x 1024
    for letter in "bcdefgh":
        x = inception_b(x, f"mixed_6{letter}")                   # 17 x 17 x 1024
    x = reduction_b(x, "mixed_7a")                               # 8 x 8 x 1536
    for letter in "bcd":
        x = inception_c(x, f"mixed_7{letter}")                   # 8 x 8 x 1536
    return x


def split_stem(x: Tensor) -> Tensor:
    """Figure 3: the stem, which splits three times on its way to the 35 x 35 grid."""
    return stem(
        x,
        conv(32, 3, 2, V),                      # 149 x 149 x 32
        conv(32, 3, 1, V),                      # 147 x 147 x 32
        conv(64, 3),                            # 147 x 147 x 64
        side_by_side([max_pool(3, 2, V)],
                     [conv(96, 3, 2, V)]),      # 73 x 73 x 160
        side_by_side([conv(64, 1), conv(96, 3, 1, V)],
                     [conv(64, 1), conv(64, (1, 7)), conv(64, (7, 1)), conv(96, 3, 1, V)]),
                                                # 71 x 71 x 192
        side_by_side([conv(192, 3, 2, V)],
                     [max_pool(3, 2, V)]),      # 35 x 35 x 384
    )


def inception_a(x: Tensor, name: str) -> Tensor:
    """Figure 4: the 35 x 35 grid."""
    return concat(x, [conv(96, 1)],
                     [conv(64, 1), conv(96, 3)],
                     [conv(64, 1), conv(96, 3), conv(96, 3)],
                     [avg_pool(3), conv(96, 1)], name=name)


def reduction_a(x: Tensor, name: str, k: int, l: int, m: int, n: int) -> Tensor:  # noqa: E741
    """Figure 7 with table 1's k, l, m, n: from the 35 x 35 to the 17 x 17 grid.

    It is one figure for v4 and both Inception-ResNets.
    """
    return concat(x, [conv(n, 3, 2, V)],
                     [conv(k, 1), conv(l, 3), conv(m, 3, 2, V)],
                     [max_pool(3, 2, V)], name=name)


def inception_b(x: Tensor, name: str) -> Tensor:
    """Figure 5: the 17 x 17 grid."""
    return concat(x, [conv(384, 1)],
                     [conv(192, 1), conv(224, (1, 7)), conv(256, (7, 1))],
                     [conv(192, 1), conv(192, (7, 1)), conv(224, (1, 7)), conv(224, (7, 1)),
                      conv(256, (1, 7))],
                     [avg_pool(3), conv(128, 1)], name=name)


def reduction_b(x: Tensor, name: str) -> Tensor:
    """Figure 8: from the 17 x 17 to the 8 x 8 grid."""
    return concat(x, [conv(192, 1), conv(192, 3, 2, V)],
                     [conv(256, 1), conv(256, (1, 7)), conv(320, (7, 1)), conv(320, 3, 2, V)],
                     [max_pool(3, 2, V)], name=name)


def inception_c(x: Tensor, name: str) -> Tensor:
    """Figure 6: the 8 x 8 grid, where columns widen into a 1x3 beside a 3x1."""
    wide = side_by_side([conv(256, (1, 3))], [conv(256, (3, 1))])
    return concat(x, [conv(256, 1)],
                     [conv(384, 1), wide],
                     [conv(384, 1), conv(448, (3, 1)), conv(512, (1, 3)), wide],
                     [avg_pool(3), conv(256, 1)], name=name)
# fmt: on


InceptionV4 = Application(
    CATALOGUE["InceptionV4"],
    body,
    {"aux": AuxiliaryHead("mixed_6h", auxiliary, loss_weight=0.4)},
)
