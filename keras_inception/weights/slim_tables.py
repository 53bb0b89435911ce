"""TF-Slim's names of layers and of end points, network by network; and facenet's of theirs.

Each table holds every convolution and dense layer of a released network, auxiliary head included,
below its scope. Names that mislead are as they are there: v1's ``Mixed_5b/Branch_2/Conv2d_0a_3x3``,
v3's ``Mixed_5c/Branch_1``, its ``Conv2d_1a_1x1`` with 3x3 kernels, its ``Conv2d_0b_3x1`` beside
another module's ``Conv2d_0c_3x1``. A name with ``/`` before it stands outside the scope.
"""

from __future__ import annotations

from keras_inception.weights.names import Proof, Table

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

# davidsandberg/facenet, src/models/inception_resnet_v1.py; the classifier is its trainer's.
INCEPTION_RESNET_V1 = (
    _V3_STEM
    + """
stem_g_3x3                                  Conv2d_4b_3x3
block35_{1..5}_a_branch_0_a_1x1             Repeat/block35_{1..5}/Branch_0/Conv2d_1x1
block35_{1..5}_a_branch_1_a_1x1             Repeat/block35_{1..5}/Branch_1/Conv2d_0a_1x1
block35_{1..5}_a_branch_1_b_3x3             Repeat/block35_{1..5}/Branch_1/Conv2d_0b_3x3
block35_{1..5}_a_branch_2_a_1x1             Repeat/block35_{1..5}/Branch_2/Conv2d_0a_1x1
block35_{1..5}_a_branch_2_b_3x3             Repeat/block35_{1..5}/Branch_2/Conv2d_0b_3x3
block35_{1..5}_a_branch_2_c_3x3             Repeat/block35_{1..5}/Branch_2/Conv2d_0c_3x3
block35_{1..5}_b_linear                     Repeat/block35_{1..5}/Conv2d_1x1
mixed_6a_branch_0_a_3x3                     Mixed_6a/Branch_0/Conv2d_1a_3x3
mixed_6a_branch_1_a_1x1                     Mixed_6a/Branch_1/Conv2d_0a_1x1
mixed_6a_branch_1_b_3x3                     Mixed_6a/Branch_1/Conv2d_0b_3x3
mixed_6a_branch_1_c_3x3                     Mixed_6a/Branch_1/Conv2d_1a_3x3
block17_{1..10}_a_branch_0_a_1x1            Repeat_1/block17_{1..10}/Branch_0/Conv2d_1x1
block17_{1..10}_a_branch_1_a_1x1            Repeat_1/block17_{1..10}/Branch_1/Conv2d_0a_1x1
block17_{1..10}_a_branch_1_b_1x7            Repeat_1/block17_{1..10}/Branch_1/Conv2d_0b_1x7
block17_{1..10}_a_branch_1_c_7x1            Repeat_1/block17_{1..10}/Branch_1/Conv2d_0c_7x1
block17_{1..10}_b_linear                    Repeat_1/block17_{1..10}/Conv2d_1x1
mixed_7a_branch_0_a_1x1                     Mixed_7a/Branch_0/Conv2d_0a_1x1
mixed_7a_branch_0_b_3x3                     Mixed_7a/Branch_0/Conv2d_1a_3x3
mixed_7a_branch_1_a_1x1                     Mixed_7a/Branch_1/Conv2d_0a_1x1
mixed_7a_branch_1_b_3x3                     Mixed_7a/Branch_1/Conv2d_1a_3x3
mixed_7a_branch_2_a_1x1                     Mixed_7a/Branch_2/Conv2d_0a_1x1
mixed_7a_branch_2_b_3x3                     Mixed_7a/Branch_2/Conv2d_0b_3x3
mixed_7a_branch_2_c_3x3                     Mixed_7a/Branch_2/Conv2d_1a_3x3
block8_{1..5}_a_branch_0_a_1x1              Repeat_2/block8_{1..5}/Branch_0/Conv2d_1x1
block8_{1..5}_a_branch_1_a_1x1              Repeat_2/block8_{1..5}/Branch_1/Conv2d_0a_1x1
block8_{1..5}_a_branch_1_b_1x3              Repeat_2/block8_{1..5}/Branch_1/Conv2d_0b_1x3
block8_{1..5}_a_branch_1_c_3x1              Repeat_2/block8_{1..5}/Branch_1/Conv2d_0c_3x1
block8_{1..5}_b_linear                      Repeat_2/block8_{1..5}/Conv2d_1x1
block8_6_a_branch_0_a_1x1                   Block8/Branch_0/Conv2d_1x1
block8_6_a_branch_1_a_1x1                   Block8/Branch_1/Conv2d_0a_1x1
block8_6_a_branch_1_b_1x3                   Block8/Branch_1/Conv2d_0b_1x3
block8_6_a_branch_1_c_3x1                   Block8/Branch_1/Conv2d_0c_3x1
block8_6_b_linear                           Block8/Conv2d_1x1
bottleneck                                  Bottleneck
logits                                      /Logits
"""
)

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

