"""Several devices, several hosts, other backends, mixed precision: the same training."""

import contextlib
import csv
import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import yaml

from inception_export.publish import export_run
from keras_inception.cli import _parser, main
from keras_inception.data.augmentation.settings import Augmentation
from keras_inception.data.pipeline import evaluation_batches, training_batches
from keras_inception.data.preparation.prepare import prepare
from keras_inception.data.preprocessing import Preprocessing
from keras_inception.data.sources.source import open_source
from keras_inception.inference.predict import predict
from keras_inception.runs.named_recipes import RECIPES
from keras_inception.runs.run import Run, create_run, open_run
from keras_inception.training.devices import hosts as hosts_module
from keras_inception.training.devices.distribution import (
    DeviceError,
    Devices,
    check_backend,
    find_devices,
)
from keras_inception.training.devices.hosts import (
    Heartbeats,
    HostError,
    given_hosts,
    telling_of_lost_hosts,
)
from keras_inception.training.metrics import metrics_for
from keras_inception.training.optimization.recalibrate import recalibrate
from keras_inception.training.train import train
from tests.training.test_train import TINY, one_convolution, quiet

ROOT = Path(__file__).parents[3]
HOW = Preprocessing(size=28)


def scaled(backend: str, photos: Path, folder: Path) -> None:
    """Run scaled.py."""
    subprocess.run(
        [sys.executable, "-m", "tests.training.scaled", photos, folder],
        cwd=ROOT,
        env=os.environ | {"KERAS_BACKEND": backend},
        check=True,
    )


