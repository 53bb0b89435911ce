"""Inception-ResNet v1 and v2: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of
Residual Connections on Learning", arXiv:1602.07261.

Figure 15's schema, for both: a stem, blocks A on the 35 x 35 grid, B on the 17 x 17 and C on the
8 x 8, reductions between them. A block's columns make a correction, which a linear 1x1 leads back
to the channels of what came in, and which is scaled down before it is added (figure 20).
"""

from __future__ import annotations

from typing import Final

from keras_inception.models.application import AuxiliaryHead, Network, application
from keras_inception.models.inception_v3 import auxiliary
from keras_inception.models.layers import (
    Tensor,
    avg_pool,
    columns,
    concat,
    conv,
    linear,
    max_pool,
    residual,
    stem,
)

V: Final = "valid"


# fmt: off
def reduction_a(x: Tensor, k: int, l: int, m: int, n: int, name: str) -> Tensor:  # noqa: E741
    """Figure 7, table 1's k, l, m, n: from the 35 x 35 to the 17 x 17 grid."""
    return concat(x, [conv(n, 3, 2, V)],
                     [conv(k, 1), conv(l, 3), conv(m, 3, 2, V)],
                     [max_pool(3, 2, V)], name=name)


# Inception-ResNet v1

def body_v1(x: Tensor, variant: str) -> Tensor:
    """Figure 15 with v1's blocks, from the image to the 8 x 8 x 1792 before the average pool."""
    # 299 x 299 x 3
    x = stem(
        x,                    # figure 14
        conv(32, 3, 2, V),    # 149 x 149 x 32
        conv(32, 3, 1, V),    # 147 x 147 x 32
        conv(64, 3),          # 147 x 147 x 64
        max_pool(3, 2, V),    # 73 x 73 x 64
        conv(80, 1, 1, V),    # 73 x 73 x 80
        conv(192, 3, 1, V),   # 71 x 71 x 192
        conv(256, 3, 2, V),   # 35 x 35 x 256
    )
    for n in range(1, 6):
        x = block35_v1(x, f"block35_{n}")                       # 35 x 35 x 256
    x = reduction_a(x, 192, 192, 256, 384, "mixed_6a")          # 17 x 17 x 896
    for n in range(1, 11):
        x = block17_v1(x, f"block17_{n}")                       # 17 x 17 x 896
    x = reduction_b_v1(x, "mixed_7a")                           # 8 x 8 x 1792
    for n in range(1, 6):
        x = block8_v1(x, f"block8_{n}")                         # 8 x 8 x 1792
    x = block8_v1(x, "block8_6", scale=1.0, relu=False)         # 8 x 8 x 1792
    return x


def block35_v1(x: Tensor, name: str) -> Tensor:
    """Figure 10: Inception-ResNet-A, the 35 x 35 grid."""
    return residual(x, columns([conv(32, 1)],
                               [conv(32, 1), conv(32, 3)],
                               [conv(32, 1), conv(32, 3), conv(32, 3)]),
                       linear(x.shape[-1]), scale=0.17, name=name)


def block17_v1(x: Tensor, name: str) -> Tensor:
    """Figure 11: Inception-ResNet-B, the 17 x 17 grid."""
    return residual(x, columns([conv(128, 1)],
                               [conv(128, 1), conv(128, (1, 7)), conv(128, (7, 1))]),
                       linear(x.shape[-1]), scale=0.10, name=name)


def reduction_b_v1(x: Tensor, name: str) -> Tensor:
    """Figure 12: from the 17 x 17 to the 8 x 8 grid."""
    return concat(x, [conv(256, 1), conv(384, 3, 2, V)],
                     [conv(256, 1), conv(256, 3, 2, V)],
                     [conv(256, 1), conv(256, 3), conv(256, 3, 2, V)],
                     [max_pool(3, 2, V)], name=name)


def block8_v1(x: Tensor, name: str, scale: float = 0.20, relu: bool = True) -> Tensor:
    """Figure 13: Inception-ResNet-C, the 8 x 8 grid."""
    return residual(x, columns([conv(192, 1)],
                               [conv(192, 1), conv(192, (1, 3)), conv(192, (3, 1))]),
                       linear(x.shape[-1]), scale=scale, relu=relu, name=name)


# Inception-ResNet v2