# By whom "this package" stands in a proof, there is no other implementation to ask: the layers of
# these tables are compared with the released graphs', kernel by kernel, by the tests.
# fmt: off
NETWORKS = {
    "inception_v1": Table(
        INCEPTION_V1, "slim", "InceptionV1",
        Proof("tf-slim 1.1.0", 1001, 8.280322,
              (2.452111, 7.608459, 6.832752, -5.500482, -0.7382215, 6.840129)),
    ),
    "inception_v2": Table(
        INCEPTION_V2, "slim", "InceptionV2",
        Proof("tf-slim 1.1.0", 1001, 4.04353,
              (-7.3555, -2.092601, -0.6119316, 2.829391, 5.718885, 1.52189)),
    ),
    "inception_v3": Table(
        INCEPTION_V3, "slim", "InceptionV3",
        Proof("tf-slim 1.1.0", 1001, 3.973872,
              (0.2985315, 2.45584, -3.805069, 5.926398, 6.435004, 0.5574518),
              {"aux": (-0.9569143, 4.667287, -1.304391, -6.915899, -3.856291, -2.454314)}),
    ),
    "inception_v4": Table(
        INCEPTION_V4, "released", "InceptionV4",
        Proof("this package", 1001, 5.567485,
              (2.990017, -10.58983, 0.8872979, -5.016665, 3.8514, 2.409971),
              {"aux": (-2.975294, 3.764612, 2.618417, -0.846817, 7.259055, -8.740731)}),
    ),
    "inception_resnet_v1": Table(
        INCEPTION_RESNET_V1, "released", "InceptionResnetV1",
        Proof("facenet-pytorch 2.6.0", 1001, 5.407807,
              (-5.001014, 6.947448, 1.818525, -9.528165, 0.5098423, -4.446471),
              embedding=512),
    ),
    "inception_resnet_v2": Table(
        INCEPTION_RESNET_V2, "released", "InceptionResnetV2",
        Proof("this package", 1001, 7.922248,
              (-3.224922, 1.846107, 0.7786267, 7.601256, 8.487473, 12.79486),
              {"aux": (3.21587, 2.215389, 1.713345, 2.251488, -3.59786, 1.066933)}),
    ),
}
# fmt: on

# TF-Slim's end points: the stem's, in the order of ours, and of modules that have other names here.
_V3_STEM_POINTS = (
    "Conv2d_1a_3x3 Conv2d_2a_3x3 Conv2d_2b_3x3 MaxPool_3a_3x3 Conv2d_3b_1x1 Conv2d_4a_3x3"
)
_V1_STEM_POINTS = "Conv2d_1a_7x7 MaxPool_2a_3x3 Conv2d_2b_1x1 Conv2d_2c_3x3 MaxPool_3a_3x3"
STEMS = {
    "inception_v1": _V1_STEM_POINTS,
    "inception_v2": _V1_STEM_POINTS,
    "inception_v3": f"{_V3_STEM_POINTS} MaxPool_5a_3x3",
    "inception_v4": "Conv2d_1a_3x3 Conv2d_2a_3x3 Conv2d_2b_3x3 Mixed_3a Mixed_4a Mixed_5a",
    "inception_resnet_v1": f"{_V3_STEM_POINTS} Conv2d_4b_3x3",
    "inception_resnet_v2": f"{_V3_STEM_POINTS} MaxPool_5a_3x3",
}
MODULES = {
    "inception_v1": """
inception_{3a,3b}                   Mixed_{3b,3c}
inception_3_max_pool                MaxPool_4a_3x3
inception_{4a,4b,4c,4d,4e}          Mixed_{4b,4c,4d,4e,4f}
inception_4_max_pool                MaxPool_5a_2x2
inception_{5a,5b}                   Mixed_{5b,5c}
""",
    "inception_v2": """
inception_{3a,3b,3c}                Mixed_{3b,3c,4a}
inception_{4a,4b,4c,4d,4e}          Mixed_{4b,4c,4d,4e,5a}
inception_{5a,5b}                   Mixed_{5b,5c}
""",
    "inception_resnet_v2": """
block17_20                          PreAuxLogits
conv_7b_1x1                         Conv2d_7b_1x1
""",
}