@pytest.fixture(scope="module")
def on_jax(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("jax")
    scaled("jax", photos, folder)
    return folder


def assert_the_same_training(one: Path, other: Path) -> None:
    """The same losses in every epoch, and the same state at the end."""
    histories = [
        list(csv.DictReader((each / "history.csv").read_text().splitlines()))
        for each in (one, other)
    ]
    assert len(histories[0]) == 2
    for rows in zip(*histories, strict=True):
        for name in rows[0]:
            assert float(rows[0][name]) == pytest.approx(float(rows[1][name]), rel=1e-5), name
    with (
        np.load(one / "checkpoints/last.npz") as first,
        np.load(other / "checkpoints/last.npz") as second,
    ):
        assert first.files == second.files
        for name in (name for name in first.files if first[name].dtype.kind == "f"):
            np.testing.assert_allclose(first[name], second[name], rtol=1e-4, atol=1e-5)
    models = [open_run(each).load_model() for each in (one, other)]
    for weights in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(*weights, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_two_devices_of_a_host_train_as_one_on_jax(on_jax: Path) -> None:
    assert_the_same_training(on_jax / "one", on_jax / "devices")


@pytest.mark.slow
def test_two_hosts_of_which_one_was_killed_train_as_one_device(on_jax: Path) -> None:
    assert_the_same_training(on_jax / "one", on_jax / "hosts")
    assert "jax" in open_run(on_jax / "hosts").record["versions"]


@pytest.mark.slow
def test_a_run_of_jax_is_exported_and_predicts_on_tensorflow(
    on_jax: Path, photos: Path, tmp_path: Path
) -> None:
    exported = export_run(on_jax / "one", tmp_path, "photos", log=quiet)
    there = json.loads((on_jax / "predictions.json").read_text())
    for using in (on_jax / "one", exported):
        for one, other in zip(there, predict([photos], using), strict=True):
            assert one["labels"] == list(other.labels)
            np.testing.assert_allclose(one["scores"], other.scores, atol=1e-4)


@pytest.mark.slow
def test_two_devices_train_as_one_on_tensorflow(photos: Path, tmp_path: Path) -> None:
    scaled("tensorflow", photos, tmp_path)
    assert_the_same_training(tmp_path / "tensorflow1", tmp_path / "tensorflow2")
    layers = open_run(tmp_path / "tensorflow2").load_model().layers
    assert not any(getattr(layer, "synchronized", False) for layer in layers)


@pytest.mark.parametrize("mixed", [False, True])
def test_the_parts_of_a_batch_are_the_batch(photos: Path, mixed: bool) -> None:
    examples = open_source(photos)
    augmentation = Augmentation(flip=True, mixup_alpha=0.4 if mixed else 0)
    named = {"batch_size": 8, "epochs": 2, "first_epoch": 1, "first_step": 2, "seed": 3}
    whole, first, second = (
        list(training_batches(examples, HOW, augmentation, shard=shard, **named))
        for shard in (None, (0, 2), (1, 2))
    )
    assert len(whole) == len(first) == len(second) == 3
    assert all(len(each[0]) == 4 for each in first)
    for batch, *parts in zip(whole, first, second, strict=True):
        for tensor, *halves in zip(batch, *parts, strict=True):
            # Images are mixed with others of their part, and so not as in the whole.
            assert np.array_equal(tensor, np.concatenate(halves)) is not mixed


@pytest.mark.parametrize("parts", [1, 2])
def test_the_parts_of_a_validation_hold_every_example_once(photos: Path, parts: int) -> None:
    examples = open_source(photos).take(np.arange(3, 30))  # 27: the last batch lacks 5
    batches = evaluation_batches(examples, HOW, 8)
    whole = [np.concatenate(each) for each in zip(*batches, strict=True)]
    shared = [
        list(evaluation_batches(examples, HOW, 8, shard=(part, parts))) for part in range(parts)
    ]
    assert {len(images) for batches in shared for images, _, _ in batches} == {8 // parts}
    by_turns = [batch for batches in zip(*shared, strict=True) for batch in batches]
    images, targets, weights = (np.concatenate(each) for each in zip(*by_turns, strict=True))
    assert weights.tolist() == pytest.approx([32 / 27] * 27 + [0.0] * 5)
    np.testing.assert_array_equal(images[:27], whole[0])
    np.testing.assert_array_equal(targets[:27], whole[1])
    per_image = targets.mean(axis=1) + images.mean(axis=(1, 2, 3))
    assert np.mean(per_image * weights) == pytest.approx(np.mean(per_image[:27]))


@pytest.mark.parametrize("confusion", [False, True])
@pytest.mark.parametrize("multi_label", [False, True])
def test_images_of_weight_0_do_not_count(multi_label: bool, confusion: bool) -> None:
    random = np.random.default_rng(0)
    scores = random.dirichlet(np.ones(6), 8).astype(np.float32)
    targets = np.eye(6, dtype=np.float32)[random.integers(0, 6, 8)]
    weights = np.array([2.5, 1, 0.5, 1, 1, 1, 0, 0], np.float32)
    results = []
    for rows, given in ((slice(6), None), (slice(6), weights), (slice(8), weights)):
        metrics = metrics_for(6, multi_label, confusion)
        for metric in metrics:
            weight = None if given is None else given[rows]
            metric.update_state(targets[rows], scores[rows], weight)
        results.append([float(metric.result()) for metric in metrics])
    assert len(results[0]) == 2
    assert results[1] == pytest.approx(results[0])
    assert results[2] == pytest.approx(results[0])


def test_a_batch_must_be_shared_out_evenly() -> None:
    Devices(4).check_batch(32)
    with pytest.raises(DeviceError, match=r"multiple of 4, such as 28 or 32\. Received: 30 images"):
        Devices(4).check_batch(30)
    with pytest.raises(DeviceError, match=r"such as 4\. Received: 3"):
        Devices(4).check_batch(3)


def test_hosts_and_their_number_come_from_either_side() -> None:
    keras_names = {
        "KERAS_DISTRIBUTION_JOB_ADDRESSES": "c:1,d:1",
        "KERAS_DISTRIBUTION_PROCESS_ID": "1",
    }
    assert given_hosts(None, None, {}) == ([], None)
    assert given_hosts(None, None, keras_names) == (["c:1", "d:1"], 1)
    assert given_hosts("a:1, b:2", 0, keras_names) == (["a:1", "b:2"], 0)
    assert given_hosts("a:1,b:2", None, {"SLURM_PROCID": "1"}) == (["a:1", "b:2"], 1)
    assert given_hosts("a:1,b:2", None, {"JOB_COMPLETION_INDEX": "0"}) == (["a:1", "b:2"], 0)
    assert given_hosts(None, None, {"SLURM_PROCID": "1"}) == ([], None)


@pytest.mark.parametrize(
    ("hosts", "index", "message"),
    [
        ("a:1,b", 0, "HOST:PORT,HOST:PORT,... Received: 'b'"),
        ("a:1,b:99999", 0, "Received: 'b:99999'"),
        ("a:1,b:1", None, "among the 2, from 0 to 1. Received: host_index=None"),
        ("a:1,b:1", 2, "Received: host_index=2"),
        (None, 1, "`host_index` needs `hosts`"),
    ],
)
def test_wrong_hosts_are_refused(hosts: str | None, index: int | None, message: str) -> None:
    with pytest.raises(HostError) as refused:
        given_hosts(hosts, index, {})
    assert message in str(refused.value)


def test_the_document_shows_commands_that_are_right() -> None:
    text = (ROOT / "docs/scale.md").read_text("utf-8")
    service, job = yaml.safe_load_all(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[0])
    (container,) = job["spec"]["template"]["spec"]["containers"]
    options = _parser().parse_args(container["command"][1:])
    hosts, _ = given_hosts(options.hosts, None, {"JOB_COMPLETION_INDEX": "1"})
    name, subdomain = job["metadata"]["name"], job["spec"]["template"]["spec"]["subdomain"]
    assert hosts == [
        f"{name}-{index}.{subdomain}:1234" for index in range(job["spec"]["completions"])
    ]
    assert service["metadata"]["name"] == subdomain
    assert service["spec"]["selector"] == {"job-name": name}
    (script,) = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    (command,) = re.findall(r"srun --kill-on-bad-exit (.*)", script.replace("\\\n", ""))
    options = _parser().parse_args(shlex.split(command.replace("$hosts", "a:1234,b:1234"))[1:])
    assert given_hosts(options.hosts, None, {"SLURM_PROCID": "1"}) == (["a:1234", "b:1234"], 1)
    recipes = re.findall(r"--recipe[, ]+(\S+?),? ", text)
    assert len(recipes) == 4 and set(recipes) <= set(RECIPES)


def test_a_backend_that_can_not_is_refused() -> None:
    check_backend("tensorflow", ["a:1"])
    check_backend("jax", ["a:1", "b:1"])
    with pytest.raises(DeviceError, match=r"TensorFlow and JAX backends\. .*=torch"):
        check_backend("torch")
    with pytest.raises(DeviceError, match=r"set KERAS_BACKEND=jax .*: the tensorflow"):
        check_backend("tensorflow", ["a:1", "b:1"])


def test_jax_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DeviceError, match=r"pip install 'keras-inception\[jax\]'"):
        check_backend("jax")


@pytest.mark.parametrize("devices", ["some", 0, "-1", 1.5])
def test_devices_that_are_no_number_are_refused(devices: object) -> None:
    with pytest.raises(DeviceError, match="a number of at least 1, or all"):
        find_devices(devices)  # type: ignore[arg-type]


def test_more_devices_than_there_are_are_refused() -> None:
    assert find_devices(1) == find_devices("all") == find_devices() == Devices()
    with pytest.raises(DeviceError, match=r"at most 1, the CPU devices .*=2"):
        find_devices(2)


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["--hosts", "a:1,b:1", "--host-index", "1"], {}, "set KERAS_BACKEND=jax"),
        ([], {"KERAS_BACKEND": "torch"}, "TensorFlow and JAX backends"),
        (["--hosts", "a:1,b:1"], {"KERAS_BACKEND": "jax"}, "`host_index` must be"),
        (["--devices", "two"], {}, "a number of at least 1, or all. Received: 'two'"),
    ],
)
def test_the_command_refuses_in_a_line(
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    environment: dict[str, str],
    message: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    output = tmp_path / "run"
    assert main(["train", str(photos), "--output", str(output), *arguments]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("keras-inception train: ") and message in line
    assert not output.exists()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts_module, "_BEAT_SECONDS", 0.02)
    monkeypatch.setattr(hosts_module, "_SILENCE_SECONDS", 0.5)
    monkeypatch.setattr(hosts_module, "PATIENCE_SECONDS", 0.5)


def test_a_host_that_has_stopped_is_named_whatever_the_error(
    impatient: None, tmp_path: Path
) -> None:
    message = r"Host 2 has gone.*--resume. \(UNKNOWN: Gloo all-reduce failed\)"
    (tmp_path / "hosts").mkdir()
    (tmp_path / "hosts" / "2").write_text("77 12")  # as a killed one leaves it
    with Heartbeats(tmp_path / "hosts", 0, 3) as own, Heartbeats(tmp_path / "hosts", 1, 3):
        assert own.gone() == [2]
        for error in (ValueError, RuntimeError):
            with pytest.raises(HostError, match=message), telling_of_lost_hosts(own):
                raise error("UNKNOWN: Gloo all-reduce failed\nand more")


def test_an_error_of_ones_own_is_told_as_it_is(impatient: None, tmp_path: Path) -> None:
    """Where the others live, where there are none, and where it is one of ours."""
    folder = tmp_path / "hosts"
    for error, others in (
        (RuntimeError("RESOURCE_EXHAUSTED: out of memory"), [1]),
        (RuntimeError("Gloo is a name"), None),
        (DeviceError("a kind of ValueError"), []),
    ):
        hosts = 1 if others is None else 2
        with contextlib.ExitStack() as living, Heartbeats(folder, 0, hosts) as own:
            for other in others or []:
                living.enter_context(Heartbeats(folder, other, hosts))
            with pytest.raises(type(error), match=str(error)), telling_of_lost_hosts(own):
                raise error
    assert not list(tmp_path.iterdir()), "the last to leave clears away"


def test_the_others_wait_for_the_first_as_long_as_it_lives(impatient: None, tmp_path: Path) -> None:
    began = time.monotonic()
    with Heartbeats(tmp_path / "hosts", 1, 2) as own:
        with Heartbeats(tmp_path / "hosts", 0, 2):
            own.wait_for_first(lambda: time.monotonic() - began > 1.5)  # thrice the patience
        with pytest.raises(HostError, match=r"^Host 0 has given no sign of life .*--resume"):
            own.wait_for_first(lambda: False)
        assert time.monotonic() - began < 5


def test_a_training_ends_where_the_first_host_does_not_keep_the_result(
    fast: None, impatient: None, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the second of two hosts; what they do together is left out."""
    run = create_run(tmp_path / "run", TINY, prepare(photos, log=quiet), HOW)
    second = Devices(count=1, host=1, hosts=2)
    monkeypatch.setattr("keras_inception.training.train.find_devices", lambda **_: second)
    monkeypatch.setattr("keras_inception.training.train.fit", lambda *_: None)
    monkeypatch.setattr(Devices, "agree", lambda *_: None)
    with pytest.raises(HostError, match="Host 0 has given no sign of life"):
        train(photos, run.path, resume=True, log=quiet)
    assert not (run.path / "hosts").exists() and not run.finished


def test_a_host_that_is_gone_before_they_agree_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from jax.experimental import multihost_utils

    def fail(value: np.ndarray) -> None:
        raise ValueError("UNKNOWN: Gloo AllGather failed: Connection closed by peer\nmore")

    monkeypatch.setattr(multihost_utils, "process_allgather", fail)
    with pytest.raises(HostError, match=r"Another host has gone; .*--resume\. \(UNKNOWN: Gloo"):
        Devices(count=2, host=0, hosts=2).agree(b"images")


def test_float16_scales_its_loss_and_goes_on_where_it_was(
    fast: None, photos: Path, tmp_path: Path
) -> None:
    """Also with RMSProp as TensorFlow 1 had it, moving averages and shortened gradients."""
    recipe = TINY.with_changes(
        {
            "epochs": 2,
            "optimizer": "rmsprop",
            "learning_rate": 0.01,
            "ema": 0.9,
            "clip_norm": 2.0,
            "precision": "mixed_float16",
            "checkpoint_minutes": 1e-9,
        }
    )
    whole = train(photos, tmp_path / "whole", recipe, log=quiet)

    def stop(line: str) -> None:
        if line.startswith("Epoch 1/2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(photos, tmp_path / "stopped", recipe, log=stop)
    with np.load(tmp_path / "stopped/checkpoints/last.npz") as state:
        assert state["position"].tolist() == [0, 3]
        # Of the optimizer that scales: its steps since the last change, and the scale.
        scalars = [state[name] for name in state.files if state[name].shape == ()]
        assert 2.0**15 in [float(each) for each in scalars if each.dtype == np.float32]
    stopped = train(photos, tmp_path / "stopped", resume=True, log=quiet)
    assert_kept_in_float32(whole)
    models = [run.load_model() for run in (whole, stopped)]
    for weights in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(*weights, rtol=1e-5, atol=1e-6)


def test_bfloat16_is_kept_in_float32(fast: None, photos: Path, tmp_path: Path) -> None:
    recipe = TINY.with_changes({"epochs": 1, "precision": "mixed_bfloat16", "recalibrate": True})
    run = train(photos, tmp_path / "run", recipe, log=quiet)
    assert_kept_in_float32(run)


def assert_kept_in_float32(run: Run) -> None:
    """Weights and computation; and what was measured was measured so."""
    model = run.load_model()
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    assert {str(weight.dtype) for weight in model.weights} == {"float32"}
    validation = run.validation
    assert validation is not None
    batches = evaluation_batches(validation, run.preprocessing, 8)
    scores = model.predict(batches, verbose=0)
    chance = scores[np.arange(len(scores)), validation.targets]
    assert run.record["validation"]["loss"] == pytest.approx(-np.mean(np.log(chance)), rel=1e-4)


def test_statistics_are_measured_again_on_jax(tmp_path: Path) -> None:
    """As on TensorFlow, in a process of its own."""
    random = np.random.default_rng(0)
    batches = [random.normal(3, 2, (4, 28, 28, 3)).astype(np.float32) for _ in range(2)]
    keras.utils.set_random_seed(0)
    model = one_convolution(TINY, 2, 0.9)
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "batches.npz", *batches)
    script = (
        "import sys, keras, numpy as np\n"
        "from keras_inception.training.optimization.recalibrate import recalibrate\n"
        "model = keras.models.load_model(sys.argv[1] + '/model.keras')\n"
        "with np.load(sys.argv[1] + '/batches.npz') as file:\n"
        "    recalibrate(model, [file[name] for name in file.files])\n"
        "np.savez(sys.argv[1] + '/weights.npz', *model.get_weights())\n"
    )
    subprocess.run(
        [sys.executable, "-c", script, tmp_path],
        cwd=ROOT,
        env=os.environ | {"KERAS_BACKEND": "jax"},
        check=True,
    )
    recalibrate(model, batches)
    with np.load(tmp_path / "weights.npz") as file:
        for ours, there in zip(model.get_weights(), file.values(), strict=True):
            np.testing.assert_allclose(ours, there, rtol=1e-4, atol=1e-5)
