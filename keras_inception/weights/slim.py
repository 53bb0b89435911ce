"""TF-Slim's names: checkpoints of both formats, and frozen graphs.

Each table holds every convolution and dense layer of a released network, auxiliary head included,
below its scope. Names that mislead are as they are there: v1's ``Mixed_5b/Branch_2/Conv2d_0a_3x3``,
v3's ``Mixed_5c/Branch_1``, its ``Conv2d_1a_1x1`` with 3x3 kernels, its ``Conv2d_0b_3x1`` beside
another module's ``Conv2d_0c_3x1``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from keras_inception.weights.names import Place, Source, table

# TF-Slim counts stages from their pools on, the papers from their modules on: 3a is Mixed_3b.
_V1 = "{3a,3b,4a,4b,4c,4d,4e,5a,5b}"
_V1_SLIM = "{3b,3c,4b,4c,4d,4e,4f,5b,5c}"
_NOT_5A = "{3a,3b,4a,4b,4c,4d,4e,5b}"
_NOT_5B = "{3b,3c,4b,4c,4d,4e,4f,5c}"
INCEPTION_V1 = f"""
stem_a_7x7                                  Conv2d_1a_7x7
stem_c_1x1                                  Conv2d_2b_1x1
stem_d_3x3                                  Conv2d_2c_3x3
inception_{_V1}_branch_0_a_1x1              Mixed_{_V1_SLIM}/Branch_0/Conv2d_0a_1x1
inception_{_V1}_branch_1_a_1x1              Mixed_{_V1_SLIM}/Branch_1/Conv2d_0a_1x1
inception_{_V1}_branch_1_b_3x3              Mixed_{_V1_SLIM}/Branch_1/Conv2d_0b_3x3
inception_{_V1}_branch_2_a_1x1              Mixed_{_V1_SLIM}/Branch_2/Conv2d_0a_1x1
inception_{_NOT_5A}_branch_2_b_3x3          Mixed_{_NOT_5B}/Branch_2/Conv2d_0b_3x3
inception_5a_branch_2_b_3x3                 Mixed_5b/Branch_2/Conv2d_0a_3x3
inception_{_V1}_branch_3_b_1x1              Mixed_{_V1_SLIM}/Branch_3/Conv2d_0b_1x1
logits                                      Logits/Conv2d_0c_1x1
"""

_V2 = "{3a,3b,4a,4b,4c,4d,5a,5b}"
_V2_SLIM = "{3b,3c,4b,4c,4d,4e,5b,5c}"
INCEPTION_V2 = f"""
stem_a_7x7                                  Conv2d_1a_7x7  # separable
stem_c_1x1                                  Conv2d_2b_1x1
stem_d_3x3                                  Conv2d_2c_3x3
inception_{_V2}_branch_0_a_1x1              Mixed_{_V2_SLIM}/Branch_0/Conv2d_0a_1x1
inception_{_V2}_branch_1_a_1x1              Mixed_{_V2_SLIM}/Branch_1/Conv2d_0a_1x1
inception_{_V2}_branch_1_b_3x3              Mixed_{_V2_SLIM}/Branch_1/Conv2d_0b_3x3
inception_{_V2}_branch_2_a_1x1              Mixed_{_V2_SLIM}/Branch_2/Conv2d_0a_1x1
inception_{_V2}_branch_2_b_3x3              Mixed_{_V2_SLIM}/Branch_2/Conv2d_0b_3x3
inception_{_V2}_branch_2_c_3x3              Mixed_{_V2_SLIM}/Branch_2/Conv2d_0c_3x3
inception_{_V2}_branch_3_b_1x1              Mixed_{_V2_SLIM}/Branch_3/Conv2d_0b_1x1
inception_{{3c,4e}}_branch_0_a_1x1          Mixed_{{4a,5a}}/Branch_0/Conv2d_0a_1x1
inception_{{3c,4e}}_branch_0_b_3x3          Mixed_{{4a,5a}}/Branch_0/Conv2d_1a_3x3
inception_{{3c,4e}}_branch_1_a_1x1          Mixed_{{4a,5a}}/Branch_1/Conv2d_0a_1x1
inception_{{3c,4e}}_branch_1_b_3x3          Mixed_{{4a,5a}}/Branch_1/Conv2d_0b_3x3
inception_{{3c,4e}}_branch_1_c_3x3          Mixed_{{4a,5a}}/Branch_1/Conv2d_1a_3x3
logits                                      Logits/Conv2d_1c_1x1
"""

_V3_STEM = """
stem_a_3x3                                  Conv2d_1a_3x3
stem_b_3x3                                  Conv2d_2a_3x3
stem_c_3x3                                  Conv2d_2b_3x3
stem_e_1x1                                  Conv2d_3b_1x1
stem_f_3x3                                  Conv2d_4a_3x3
"""

INCEPTION_V3 = (
    _V3_STEM
    + """
