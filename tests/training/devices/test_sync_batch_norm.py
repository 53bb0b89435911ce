"""Batch norm over the batch of all devices, or by each device's own part."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from keras_inception.training.devices.distribution import DeviceError, Devices
from keras_inception.training.train import build_job, prepare_for
from tests.training.test_fit import RECIPE, data
from tests.training.test_train import one_convolution, quiet

ROOT = Path(__file__).parents[3]

SCRIPT = """
import sys
import keras
import numpy as np
import tensorflow as tf
from keras_inception.training.devices.distribution import synchronize_batch_norm
from keras_inception.training.optimization.fast_path import take_fast_path

synchronized, fast = sys.argv[1] == "True", sys.argv[2] == "True"
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    layers = [keras.layers.BatchNormalization(momentum=0.0), keras.layers.Flatten()]
    model = keras.Sequential([keras.Input((2, 2, 1)), *layers, keras.layers.Dense(1)])
    if synchronized:
        synchronize_batch_norm(model)
    model.compile("sgd", "mse")
    if fast:
        take_fast_path(model)
images = np.repeat(np.float32([1, 5]), 4)[:, None, None, None] * np.ones((8, 2, 2, 1), "f4")
model.fit(images, np.zeros((8, 1), "f4"), batch_size=8, shuffle=False, verbose=0)
layer = model.layers[0]
print(float(layer.moving_mean[0]), float(layer.moving_variance[0]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(("synchronized", "statistics"), [(True, (3, 4)), (False, (1, 0))])
def test_what_batch_norm_sees(
    synchronized: bool, fast: bool, statistics: tuple[float, float]
) -> None:
    """A batch of ones and fives: mean 3 and variance 4; the first device's ones alone, 1 and 0."""
    paths = os.pathsep.join(str(ROOT / each) for each in ("", "export", "serving"))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(synchronized), str(fast)],
        env=os.environ | {"PYTHONPATH": paths, "TF_CPP_MIN_LOG_LEVEL": "2"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = [float(each) for each in done.stdout.split()]
    assert found == pytest.approx(statistics, abs=1e-4)


@pytest.mark.parametrize("sync", [True, False])
def test_the_recipe_decides(sync: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keras_inception.training.train.build", one_convolution)
    recipe = RECIPE.with_changes({"sync_batch_norm": sync})
    prepared = prepare_for(recipe, data(), None, check_images="none", log=quiet)
    job = build_job(recipe, prepared, quiet, Devices(2))
    (layer,) = (
        each for each in job.model.layers if isinstance(each, keras.layers.BatchNormalization)
    )
    assert layer.synchronized is sync


def test_jax_sees_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keras.config.backend", lambda: "jax")
    with pytest.raises(DeviceError, match="`sync_batch_norm` must be true on several devices"):
        Devices(2).check_batch_norm(False)
    Devices(2).check_batch_norm(True)
    Devices(1).check_batch_norm(False)
