"""Made the two exports beside it, run by the code of commit 246bb20.

In a checkout of that commit, with PYTHONPATH=.:export:serving:
python make.py FOLDER
"""

import sys

import keras
import numpy as np
import tensorflow as tf

from inception_export import export_saved_model
from keras_inception.data.preprocessing import Preprocessing

# A pixel's brightest channel is its class. The names are not in the order of the alphabet, and
# `serving_default` answers two of the three.
for name, activation in (("colours", "softmax"), ("marks", "sigmoid")):
    image = keras.Input((16, 16, 3))
    mean = keras.layers.GlobalAveragePooling2D()(image)
    model = keras.Model(image, keras.layers.Dense(3, activation, name="dense")(mean), name=name)
    model.get_layer("dense").set_weights([6 * np.eye(3), np.array([0.5, 0.0, -0.5])])
    sample = tf.io.encode_png(np.full((8, 8, 3), (250, 40, 90), np.uint8)).numpy()
    export_saved_model(
        model,
        sys.argv[1],
        name,
        labels=("red", "green", "blue"),
        preprocessing=Preprocessing(size=16, crop=1.0),
        top=2,
        samples=[sample],
    )