mixed_5{b,c,d}_branch_0_a_1x1               Mixed_5{b,c,d}/Branch_0/Conv2d_0a_1x1
mixed_5{b,d}_branch_1_a_1x1                 Mixed_5{b,d}/Branch_1/Conv2d_0a_1x1
mixed_5{b,d}_branch_1_b_5x5                 Mixed_5{b,d}/Branch_1/Conv2d_0b_5x5
mixed_5c_branch_1_a_1x1                     Mixed_5c/Branch_1/Conv2d_0b_1x1
mixed_5c_branch_1_b_5x5                     Mixed_5c/Branch_1/Conv_1_0c_5x5
mixed_5{b,c,d}_branch_2_a_1x1               Mixed_5{b,c,d}/Branch_2/Conv2d_0a_1x1
mixed_5{b,c,d}_branch_2_b_3x3               Mixed_5{b,c,d}/Branch_2/Conv2d_0b_3x3
mixed_5{b,c,d}_branch_2_c_3x3               Mixed_5{b,c,d}/Branch_2/Conv2d_0c_3x3
mixed_5{b,c,d}_branch_3_b_1x1               Mixed_5{b,c,d}/Branch_3/Conv2d_0b_1x1
mixed_6a_branch_0_a_3x3                     Mixed_6a/Branch_0/Conv2d_1a_1x1
mixed_6a_branch_1_a_1x1                     Mixed_6a/Branch_1/Conv2d_0a_1x1
mixed_6a_branch_1_b_3x3                     Mixed_6a/Branch_1/Conv2d_0b_3x3
mixed_6a_branch_1_c_3x3                     Mixed_6a/Branch_1/Conv2d_1a_1x1
mixed_6{b,c,d,e}_branch_0_a_1x1             Mixed_6{b,c,d,e}/Branch_0/Conv2d_0a_1x1
mixed_6{b,c,d,e}_branch_1_a_1x1             Mixed_6{b,c,d,e}/Branch_1/Conv2d_0a_1x1
mixed_6{b,c,d,e}_branch_1_b_1x7             Mixed_6{b,c,d,e}/Branch_1/Conv2d_0b_1x7
mixed_6{b,c,d,e}_branch_1_c_7x1             Mixed_6{b,c,d,e}/Branch_1/Conv2d_0c_7x1
mixed_6{b,c,d,e}_branch_2_a_1x1             Mixed_6{b,c,d,e}/Branch_2/Conv2d_0a_1x1
mixed_6{b,c,d,e}_branch_2_b_7x1             Mixed_6{b,c,d,e}/Branch_2/Conv2d_0b_7x1
mixed_6{b,c,d,e}_branch_2_c_1x7             Mixed_6{b,c,d,e}/Branch_2/Conv2d_0c_1x7
mixed_6{b,c,d,e}_branch_2_d_7x1             Mixed_6{b,c,d,e}/Branch_2/Conv2d_0d_7x1
mixed_6{b,c,d,e}_branch_2_e_1x7             Mixed_6{b,c,d,e}/Branch_2/Conv2d_0e_1x7
mixed_6{b,c,d,e}_branch_3_b_1x1             Mixed_6{b,c,d,e}/Branch_3/Conv2d_0b_1x1
mixed_7a_branch_0_a_1x1                     Mixed_7a/Branch_0/Conv2d_0a_1x1
mixed_7a_branch_0_b_3x3                     Mixed_7a/Branch_0/Conv2d_1a_3x3
mixed_7a_branch_1_a_1x1                     Mixed_7a/Branch_1/Conv2d_0a_1x1
mixed_7a_branch_1_b_1x7                     Mixed_7a/Branch_1/Conv2d_0b_1x7
mixed_7a_branch_1_c_7x1                     Mixed_7a/Branch_1/Conv2d_0c_7x1
mixed_7a_branch_1_d_3x3                     Mixed_7a/Branch_1/Conv2d_1a_3x3
mixed_7{b,c}_branch_0_a_1x1                 Mixed_7{b,c}/Branch_0/Conv2d_0a_1x1
mixed_7{b,c}_branch_1_a_1x1                 Mixed_7{b,c}/Branch_1/Conv2d_0a_1x1
mixed_7{b,c}_branch_1_b_branch_0_a_1x3      Mixed_7{b,c}/Branch_1/Conv2d_0b_1x3
mixed_7b_branch_1_b_branch_1_a_3x1          Mixed_7b/Branch_1/Conv2d_0b_3x1
mixed_7c_branch_1_b_branch_1_a_3x1          Mixed_7c/Branch_1/Conv2d_0c_3x1
mixed_7{b,c}_branch_2_a_1x1                 Mixed_7{b,c}/Branch_2/Conv2d_0a_1x1
mixed_7{b,c}_branch_2_b_3x3                 Mixed_7{b,c}/Branch_2/Conv2d_0b_3x3
mixed_7{b,c}_branch_2_c_branch_0_a_1x3      Mixed_7{b,c}/Branch_2/Conv2d_0c_1x3
mixed_7{b,c}_branch_2_c_branch_1_a_3x1      Mixed_7{b,c}/Branch_2/Conv2d_0d_3x1
mixed_7{b,c}_branch_3_b_1x1                 Mixed_7{b,c}/Branch_3/Conv2d_0b_1x1
logits                                      Logits/Conv2d_1c_1x1
aux_b_1x1                                   AuxLogits/Conv2d_1b_1x1
aux_c_5x5                                   AuxLogits/Conv2d_2a_5x5
aux_logits                                  AuxLogits/Conv2d_2b_1x1
"""
)

INCEPTION_V4 = """
stem_a_3x3                                  Conv2d_1a_3x3
stem_b_3x3                                  Conv2d_2a_3x3
stem_c_3x3                                  Conv2d_2b_3x3
stem_d_branch_1_a_3x3                       Mixed_3a/Branch_1/Conv2d_0a_3x3
stem_e_branch_0_a_1x1                       Mixed_4a/Branch_0/Conv2d_0a_1x1
stem_e_branch_0_b_3x3                       Mixed_4a/Branch_0/Conv2d_1a_3x3
stem_e_branch_1_a_1x1                       Mixed_4a/Branch_1/Conv2d_0a_1x1
stem_e_branch_1_b_1x7                       Mixed_4a/Branch_1/Conv2d_0b_1x7
stem_e_branch_1_c_7x1                       Mixed_4a/Branch_1/Conv2d_0c_7x1
stem_e_branch_1_d_3x3                       Mixed_4a/Branch_1/Conv2d_1a_3x3
stem_f_branch_0_a_3x3                       Mixed_5a/Branch_0/Conv2d_1a_3x3
mixed_5{b,c,d,e}_branch_0_a_1x1             Mixed_5{b,c,d,e}/Branch_0/Conv2d_0a_1x1
mixed_5{b,c,d,e}_branch_1_a_1x1             Mixed_5{b,c,d,e}/Branch_1/Conv2d_0a_1x1
mixed_5{b,c,d,e}_branch_1_b_3x3             Mixed_5{b,c,d,e}/Branch_1/Conv2d_0b_3x3
mixed_5{b,c,d,e}_branch_2_a_1x1             Mixed_5{b,c,d,e}/Branch_2/Conv2d_0a_1x1
mixed_5{b,c,d,e}_branch_2_b_3x3             Mixed_5{b,c,d,e}/Branch_2/Conv2d_0b_3x3
mixed_5{b,c,d,e}_branch_2_c_3x3             Mixed_5{b,c,d,e}/Branch_2/Conv2d_0c_3x3
mixed_5{b,c,d,e}_branch_3_b_1x1             Mixed_5{b,c,d,e}/Branch_3/Conv2d_0b_1x1
mixed_6a_branch_0_a_3x3                     Mixed_6a/Branch_0/Conv2d_1a_3x3
mixed_6a_branch_1_a_1x1                     Mixed_6a/Branch_1/Conv2d_0a_1x1
mixed_6a_branch_1_b_3x3                     Mixed_6a/Branch_1/Conv2d_0b_3x3
mixed_6a_branch_1_c_3x3                     Mixed_6a/Branch_1/Conv2d_1a_3x3
mixed_6{b,c,d,e,f,g,h}_branch_0_a_1x1       Mixed_6{b,c,d,e,f,g,h}/Branch_0/Conv2d_0a_1x1
mixed_6{b,c,d,e,f,g,h}_branch_1_a_1x1       Mixed_6{b,c,d,e,f,g,h}/Branch_1/Conv2d_0a_1x1
mixed_6{b,c,d,e,f,g,h}_branch_1_b_1x7       Mixed_6{b,c,d,e,f,g,h}/Branch_1/Conv2d_0b_1x7
mixed_6{b,c,d,e,f,g,h}_branch_1_c_7x1       Mixed_6{b,c,d,e,f,g,h}/Branch_1/Conv2d_0c_7x1
mixed_6{b,c,d,e,f,g,h}_branch_2_a_1x1       Mixed_6{b,c,d,e,f,g,h}/Branch_2/Conv2d_0a_1x1
mixed_6{b,c,d,e,f,g,h}_branch_2_b_7x1       Mixed_6{b,c,d,e,f,g,h}/Branch_2/Conv2d_0b_7x1
mixed_6{b,c,d,e,f,g,h}_branch_2_c_1x7       Mixed_6{b,c,d,e,f,g,h}/Branch_2/Conv2d_0c_1x7
mixed_6{b,c,d,e,f,g,h}_branch_2_d_7x1       Mixed_6{b,c,d,e,f,g,h}/Branch_2/Conv2d_0d_7x1
mixed_6{b,c,d,e,f,g,h}_branch_2_e_1x7       Mixed_6{b,c,d,e,f,g,h}/Branch_2/Conv2d_0e_1x7
mixed_6{b,c,d,e,f,g,h}_branch_3_b_1x1       Mixed_6{b,c,d,e,f,g,h}/Branch_3/Conv2d_0b_1x1
mixed_7a_branch_0_a_1x1                     Mixed_7a/Branch_0/Conv2d_0a_1x1
mixed_7a_branch_0_b_3x3                     Mixed_7a/Branch_0/Conv2d_1a_3x3
mixed_7a_branch_1_a_1x1                     Mixed_7a/Branch_1/Conv2d_0a_1x1
mixed_7a_branch_1_b_1x7                     Mixed_7a/Branch_1/Conv2d_0b_1x7
mixed_7a_branch_1_c_7x1                     Mixed_7a/Branch_1/Conv2d_0c_7x1
mixed_7a_branch_1_d_3x3                     Mixed_7a/Branch_1/Conv2d_1a_3x3
mixed_7{b,c,d}_branch_0_a_1x1               Mixed_7{b,c,d}/Branch_0/Conv2d_0a_1x1
mixed_7{b,c,d}_branch_1_a_1x1               Mixed_7{b,c,d}/Branch_1/Conv2d_0a_1x1
mixed_7{b,c,d}_branch_1_b_branch_0_a_1x3    Mixed_7{b,c,d}/Branch_1/Conv2d_0b_1x3
mixed_7{b,c,d}_branch_1_b_branch_1_a_3x1    Mixed_7{b,c,d}/Branch_1/Conv2d_0c_3x1
mixed_7{b,c,d}_branch_2_a_1x1               Mixed_7{b,c,d}/Branch_2/Conv2d_0a_1x1
mixed_7{b,c,d}_branch_2_b_3x1               Mixed_7{b,c,d}/Branch_2/Conv2d_0b_3x1
mixed_7{b,c,d}_branch_2_c_1x3               Mixed_7{b,c,d}/Branch_2/Conv2d_0c_1x3
mixed_7{b,c,d}_branch_2_d_branch_0_a_1x3    Mixed_7{b,c,d}/Branch_2/Conv2d_0d_1x3
mixed_7{b,c,d}_branch_2_d_branch_1_a_3x1    Mixed_7{b,c,d}/Branch_2/Conv2d_0e_3x1
mixed_7{b,c,d}_branch_3_b_1x1               Mixed_7{b,c,d}/Branch_3/Conv2d_0b_1x1
logits                                      Logits/Logits
aux_b_1x1                                   AuxLogits/Conv2d_1b_1x1
aux_c_5x5                                   AuxLogits/Conv2d_2a
aux_logits                                  AuxLogits/Aux_logits
"""

INCEPTION_RESNET_V2 = (
    _V3_STEM
    + """
