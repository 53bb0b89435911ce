"""Inception-ResNet v2: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual
Connections on Learning", arXiv:1602.07261.

Figure 15's schema with the blocks of figures 16 to 19, which are v1's, wider. As released with
TF-Slim's weights, which differs from the paper: the stem is v3's with one plain module after it,
there are 10, 20 and 10 blocks where the paper has 5, 10 and 5, the last at scale 1.0 without ReLU,
and a 1x1 convolution to 1536 channels ends the network.

Variants: ``"released"``, the network of all published weights.
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
    linear,
    max_pool,
    residual,
    side_by_side,
)
from keras_inception.models.networks.inception_v3 import auxiliary, plain_stem
from keras_inception.models.networks.inception_v4 import reduction_a

V: Final = "valid"


# fmt: off
def body(x: Tensor, variant: str) -> Tensor:
    """Figure 15 with v2's blocks, from the image to the 8 x 8 x 1536 before the average pool."""
    # 299 x 299 x 3; the stem is v3's, where the paper has figure 3
    x = plain_stem(x)                                            # 35 x 35 x 192
    x = inception(x, "mixed_5b")                                 # 35 x 35 x 320
    for n in range(1, 11):
        x = block35(x, f"block35_{n}")                           # 35 x 35 x 320
    x = reduction_a(x, "mixed_6a", k=256, l=256, m=384, n=384)   # 17 x 17 x 1088
    for n in range(1, 21):
        x = block17(x, f"block17_{n}")                           # 17 x 17 x 1088
    x = reduction_b(x, "mixed_7a")                               # 8 x 8 x 2080
    for n in range(1, 10):
        x = block8(x, f"block8_{n}")                             # 8 x 8 x 2080
    x = block8(x, "block8_10", scale=1.0, relu=False)            # 8 x 8 x 2080
    return conv(1536, 1)(x, "conv_7b")                           # 8 x 8 x 1536


def inception(x: Tensor, name: str) -> Tensor:
    """In no figure: the released network's one plain module, before the blocks."""
    return concat(x, [conv(96, 1)],
                     [conv(48, 1), conv(64, 5)],
                     [conv(64, 1), conv(96, 3), conv(96, 3)],
                     [avg_pool(3), conv(64, 1)], name=name)


def block35(x: Tensor, name: str) -> Tensor:
    """Figure 16: Inception-ResNet-A, the 35 x 35 grid."""
    return residual(x, side_by_side([conv(32, 1)],
                                    [conv(32, 1), conv(32, 3)],
                                    [conv(32, 1), conv(48, 3), conv(64, 3)]),
                       linear(x.shape[-1]), name=name, scale=0.17)


def block17(x: Tensor, name: str) -> Tensor:
    """Figure 17: Inception-ResNet-B, the 17 x 17 grid."""
    return residual(x, side_by_side([conv(192, 1)],
                                    [conv(128, 1), conv(160, (1, 7)), conv(192, (7, 1))]),
                       linear(x.shape[-1]), name=name, scale=0.10)


def reduction_b(x: Tensor, name: str) -> Tensor:
    """Figure 18: from the 17 x 17 to the 8 x 8 grid."""
    return concat(x, [conv(256, 1), conv(384, 3, 2, V)],
                     [conv(256, 1), conv(288, 3, 2, V)],
                     [conv(256, 1), conv(288, 3), conv(320, 3, 2, V)],
                     [max_pool(3, 2, V)], name=name)


def block8(x: Tensor, name: str, scale: float = 0.20, relu: bool = True) -> Tensor:
    """Figure 19: Inception-ResNet-C, the 8 x 8 grid."""
    return residual(x, side_by_side([conv(192, 1)],
                                    [conv(192, 1), conv(224, (1, 3)), conv(256, (3, 1))]),
                       linear(x.shape[-1]), name=name, scale=scale, relu=relu)
# fmt: on


InceptionResNetV2 = Application(
    CATALOGUE["InceptionResNetV2"],
    body,
    {"aux": AuxiliaryHead("block17_20", auxiliary, loss_weight=0.4)},
)
