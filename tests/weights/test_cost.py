"""What loading a large network costs, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.weights.checkpoints import random_values, released, write_v1, write_v2

ROOT = Path(__file__).parents[2]
SCRIPT = """
import re, sys, time
import keras_inception, keras_inception.models.networks.inception_v4

def peak():  # of this process alone; getrusage begins with its parent's
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])

before, start = peak(), time.monotonic()
model = keras_inception.InceptionV4(weights=sys.argv[1], classes=1001, aux=True)
print(time.monotonic() - start, (peak() - before) / (4 * model.count_params()))
"""


@pytest.mark.slow
@pytest.mark.parametrize("write", [write_v1, write_v2])
def test_inception_v4_from_a_checkpoint(write, tmp_path: Path) -> None:
    """Built and loaded in under 10 seconds, in under three times the memory of its weights."""
    path = write(tmp_path / "slim", random_values(released("inception_v4")))
    answers = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT, path],
            cwd=ROOT, check=True, capture_output=True, text=True,
        ).stdout.split()
        for _ in range(2)
    ]  # fmt: skip
    seconds, times = (min(float(each[part]) for each in answers) for part in (0, 1))
    print(f"\n{seconds:.1f} s, {times:.2f} times the size of the weights")
    assert seconds < 10
    assert 1 < times < 3
