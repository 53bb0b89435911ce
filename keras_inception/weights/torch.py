"""PyTorch's names: timm's inception_v3, inception_v4 and inception_resnet_v2, torchvision's
googlenet and inception_v3, whose names of v3 are also timm's, and facenet-pytorch's
InceptionResnetV1.

Each table holds the modules of a network, its auxiliary heads included. torchvision's GoogLeNet
has auxiliary heads of v1's shapes that pool otherwise (an adaptive average to 4 x 4, where the
paper's is 5x5 with stride 3), so their outputs are not the paper's; its released ones are
untrained in any case.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from keras_inception.weights.names import Place, Proof, Source, Table, parse_table

_V1 = "{3a,3b,4a,4b,4c,4d,4e,5a,5b}"
GOOGLENET = f"""
stem_a_7x7                                  conv1
stem_c_1x1                                  conv2
stem_d_3x3                                  conv3
inception_{_V1}_branch_0_a_1x1              inception{_V1}.branch1
inception_{_V1}_branch_1_a_1x1              inception{_V1}.branch2.0
inception_{_V1}_branch_1_b_3x3              inception{_V1}.branch2.1
inception_{_V1}_branch_2_a_1x1              inception{_V1}.branch3.0
inception_{_V1}_branch_2_b_3x3              inception{_V1}.branch3.1
inception_{_V1}_branch_3_b_1x1              inception{_V1}.branch4.1
logits                                      fc
aux_4{{a,d}}_b_1x1                          aux{{1,2}}.conv
aux_4{{a,d}}_dense                          aux{{1,2}}.fc1
aux_4{{a,d}}_logits                         aux{{1,2}}.fc2
"""

INCEPTION_V3 = """
stem_a_3x3                                  Conv2d_1a_3x3
stem_b_3x3                                  Conv2d_2a_3x3
stem_c_3x3                                  Conv2d_2b_3x3
stem_e_1x1                                  Conv2d_3b_1x1
stem_f_3x3                                  Conv2d_4a_3x3
mixed_5{b,c,d}_branch_0_a_1x1               Mixed_5{b,c,d}.branch1x1
mixed_5{b,c,d}_branch_1_a_1x1               Mixed_5{b,c,d}.branch5x5_1
mixed_5{b,c,d}_branch_1_b_5x5               Mixed_5{b,c,d}.branch5x5_2
mixed_5{b,c,d}_branch_2_a_1x1               Mixed_5{b,c,d}.branch3x3dbl_1
mixed_5{b,c,d}_branch_2_b_3x3               Mixed_5{b,c,d}.branch3x3dbl_2
mixed_5{b,c,d}_branch_2_c_3x3               Mixed_5{b,c,d}.branch3x3dbl_3
mixed_5{b,c,d}_branch_3_b_1x1               Mixed_5{b,c,d}.branch_pool
mixed_6a_branch_0_a_3x3                     Mixed_6a.branch3x3
mixed_6a_branch_1_a_1x1                     Mixed_6a.branch3x3dbl_1
mixed_6a_branch_1_b_3x3                     Mixed_6a.branch3x3dbl_2
mixed_6a_branch_1_c_3x3                     Mixed_6a.branch3x3dbl_3
mixed_6{b,c,d,e}_branch_0_a_1x1             Mixed_6{b,c,d,e}.branch1x1
mixed_6{b,c,d,e}_branch_1_a_1x1             Mixed_6{b,c,d,e}.branch7x7_1
mixed_6{b,c,d,e}_branch_1_b_1x7             Mixed_6{b,c,d,e}.branch7x7_2
mixed_6{b,c,d,e}_branch_1_c_7x1             Mixed_6{b,c,d,e}.branch7x7_3
mixed_6{b,c,d,e}_branch_2_a_1x1             Mixed_6{b,c,d,e}.branch7x7dbl_1
mixed_6{b,c,d,e}_branch_2_b_7x1             Mixed_6{b,c,d,e}.branch7x7dbl_2
mixed_6{b,c,d,e}_branch_2_c_1x7             Mixed_6{b,c,d,e}.branch7x7dbl_3
mixed_6{b,c,d,e}_branch_2_d_7x1             Mixed_6{b,c,d,e}.branch7x7dbl_4
mixed_6{b,c,d,e}_branch_2_e_1x7             Mixed_6{b,c,d,e}.branch7x7dbl_5
mixed_6{b,c,d,e}_branch_3_b_1x1             Mixed_6{b,c,d,e}.branch_pool
mixed_7a_branch_0_a_1x1                     Mixed_7a.branch3x3_1
mixed_7a_branch_0_b_3x3                     Mixed_7a.branch3x3_2
mixed_7a_branch_1_a_1x1                     Mixed_7a.branch7x7x3_1
mixed_7a_branch_1_b_1x7                     Mixed_7a.branch7x7x3_2
mixed_7a_branch_1_c_7x1                     Mixed_7a.branch7x7x3_3
mixed_7a_branch_1_d_3x3                     Mixed_7a.branch7x7x3_4
mixed_7{b,c}_branch_0_a_1x1                 Mixed_7{b,c}.branch1x1
mixed_7{b,c}_branch_1_a_1x1                 Mixed_7{b,c}.branch3x3_1
mixed_7{b,c}_branch_1_b_branch_0_a_1x3      Mixed_7{b,c}.branch3x3_2a
mixed_7{b,c}_branch_1_b_branch_1_a_3x1      Mixed_7{b,c}.branch3x3_2b
mixed_7{b,c}_branch_2_a_1x1                 Mixed_7{b,c}.branch3x3dbl_1
mixed_7{b,c}_branch_2_b_3x3                 Mixed_7{b,c}.branch3x3dbl_2
mixed_7{b,c}_branch_2_c_branch_0_a_1x3      Mixed_7{b,c}.branch3x3dbl_3a
mixed_7{b,c}_branch_2_c_branch_1_a_3x1      Mixed_7{b,c}.branch3x3dbl_3b
mixed_7{b,c}_branch_3_b_1x1                 Mixed_7{b,c}.branch_pool
logits                                      fc
aux_b_1x1                                   AuxLogits.conv0
aux_c_5x5                                   AuxLogits.conv1
aux_logits                                  AuxLogits.fc
"""

INCEPTION_V4 = """
stem_a_3x3                                  features.0
stem_b_3x3                                  features.1
stem_c_3x3                                  features.2
stem_d_branch_1_a_3x3                       features.3.conv
stem_e_branch_0_a_1x1                       features.4.branch0.0
stem_e_branch_0_b_3x3                       features.4.branch0.1
stem_e_branch_1_a_1x1                       features.4.branch1.0
stem_e_branch_1_b_1x7                       features.4.branch1.1
stem_e_branch_1_c_7x1                       features.4.branch1.2
stem_e_branch_1_d_3x3                       features.4.branch1.3
stem_f_branch_0_a_3x3                       features.5.conv
mixed_5{b,c,d,e}_branch_0_a_1x1             features.{6..9}.branch0
mixed_5{b,c,d,e}_branch_1_a_1x1             features.{6..9}.branch1.0
mixed_5{b,c,d,e}_branch_1_b_3x3             features.{6..9}.branch1.1
mixed_5{b,c,d,e}_branch_2_a_1x1             features.{6..9}.branch2.0
mixed_5{b,c,d,e}_branch_2_b_3x3             features.{6..9}.branch2.1
mixed_5{b,c,d,e}_branch_2_c_3x3             features.{6..9}.branch2.2
mixed_5{b,c,d,e}_branch_3_b_1x1             features.{6..9}.branch3.1
mixed_6a_branch_0_a_3x3                     features.10.branch0
mixed_6a_branch_1_a_1x1                     features.10.branch1.0
mixed_6a_branch_1_b_3x3                     features.10.branch1.1
mixed_6a_branch_1_c_3x3                     features.10.branch1.2
mixed_6{b,c,d,e,f,g,h}_branch_0_a_1x1       features.{11..17}.branch0
mixed_6{b,c,d,e,f,g,h}_branch_1_a_1x1       features.{11..17}.branch1.0
mixed_6{b,c,d,e,f,g,h}_branch_1_b_1x7       features.{11..17}.branch1.1
mixed_6{b,c,d,e,f,g,h}_branch_1_c_7x1       features.{11..17}.branch1.2
mixed_6{b,c,d,e,f,g,h}_branch_2_a_1x1       features.{11..17}.branch2.0
mixed_6{b,c,d,e,f,g,h}_branch_2_b_7x1       features.{11..17}.branch2.1
mixed_6{b,c,d,e,f,g,h}_branch_2_c_1x7       features.{11..17}.branch2.2
mixed_6{b,c,d,e,f,g,h}_branch_2_d_7x1       features.{11..17}.branch2.3
mixed_6{b,c,d,e,f,g,h}_branch_2_e_1x7       features.{11..17}.branch2.4
mixed_6{b,c,d,e,f,g,h}_branch_3_b_1x1       features.{11..17}.branch3.1
mixed_7a_branch_0_a_1x1                     features.18.branch0.0
mixed_7a_branch_0_b_3x3                     features.18.branch0.1
mixed_7a_branch_1_a_1x1                     features.18.branch1.0
mixed_7a_branch_1_b_1x7                     features.18.branch1.1
mixed_7a_branch_1_c_7x1                     features.18.branch1.2
mixed_7a_branch_1_d_3x3                     features.18.branch1.3
mixed_7{b,c,d}_branch_0_a_1x1               features.{19..21}.branch0
mixed_7{b,c,d}_branch_1_a_1x1               features.{19..21}.branch1_0
mixed_7{b,c,d}_branch_1_b_branch_0_a_1x3    features.{19..21}.branch1_1a
mixed_7{b,c,d}_branch_1_b_branch_1_a_3x1    features.{19..21}.branch1_1b
mixed_7{b,c,d}_branch_2_a_1x1               features.{19..21}.branch2_0
mixed_7{b,c,d}_branch_2_b_3x1               features.{19..21}.branch2_1
mixed_7{b,c,d}_branch_2_c_1x3               features.{19..21}.branch2_2
mixed_7{b,c,d}_branch_2_d_branch_0_a_1x3    features.{19..21}.branch2_3a
mixed_7{b,c,d}_branch_2_d_branch_1_a_3x1    features.{19..21}.branch2_3b
mixed_7{b,c,d}_branch_3_b_1x1               features.{19..21}.branch3.1
logits                                      last_linear
"""

INCEPTION_RESNET_V1 = """
stem_a_3x3                                  conv2d_1a
stem_b_3x3                                  conv2d_2a
stem_c_3x3                                  conv2d_2b
stem_e_1x1                                  conv2d_3b
stem_f_3x3                                  conv2d_4a
stem_g_3x3                                  conv2d_4b
block35_{1..5}_a_branch_0_a_1x1             repeat_1.{0..4}.branch0
block35_{1..5}_a_branch_1_a_1x1             repeat_1.{0..4}.branch1.0
block35_{1..5}_a_branch_1_b_3x3             repeat_1.{0..4}.branch1.1
block35_{1..5}_a_branch_2_a_1x1             repeat_1.{0..4}.branch2.0
block35_{1..5}_a_branch_2_b_3x3             repeat_1.{0..4}.branch2.1
block35_{1..5}_a_branch_2_c_3x3             repeat_1.{0..4}.branch2.2
block35_{1..5}_b_linear                     repeat_1.{0..4}.conv2d
mixed_6a_branch_0_a_3x3                     mixed_6a.branch0
mixed_6a_branch_1_a_1x1                     mixed_6a.branch1.0
mixed_6a_branch_1_b_3x3                     mixed_6a.branch1.1
mixed_6a_branch_1_c_3x3                     mixed_6a.branch1.2
block17_{1..10}_a_branch_0_a_1x1            repeat_2.{0..9}.branch0
block17_{1..10}_a_branch_1_a_1x1            repeat_2.{0..9}.branch1.0
block17_{1..10}_a_branch_1_b_1x7            repeat_2.{0..9}.branch1.1
block17_{1..10}_a_branch_1_c_7x1            repeat_2.{0..9}.branch1.2
block17_{1..10}_b_linear                    repeat_2.{0..9}.conv2d
mixed_7a_branch_0_a_1x1                     mixed_7a.branch0.0
mixed_7a_branch_0_b_3x3                     mixed_7a.branch0.1
mixed_7a_branch_1_a_1x1                     mixed_7a.branch1.0
mixed_7a_branch_1_b_3x3                     mixed_7a.branch1.1
mixed_7a_branch_2_a_1x1                     mixed_7a.branch2.0
mixed_7a_branch_2_b_3x3                     mixed_7a.branch2.1
mixed_7a_branch_2_c_3x3                     mixed_7a.branch2.2
block8_{1..5}_a_branch_0_a_1x1              repeat_3.{0..4}.branch0
block8_{1..5}_a_branch_1_a_1x1              repeat_3.{0..4}.branch1.0
block8_{1..5}_a_branch_1_b_1x3              repeat_3.{0..4}.branch1.1
block8_{1..5}_a_branch_1_c_3x1              repeat_3.{0..4}.branch1.2
block8_{1..5}_b_linear                      repeat_3.{0..4}.conv2d
block8_6_a_branch_0_a_1x1                   block8.branch0
block8_6_a_branch_1_a_1x1                   block8.branch1.0
block8_6_a_branch_1_b_1x3                   block8.branch1.1
block8_6_a_branch_1_c_3x1                   block8.branch1.2
block8_6_b_linear                           block8.conv2d
bottleneck                                  last
logits                                      logits
"""

INCEPTION_RESNET_V2 = """
stem_a_3x3                                  conv2d_1a
stem_b_3x3                                  conv2d_2a
stem_c_3x3                                  conv2d_2b
stem_e_1x1                                  conv2d_3b
stem_f_3x3                                  conv2d_4a
mixed_5b_branch_0_a_1x1                     mixed_5b.branch0
mixed_5b_branch_1_a_1x1                     mixed_5b.branch1.0
mixed_5b_branch_1_b_5x5                     mixed_5b.branch1.1
mixed_5b_branch_2_a_1x1                     mixed_5b.branch2.0
mixed_5b_branch_2_b_3x3                     mixed_5b.branch2.1
mixed_5b_branch_2_c_3x3                     mixed_5b.branch2.2
mixed_5b_branch_3_b_1x1                     mixed_5b.branch3.1
block35_{1..10}_a_branch_0_a_1x1            repeat.{0..9}.branch0
block35_{1..10}_a_branch_1_a_1x1            repeat.{0..9}.branch1.0
block35_{1..10}_a_branch_1_b_3x3            repeat.{0..9}.branch1.1
block35_{1..10}_a_branch_2_a_1x1            repeat.{0..9}.branch2.0
block35_{1..10}_a_branch_2_b_3x3            repeat.{0..9}.branch2.1
block35_{1..10}_a_branch_2_c_3x3            repeat.{0..9}.branch2.2
block35_{1..10}_b_linear                    repeat.{0..9}.conv2d
mixed_6a_branch_0_a_3x3                     mixed_6a.branch0
mixed_6a_branch_1_a_1x1                     mixed_6a.branch1.0
mixed_6a_branch_1_b_3x3                     mixed_6a.branch1.1
mixed_6a_branch_1_c_3x3                     mixed_6a.branch1.2
block17_{1..20}_a_branch_0_a_1x1            repeat_1.{0..19}.branch0
block17_{1..20}_a_branch_1_a_1x1            repeat_1.{0..19}.branch1.0
block17_{1..20}_a_branch_1_b_1x7            repeat_1.{0..19}.branch1.1
block17_{1..20}_a_branch_1_c_7x1            repeat_1.{0..19}.branch1.2
block17_{1..20}_b_linear                    repeat_1.{0..19}.conv2d
mixed_7a_branch_0_a_1x1                     mixed_7a.branch0.0
mixed_7a_branch_0_b_3x3                     mixed_7a.branch0.1
mixed_7a_branch_1_a_1x1                     mixed_7a.branch1.0
mixed_7a_branch_1_b_3x3                     mixed_7a.branch1.1
mixed_7a_branch_2_a_1x1                     mixed_7a.branch2.0
mixed_7a_branch_2_b_3x3                     mixed_7a.branch2.1
mixed_7a_branch_2_c_3x3                     mixed_7a.branch2.2
block8_{1..9}_a_branch_0_a_1x1              repeat_2.{0..8}.branch0
block8_{1..9}_a_branch_1_a_1x1              repeat_2.{0..8}.branch1.0
block8_{1..9}_a_branch_1_b_1x3              repeat_2.{0..8}.branch1.1
block8_{1..9}_a_branch_1_c_3x1              repeat_2.{0..8}.branch1.2
block8_{1..9}_b_linear                      repeat_2.{0..8}.conv2d
block8_10_a_branch_0_a_1x1                  block8.branch0
block8_10_a_branch_1_a_1x1                  block8.branch1.0
block8_10_a_branch_1_b_1x3                  block8.branch1.1
block8_10_a_branch_1_c_3x1                  block8.branch1.2
block8_10_b_linear                          block8.conv2d
conv_7b_1x1                                 conv2d_7b
logits                                      classif
"""

# fmt: off
NETWORKS = {
    "inception_v1": Table(
        GOOGLENET, "torchvision", "inception3a.branch1.conv.weight",
        Proof("PyTorch 2.13.0", 1000, 11.56686,
              (-4.509397, 4.16779, 13.25683, -1.095777, -4.533524, -8.362905)),
    ),
    "inception_v3": Table(
        INCEPTION_V3, "torchvision", "Mixed_5b.branch1x1.conv.weight",
        Proof("timm 1.0.31", 1000, 17.74958,
              (9.740236, 18.16846, 2.610859, -18.07566, -28.37615, -0.605822),
              {"aux": (-4.16557, 8.911497, 10.80471, -6.882475, 5.031228, -4.289306)}),
    ),
    "inception_v4": Table(
        INCEPTION_V4, "released", "features.0.conv.weight",
        Proof("timm 1.0.31", 1000, 28.45247,
              (-75.7054, 1.862108, -22.44857, -47.06184, 13.90085, 4.404147)),
    ),
    "inception_resnet_v1": Table(
        INCEPTION_RESNET_V1, "released", "conv2d_4b.conv.weight",
        Proof("facenet-pytorch 2.6.0", 1001, 14.25574,
              (5.086582, 7.598996, 19.08055, 15.13672, -9.210534, -10.44524), embedding=512),
    ),
    "inception_resnet_v2": Table(
        INCEPTION_RESNET_V2, "released", "conv2d_7b.conv.weight",
        Proof("timm 1.0.31", 1000, 17.88099,
              (45.27603, -7.716617, -25.87627, -4.777235, -9.282256, -15.78565)),
    ),
}
# fmt: on


def network_of(names: Collection[str]) -> str | None:
    """The network, ``"inception_v3"``, whose state dict has these names."""
    return next((ours for ours, each in NETWORKS.items() if each.telling in names), None)


def source(network: str, names: Iterable[str] = ()) -> Source:
    """What timm, torchvision or facenet-pytorch calls a network's variables.

    Args:
        names: those in the file.
    """
    row = NETWORKS[network]
    places: dict[str, Place] = {}
    for layer, module in parse_table(row.layers).items():
        places.update(_variables(layer, module))
    # How often batch norm has seen a batch: PyTorch keeps count, nothing uses it.
    counters = {name for name in names if name.endswith(".num_batches_tracked")}
    return Source("torch", row.variant, places, frozenset(counters))


def _variables(layer: str, module: str) -> Iterator[tuple[str, Place]]:
    if layer.endswith(("logits", "dense")):
        yield f"{layer}/kernel", Place(f"{module}.weight", "flat" if "dense" in layer else "oi")
        yield f"{layer}/bias", Place(f"{module}.bias")
    elif layer.endswith("linear"):
        yield f"{layer}/kernel", Place(f"{module}.weight", "oihw")
        yield f"{layer}/bias", Place(f"{module}.bias")
    else:
        dense = layer == "bottleneck"
        norm = f"{module}_bn" if dense else f"{module}.bn"
        kernel = f"{module}_linear.weight" if dense else f"{module}.conv.weight"
        gamma = f"{norm}.weight"
        yield f"{layer}/kernel", Place(kernel, "oi" if dense else "oihw", gamma)
        yield f"{layer}_bn/gamma", Place(gamma)
        yield f"{layer}_bn/beta", Place(f"{norm}.bias")
        yield f"{layer}_bn/moving_mean", Place(f"{norm}.running_mean", gamma=gamma)
        yield f"{layer}_bn/moving_variance", Place(f"{norm}.running_var")
