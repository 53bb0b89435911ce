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

from keras_inception.models.application import AuxiliaryHead, Network, application
from keras_inception.models.inception_v3 import auxiliary
from keras_inception.models.layers import Tensor, avg_pool, columns, concat, conv, max_pool, stem

V: Final = "valid"


def body(x: Tensor, variant: str) -> Tensor:
    """Figure 9, from the image to the 8 x 8 x 1536 before the average pool."""
    # 299 x 299 x 3
    x = split_stem(x)  # 35 x 35 x 384
    for letter in "bcde":
        x = inception_a(x, f"mixed_5{letter}")  # 35 x 35 x 384
    x = reduction_a(x, "mixed_6a")  # 17 x 17 x 1024
    for letter in "bcdefgh":
        x = inception_b(x, f"mixed_6{letter}")  # 17 x 17 x 1024
    x = reduction_b(x, "mixed_7a")  # 8 x 8 x 1536
    for letter in "bcd":
        x = inception_c(x, f"mixed_7{letter}")  # 8 x 8 x 1536
    return x


# fmt: off
def split_stem(x: Tensor) -> Tensor:
    """Figure 3: the stem, which splits three times on its way to the 35 x 35 grid."""
    return stem(
        x,
        conv(32, 3, 2, V),                      # 149 x 149 x 32
        conv(32, 3, 1, V),                      # 147 x 147 x 32
        conv(64, 3),                            # 147 x 147 x 64
        columns([max_pool(3, 2, V)],
                [conv(96, 3, 2, V)]),           # 73 x 73 x 160
        columns([conv(64, 1), conv(96, 3, 1, V)],
                [conv(64, 1), conv(64, (1, 7)), conv(64, (7, 1)), conv(96, 3, 1, V)]),
                                                # 71 x 71 x 192
        columns([conv(192, 3, 2, V)],
                [max_pool(3, 2, V)]),           # 35 x 35 x 384
    )


def inception_a(x: Tensor, name: str) -> Tensor:
    """Figure 4: the 35 x 35 grid."""
    return concat(x, [conv(96, 1)],
                     [conv(64, 1), conv(96, 3)],
                     [conv(64, 1), conv(96, 3), conv(96, 3)],
                     [avg_pool(3), conv(96, 1)], name=name)


def reduction_a(x: Tensor, name: str) -> Tensor:
    """Figure 7 with k, l, m, n = 192, 224, 256, 384: from the 35 x 35 to the 17 x 17 grid."""
    return concat(x, [conv(384, 3, 2, V)],
                     [conv(192, 1), conv(224, 3), conv(256, 3, 2, V)],
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
    wide = columns([conv(256, (1, 3))], [conv(256, (3, 1))])
    return concat(x, [conv(256, 1)],
                     [conv(384, 1), wide],
                     [conv(384, 1), conv(448, (3, 1)), conv(512, (1, 3)), wide],
                     [avg_pool(3), conv(256, 1)], name=name)
# fmt: on


InceptionV4 = application(
    Network(
        title="InceptionV4",
        name="inception_v4",
        body=body,
        size=299,
        minimum=75,
        dropout=0.2,
        variants={"released": {}},
        auxiliary={"aux": AuxiliaryHead(on="mixed_6h", body=auxiliary)},
        aux_minimum=107,
    ),
    doc=__doc__,
)