mixed_5b_branch_0_a_1x1                     Mixed_5b/Branch_0/Conv2d_1x1
mixed_5b_branch_1_a_1x1                     Mixed_5b/Branch_1/Conv2d_0a_1x1
mixed_5b_branch_1_b_5x5                     Mixed_5b/Branch_1/Conv2d_0b_5x5
mixed_5b_branch_2_a_1x1                     Mixed_5b/Branch_2/Conv2d_0a_1x1
mixed_5b_branch_2_b_3x3                     Mixed_5b/Branch_2/Conv2d_0b_3x3
mixed_5b_branch_2_c_3x3                     Mixed_5b/Branch_2/Conv2d_0c_3x3
mixed_5b_branch_3_b_1x1                     Mixed_5b/Branch_3/Conv2d_0b_1x1
block35_{1..10}_a_branch_0_a_1x1            Repeat/block35_{1..10}/Branch_0/Conv2d_1x1
block35_{1..10}_a_branch_1_a_1x1            Repeat/block35_{1..10}/Branch_1/Conv2d_0a_1x1
block35_{1..10}_a_branch_1_b_3x3            Repeat/block35_{1..10}/Branch_1/Conv2d_0b_3x3
block35_{1..10}_a_branch_2_a_1x1            Repeat/block35_{1..10}/Branch_2/Conv2d_0a_1x1
block35_{1..10}_a_branch_2_b_3x3            Repeat/block35_{1..10}/Branch_2/Conv2d_0b_3x3
block35_{1..10}_a_branch_2_c_3x3            Repeat/block35_{1..10}/Branch_2/Conv2d_0c_3x3
block35_{1..10}_b_linear                    Repeat/block35_{1..10}/Conv2d_1x1
mixed_6a_branch_0_a_3x3                     Mixed_6a/Branch_0/Conv2d_1a_3x3
mixed_6a_branch_1_a_1x1                     Mixed_6a/Branch_1/Conv2d_0a_1x1
mixed_6a_branch_1_b_3x3                     Mixed_6a/Branch_1/Conv2d_0b_3x3
mixed_6a_branch_1_c_3x3                     Mixed_6a/Branch_1/Conv2d_1a_3x3
block17_{1..20}_a_branch_0_a_1x1            Repeat_1/block17_{1..20}/Branch_0/Conv2d_1x1
block17_{1..20}_a_branch_1_a_1x1            Repeat_1/block17_{1..20}/Branch_1/Conv2d_0a_1x1
block17_{1..20}_a_branch_1_b_1x7            Repeat_1/block17_{1..20}/Branch_1/Conv2d_0b_1x7
block17_{1..20}_a_branch_1_c_7x1            Repeat_1/block17_{1..20}/Branch_1/Conv2d_0c_7x1
block17_{1..20}_b_linear                    Repeat_1/block17_{1..20}/Conv2d_1x1
mixed_7a_branch_0_a_1x1                     Mixed_7a/Branch_0/Conv2d_0a_1x1
mixed_7a_branch_0_b_3x3                     Mixed_7a/Branch_0/Conv2d_1a_3x3
mixed_7a_branch_1_a_1x1                     Mixed_7a/Branch_1/Conv2d_0a_1x1
mixed_7a_branch_1_b_3x3                     Mixed_7a/Branch_1/Conv2d_1a_3x3
mixed_7a_branch_2_a_1x1                     Mixed_7a/Branch_2/Conv2d_0a_1x1
mixed_7a_branch_2_b_3x3                     Mixed_7a/Branch_2/Conv2d_0b_3x3
mixed_7a_branch_2_c_3x3                     Mixed_7a/Branch_2/Conv2d_1a_3x3
block8_{1..9}_a_branch_0_a_1x1              Repeat_2/block8_{1..9}/Branch_0/Conv2d_1x1
block8_{1..9}_a_branch_1_a_1x1              Repeat_2/block8_{1..9}/Branch_1/Conv2d_0a_1x1
block8_{1..9}_a_branch_1_b_1x3              Repeat_2/block8_{1..9}/Branch_1/Conv2d_0b_1x3
block8_{1..9}_a_branch_1_c_3x1              Repeat_2/block8_{1..9}/Branch_1/Conv2d_0c_3x1
block8_{1..9}_b_linear                      Repeat_2/block8_{1..9}/Conv2d_1x1
block8_10_a_branch_0_a_1x1                  Block8/Branch_0/Conv2d_1x1
block8_10_a_branch_1_a_1x1                  Block8/Branch_1/Conv2d_0a_1x1
block8_10_a_branch_1_b_1x3                  Block8/Branch_1/Conv2d_0b_1x3
block8_10_a_branch_1_c_3x1                  Block8/Branch_1/Conv2d_0c_3x1
block8_10_b_linear                          Block8/Conv2d_1x1
conv_7b_1x1                                 Conv2d_7b_1x1
logits                                      Logits/Logits
aux_b_1x1                                   AuxLogits/Conv2d_1b_1x1
aux_c_5x5                                   AuxLogits/Conv2d_2a_5x5
aux_logits                                  AuxLogits/Logits
"""
)

# Our network: its scope there, its table, and the variant that is the released network.
NETWORKS = {
    "inception_v1": ("InceptionV1", INCEPTION_V1, "slim"),
    "inception_v2": ("InceptionV2", INCEPTION_V2, "slim"),
    "inception_v3": ("InceptionV3", INCEPTION_V3, "slim"),
    "inception_v4": ("InceptionV4", INCEPTION_V4, "released"),
    "inception_resnet_v2": ("InceptionResnetV2", INCEPTION_RESNET_V2, "released"),
}

VARIABLES = re.compile(
    r"(.*/)?(weights|biases|depthwise_weights|pointwise_weights"
    r"|BatchNorm/(beta|gamma|moving_mean|moving_variance))"
)
SHADOW = "/ExponentialMovingAverage"
# What training leaves beside a variable, named after it, and beside all of them.
_NO_WEIGHT = re.compile(
    r".*/(RMSProp(_[12])?|Momentum|Adam(_1)?|Adagrad|AdagradDA|Adadelta(_1)?|Ftrl(_1)?"
    r"|ExponentialMovingAverage|biased|local_step)"
    r"|(.*/)?(global_step|beta[12]_power)"
)


def network_of(names: Iterable[str]) -> str | None:
    """The network, ``"inception_v3"``, whose variables are among the names."""
    roots = {name.partition("/")[0] for name in names}
    return next((ours for ours, (root, _, _) in NETWORKS.items() if root in roots), None)


def source(network: str, names: Iterable[str] = (), *, ema: bool = False) -> Source:
    """What TF-Slim calls a network's variables.

    Args:
        names: those in the file.
        ema: take the moving averages that training kept beside the variables; a variable without
            one is taken itself.

    Raises:
        ValueError: no variable in the file has a moving average.
    """
    root, text, variant = NETWORKS[network]
    names = set(names)
    places: dict[str, Place] = {}
    for layer, scope in table(text).items():
        places.update(_variables(network, layer, f"{root}/{scope}"))
    known = {name for place in places.values() for name in (place.name, place.gamma) if name}
    ignored = {name for name in names - known if _NO_WEIGHT.fullmatch(name)}
    if ema:
        shadows = {name for name in known if name + SHADOW in names}
        if not shadows:
            raise ValueError("`ema=True`, but the file holds no moving averages of the weights")
        ignored = (ignored | shadows) - {name + SHADOW for name in shadows}
        places = {ours: _shadow(place, shadows) for ours, place in places.items()}
    return Source("slim", variant, places, frozenset(ignored))


def _variables(network: str, layer: str, scope: str) -> Iterator[tuple[str, Place]]:
    if layer.endswith("logits"):
        layout = "1x1" if "Conv2d" in scope else "ours"
        yield f"{layer}/kernel", Place(f"{scope}/weights", layout)  # type: ignore[arg-type]
        yield f"{layer}/bias", Place(f"{scope}/biases")
    elif layer.endswith("linear"):
        yield f"{layer}/kernel", Place(f"{scope}/weights")
        yield f"{layer}/bias", Place(f"{scope}/biases")
    elif (network, layer) == ("inception_v2", "stem_a_7x7"):
        yield f"{layer}/depthwise_kernel", Place(f"{scope}/depthwise_weights")
        yield f"{layer}/pointwise_kernel", Place(f"{scope}/pointwise_weights")
        yield f"{layer}/bias", Place(f"{scope}/biases")
    else:
        norm = f"{scope}/BatchNorm"
        gamma = f"{norm}/gamma"
        yield f"{layer}/kernel", Place(f"{scope}/weights", gamma=gamma)
        yield f"{layer}_bn/beta", Place(f"{norm}/beta")
        yield f"{layer}_bn/moving_mean", Place(f"{norm}/moving_mean", gamma=gamma)
        yield f"{layer}_bn/moving_variance", Place(f"{norm}/moving_variance")


def _shadow(place: Place, shadows: set[str]) -> Place:
    gamma = place.gamma
    return Place(
        place.name + SHADOW * (place.name in shadows),
        place.layout,
        gamma and gamma + SHADOW * (gamma in shadows),
    )