def body_v2(x: Tensor, variant: str) -> Tensor:
    """Figure 15 with v2's blocks, from the image to the 8 x 8 x 1536 before the average pool."""
    # 299 x 299 x 3
    x = stem(
        x,                    # v3's, as released; the paper has figure 3, v4's
        conv(32, 3, 2, V),    # 149 x 149 x 32
        conv(32, 3, 1, V),    # 147 x 147 x 32
        conv(64, 3),          # 147 x 147 x 64
        max_pool(3, 2, V),    # 73 x 73 x 64
        conv(80, 1, 1, V),    # 73 x 73 x 80
        conv(192, 3, 1, V),   # 71 x 71 x 192
        max_pool(3, 2, V),    # 35 x 35 x 192
    )
    x = inception_v2(x, "mixed_5b")                             # 35 x 35 x 320
    for n in range(1, 11):
        x = block35_v2(x, f"block35_{n}")                       # 35 x 35 x 320
    x = reduction_a(x, 256, 256, 384, 384, "mixed_6a")          # 17 x 17 x 1088
    for n in range(1, 21):
        x = block17_v2(x, f"block17_{n}")                       # 17 x 17 x 1088
    x = reduction_b_v2(x, "mixed_7a")                           # 8 x 8 x 2080
    for n in range(1, 10):
        x = block8_v2(x, f"block8_{n}")                         # 8 x 8 x 2080
    x = block8_v2(x, "block8_10", scale=1.0, relu=False)        # 8 x 8 x 2080
    return conv(1536, 1)(x, "conv_7b")                          # 8 x 8 x 1536


def inception_v2(x: Tensor, name: str) -> Tensor:
    """In no figure: the released network's one plain module, before the blocks."""
    return concat(x, [conv(96, 1)],
                     [conv(48, 1), conv(64, 5)],
                     [conv(64, 1), conv(96, 3), conv(96, 3)],
                     [avg_pool(3), conv(64, 1)], name=name)


def block35_v2(x: Tensor, name: str) -> Tensor:
    """Figure 16: Inception-ResNet-A, the 35 x 35 grid."""
    return residual(x, columns([conv(32, 1)],
                               [conv(32, 1), conv(32, 3)],
                               [conv(32, 1), conv(48, 3), conv(64, 3)]),
                       linear(x.shape[-1]), scale=0.17, name=name)


def block17_v2(x: Tensor, name: str) -> Tensor:
    """Figure 17: Inception-ResNet-B, the 17 x 17 grid."""
    return residual(x, columns([conv(192, 1)],
                               [conv(128, 1), conv(160, (1, 7)), conv(192, (7, 1))]),
                       linear(x.shape[-1]), scale=0.10, name=name)


def reduction_b_v2(x: Tensor, name: str) -> Tensor:
    """Figure 18: from the 17 x 17 to the 8 x 8 grid."""
    return concat(x, [conv(256, 1), conv(384, 3, 2, V)],
                     [conv(256, 1), conv(288, 3, 2, V)],
                     [conv(256, 1), conv(288, 3), conv(320, 3, 2, V)],
                     [max_pool(3, 2, V)], name=name)


def block8_v2(x: Tensor, name: str, scale: float = 0.20, relu: bool = True) -> Tensor:
    """Figure 19: Inception-ResNet-C, the 8 x 8 grid."""
    return residual(x, columns([conv(192, 1)],
                               [conv(192, 1), conv(224, (1, 3)), conv(256, (3, 1))]),
                       linear(x.shape[-1]), scale=scale, relu=relu, name=name)
# fmt: on


InceptionResNetV1 = application(
    Network(
        title="InceptionResNetV1",
        name="inception_resnet_v1",
        body=body_v1,
        size=299,
        minimum=75,
        dropout=0.2,
        variants={"released": {}},
    ),
    doc="""Inception-ResNet v1: Szegedy et al., arXiv:1602.07261, figure 15 with figures 10 to 14.

    As widely trained on faces; ImageNet weights were never released. Last comes a block C at scale
    1.0 without ReLU, which the paper's schema does not show. No auxiliary heads.

    Variants: ``"released"``, the one network of this name.
    """,
)

InceptionResNetV2 = application(
    Network(
        title="InceptionResNetV2",
        name="inception_resnet_v2",
        body=body_v2,
        size=299,
        minimum=75,
        dropout=0.2,
        variants={"released": {}},
        auxiliary={"aux": AuxiliaryHead(on="block17_20", body=auxiliary)},
        aux_minimum=107,
    ),
    doc="""Inception-ResNet v2: Szegedy et al., arXiv:1602.07261, figure 15 with figures 16 to 19.

    As released with TF-Slim's weights, which differs from the paper: the stem is v3's with one
    plain module after it, there are 10, 20 and 10 blocks where the paper has 5, 10 and 5, the last
    at scale 1.0 without ReLU, and a 1x1 convolution to 1536 channels ends the network.

    Variants: ``"released"``, the network of all published weights.
    """,
)
