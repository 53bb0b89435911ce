"""The programs that measure training: that they start, go on, and read the test images once."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import fashion_mnist
from benchmarks import training as beside_others
from tests.training.test_train import one_convolution


def write_idx(path: Path, array: np.ndarray) -> None:
    """As yann.lecun.com/exdb/mnist has it: two zeros, unsigned bytes, the dimensions."""
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Ten classes, each a shade."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name, count in (("train", 80), ("t10k", 20)):
        labels = np.arange(count) % 10
        pixels = (25 * labels)[:, None, None] * np.ones((count, 28, 28))
        write_idx(folder / f"{name}-images-idx3-ubyte.gz", pixels)
        write_idx(folder / f"{name}-labels-idx1-ubyte.gz", labels)
    return folder


def test_fashion_mnist_goes_on_and_reads_the_test_images_once_a_seed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keras_inception.training.train.build", one_convolution)
    monkeypatch.setattr("keras_inception.training.train.write_report", lambda *_, **__: None)
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("recipe: fashion-mnist\nepochs: 1\nbatch_size: 8\nprecision: float32\n")
    arguments = [
        *("--data", str(data), "--recipe", str(recipe)),
        *("--runs", str(tmp_path / "runs"), "--output", str(tmp_path / "numbers.json")),
    ]
    calls: list[str] = []
    stocks = {name: getattr(fashion_mnist, name) for name in ("train", "evaluate")}
    for name, stock in stocks.items():

        def told(*given: Any, name: str = name, stock: Any = stock, **named: Any) -> Any:
            calls.append(f"{name} {Path(given[name == 'train']).name}")
            return stock(*given, **named)

        monkeypatch.setattr(fashion_mnist, name, told)
    fashion_mnist.main([*arguments, "--seeds", "0"])
    assert calls == ["train seed-0", "evaluate seed-0", "evaluate seed-0"]
    calls.clear()
    fashion_mnist.main(arguments)
    assert calls == ["train seed-1", "evaluate seed-1", "evaluate seed-1"]
    calls.clear()
    fashion_mnist.main(arguments)
    assert not calls, "everything is known"
    found = json.loads((tmp_path / "numbers.json").read_text())
    assert found["seeds"].keys() == {"0", "1"}
    assert found["seeds"]["0"]["test"]["images"] == 20
    accuracies = [each["test"]["accuracy"] for each in found["seeds"].values()]
    assert found["mean test accuracy"] == pytest.approx(np.mean(accuracies))


def test_training_beside_others_goes_on_where_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the numbers are medians of what was measured."""
    seconds = {"ours": 1.0, "ours, float32": 1.6, "keras.applications": 1.9}
    done: list[tuple[int, str]] = []
    fail_at = 7

    def measure(side: str, number: int, options: Any) -> dict[str, Any]:
        if len(done) == fail_at:
            raise KeyboardInterrupt
        done.append((number, side))
        step = seconds.get(side, 2.0) + (5.0 if number == 1 else 0.0)  # one slow round
        return {
            **{"side": side, "round": number, "load": 0.1, "first": 10 * step, "step": step},
            **{"processor": step, "computes_in": "float32", "versions": {"keras": "3"}},
        }

    monkeypatch.setattr(beside_others, "measure", measure)
    monkeypatch.setattr("keras_inception.runs.machine.native_bfloat16", lambda: True)
    output = tmp_path / "training.json"
    command = ["training.py", "--rounds", "3", "--output", str(output), "--timm-python", __file__]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(KeyboardInterrupt):
        beside_others.main()
    fail_at = -1
    beside_others.main()
    assert done == [(number, side) for number in range(3) for side in beside_others.SIDES]
    found = json.loads(output.read_text())
    assert found["images_per_second"]["ours"]["median"] == pytest.approx(32)
    targets = found["targets"]
    held = targets["steps, keras.applications's time by ours"]
    assert (held["measured"], held["met"]) == (pytest.approx(1.9), True)
    first = targets["time to the first step, ours by keras.applications's"]
    assert (first["measured"], first["met"]) == (pytest.approx(1 / 1.9), False)
    assert "NOT met" in capsys.readouterr().out
    assert not output.with_name("training.json.part").exists()
