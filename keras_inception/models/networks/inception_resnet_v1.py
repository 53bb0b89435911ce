"""Inception-ResNet v1: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual
Connections on Learning", arXiv:1602.07261.

Figure 15's schema with the blocks of figures 10 to 13: a stem (figure 14), blocks A on the 35 x 35
grid, B on the 17 x 17 and C on the 8 x 8, reductions between them. A block's columns make a
correction, which a linear 1x1 leads back to the channels of what came in, and which is scaled down
before it is added (figure 20).

As widely trained on faces; ImageNet weights were never released. Last comes a block C at scale 1.0
without ReLU, which the paper's schema does not show. No auxiliary heads.

Variants: ``"released"``, the one network of this name.
"""

from __future__ import annotations

from typing import Final

from keras_inception.models.application import Application
from keras_inception.models.catalogue import CATALOGUE
from keras_inception.models.layers import (
    Tensor,
    concat,
    conv,
    linear,
    max_pool,
    residual,
    side_by_side,
    stem,
)
from keras_inception.models.networks.inception_v4 import reduction_a

V: Final = "valid"


# fmt: off
def body(x: Tensor, variant: str) -> Tensor:
    """Figure 15 with v1's blocks, from the image to the 8 x 8 x 1792 before the average pool."""
    # 299 x 299 x 3
    x = stem(
        x,  # figure 14
        conv(32, 3, 2, V),    # 149 x 149 x 32
        conv(32, 3, 1, V),    # 147 x 147 x 32
        conv(64, 3),          # 147 x 147 x 64
        max_pool(3, 2, V),    # 73 x 73 x 64
        conv(80, 1, 1, V),    # 73 x 73 x 80
        conv(192, 3, 1, V),   # 71 x 71 x 192
        conv(256, 3, 2, V),   # 35 x 35 x 256
    )
    for n in range(1, 6):
        x = block35(x, f"block35_{n}")                           # 35 x 35 x 256
    x = reduction_a(x, "mixed_6a", k=192, l=192, m=256, n=384)   # 17 x 17 x 896
    for n in range(1, 11):
        x = block17(x, f"block17_{n}")                           # 17 x 17 x 896
    x = reduction_b(x, "mixed_7a")                               # 8 x 8 x 1792
    for n in range(1, 6):
        x = block8(x, f"block8_{n}")                             # 8 x 8 x 1792
    x = block8(x, "block8_6", scale=1.0, relu=False)             # 8 x 8 x 1792
    return x


def block35(x: Tensor, name: str) -> Tensor:
    """Figure 10: Inception-ResNet-A, the 35 x 35 grid."""
    return residual(x, side_by_side([conv(32, 1)],
                                    [conv(32, 1), conv(32, 3)],
                                    [conv(32, 1), conv(32, 3), conv(32, 3)]),
                       linear(x.shape[-1]), name=name, scale=0.17)


def block17(x: Tensor, name: str) -> Tensor:
    """Figure 11: Inception-ResNet-B, the 17 x 17 grid."""
    return residual(x, side_by_side([conv(128, 1)],
                                    [conv(128, 1), conv(128, (1, 7)), conv(128, (7, 1))]),
                       linear(x.shape[-1]), name=name, scale=0.10)


def reduction_b(x: Tensor, name: str) -> Tensor:
    """Figure 12: from the 17 x 17 to the 8 x 8 grid."""
    return concat(x, [conv(256, 1), conv(384, 3, 2, V)],
                     [conv(256, 1), conv(256, 3, 2, V)],
                     [conv(256, 1), conv(256, 3), conv(256, 3, 2, V)],
                     [max_pool(3, 2, V)], name=name)


def block8(x: Tensor, name: str, scale: float = 0.20, relu: bool = True) -> Tensor:
    """Figure 13: Inception-ResNet-C, the 8 x 8 grid."""
    return residual(x, side_by_side([conv(192, 1)],
                                    [conv(192, 1), conv(192, (1, 3)), conv(192, (3, 1))]),
                       linear(x.shape[-1]), name=name, scale=scale, relu=relu)
# fmt: on


InceptionResNetV1 = Application(CATALOGUE["InceptionResNetV1"], body)
