"""Training that starts from weights: what is frozen stays, what is not learns."""

import dataclasses
import hashlib
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_inception
from keras_inception import InceptionV3
from keras_inception.data.preprocessing import Preprocessing
from keras_inception.models.catalogue import find
from keras_inception.runs.fields import RecipeError
from keras_inception.runs.named_recipes import RECIPES
from keras_inception.runs.recipe import Recipe
from keras_inception.runs.run import Run, Terminated
from keras_inception.training.network import (
    build,
    build_again,
    decided_by_weights,
    preprocessing_for,
)
from keras_inception.training.optimization.finetune import learning_rate_factors
from keras_inception.training.train import train
from tests.training.test_fit import terminate_at


def quiet(line: str) -> None:
    pass


def recipe(run: Run, **changes: object):
    """The recipe that the run was trained by, starting from its weights."""
    return run.recipe.with_changes({"weights": str(run.model_path), "epochs": 1} | changes)


def test_frozen_layers_and_statistics_stay_as_the_weights_have_them(
    run: Run, undrawn: None, photos: Path, tmp_path: Path
) -> None:
    """Three classes, so the classifier is new; the layers before 5a and all statistics are not."""
    folder = shutil.copytree(photos, tmp_path / "photos")
    shutil.copytree(folder / "dusk", folder / "night")
    changed_recipe = recipe(
        run, trainable_from="inception_5a", freeze_batch_norm=True, learning_rate=0.003
    )
    finished = train(folder, tmp_path / "run", changed_recipe, log=quiet)
    before, after = run.load_model(), finished.load_model()
    changed = set()
    for old in before.layers:
        new = after.get_layer(old.name) if old.name != "image" else None
        if new is None or old.name == "logits" or not old.weights:
            continue
        for one, other in zip(old.get_weights(), new.get_weights(), strict=True):
            if not np.array_equal(one, other):
                changed.add(old.name)
    assert changed, "something has learned"
    assert all(name.startswith(("inception_5a", "inception_5b")) for name in changed)
    assert not any(name.endswith("_bn") for name in changed)
    assert after.output_shape == (None, 3)


def test_a_run_with_a_checkpoint_needs_its_weights_no_more(
    run: Run, undrawn: None, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may be gone, or their path one of another working folder."""
    shutil.copytree(run.path, tmp_path / "first")
    monkeypatch.chdir(tmp_path)
    begun = recipe(run, weights="first", epochs=2, deterministic=True, precision="float32")
    whole = train(photos, tmp_path / "whole", begun, log=quiet)
    with monkeypatch.context() as patch:
        terminate_at(patch, 1)
        with pytest.raises(Terminated):
            train(photos, tmp_path / "part", begun, log=quiet)
    (tmp_path / "first").rename(tmp_path / "gone")
    part = train(photos, tmp_path / "part", resume=True, log=quiet)
    for one, other in zip(
        whole.load_model().get_weights(), part.load_model().get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert part.preprocessing == whole.preprocessing == run.preprocessing


def test_weights_decide_the_variant_and_whether_batch_norm_scales(tmp_path: Path) -> None:
    own = {"classes": 2, "input_shape": (75, 75, 3), "width": 0.125, "classifier_activation": None}
    model = InceptionV3(**own, scale=True, variant="slim")
    gamma = next(each for each in model.weights if each.path.endswith("gamma"))
    gamma.assign(gamma + 1)  # those that are all one are as good as none
    file = tmp_path / "v3.safetensors"
    keras_inception.save_weights(model, file)
    begun = Recipe(model="InceptionV3", weights=str(file), image_size=75, width=0.125)
    decided = decided_by_weights(begun)
    assert decided == {"variant": "slim", "scale": True}
    networks = build_again(begun, 2, 0.9, decided), build(begun, 2, 0.9)
    one, other = ([weight.path for weight in each.weights] for each in networks)
    assert one == other
    assert decided_by_weights(Recipe()) is None


def test_weights_of_as_many_classes_bring_their_classifier(run: Run) -> None:
    model = build(recipe(run), 2, 0.9)
    for one, other in zip(model.get_weights(), run.load_model().get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_unknown_end_point_is_refused_with_the_choices(run: Run) -> None:
    with pytest.raises(RecipeError, match=r"inception_3a, .*Received: trainable_from='mixed_9'"):
        build(recipe(run, trainable_from="mixed_9"), 2, 0.9)


def test_only_batch_norm_is_frozen_by_its_switch(run: Run) -> None:
    model = build(recipe(run, freeze_batch_norm=True), 2, 0.9)
    for layer in model.layers:
        assert layer.trainable != isinstance(layer, keras.layers.BatchNormalization)


def test_the_range_goes_with_published_weights() -> None:
    finetune = RECIPES["finetune"]
    assert preprocessing_for(finetune, 299) == Preprocessing(size=299)
    other = finetune.with_changes({"weights": "imagenet:timm/inception_v3.gluon_in1k", "crop": 0.9})
    preprocessing = preprocessing_for(other, 299)
    assert preprocessing.crop == 0.9
    assert preprocessing.mean == pytest.approx((123.675, 116.28, 103.53))


def test_a_file_brings_the_range_of_the_published_one_that_it_is_or_says_what_is_assumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "v3.safetensors"
    model = keras_inception.InceptionV3(width=0.125, scale=True)
    keras_inception.save_weights(model, file)
    begun = Recipe(model="InceptionV3", weights=str(file))
    lines: list[str] = []
    assert preprocessing_for(begun, 299, lines.append) == Preprocessing(size=299)
    assert len(lines) == 1 and "does not tell the range" in lines[0]
    assert "-1 to 1 is assumed" in lines[0]
    rows, name = find("InceptionV3").weights, "timm/inception_v3.gluon_in1k"
    digest = f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
    monkeypatch.setitem(rows, name, dataclasses.replace(rows[name], hash=digest))
    found = preprocessing_for(begun, 299, lines.append)
    assert found.mean == pytest.approx((123.675, 116.28, 103.53))
    assert found.std == pytest.approx((58.395, 57.12, 57.375))
    assert "is known: of pixels (123.675, 116.28, 103.53) is subtracted" in lines[1]


def test_the_protocol_goes_with_a_runs_weights(run: Run, tmp_path: Path) -> None:
    """All of it but the size, save what the recipe sets."""
    other = shutil.copytree(run.path, tmp_path / "other")
    protocol = Preprocessing(
        size=run.preprocessing.size,
        resize="stretch",
        crop=0.7,
        interpolation="bicubic",
        antialias=False,
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375),
        alpha="white",
        exif_orientation="apply",
    )
    Run(other).update_record(preprocessing=dataclasses.asdict(protocol))
    for weights in (other, other / "model.keras"):
        begun = Recipe(weights=str(weights))
        assert preprocessing_for(begun, 48) == dataclasses.replace(protocol, size=48)
        chosen = begun.with_changes({"crop": 0.9, "alpha": "drop"})
        assert preprocessing_for(chosen, 48) == dataclasses.replace(
            protocol, size=48, crop=0.9, alpha="drop"
        )


def test_weights_that_do_not_fit_may_be_skipped(run: Run) -> None:
    wider = recipe(run, aux=True)
    with pytest.raises(ValueError, match=r"Missing: aux.*`skip=`"):
        build(wider, 2, 0.9)
    skipping = wider.with_changes({"skip": "aux*,inception_5b_branch_0*"})
    model, old = build(skipping, 2, 0.9), run.load_model()

    def same(layer: str) -> bool:
        return np.array_equal(model.get_layer(layer).kernel, old.get_layer(layer).kernel)

    assert same("inception_5a_branch_0_a_1x1") and not same("inception_5b_branch_0_a_1x1")
    with pytest.raises(RecipeError, match="`skip` must be left out without weights"):
        Recipe(skip="aux*")


def test_layers_have_learning_rates_by_their_distance_from_the_classifier() -> None:
    """Every end point's layers alike, and each end point's half of the next one's."""
    model = InceptionV3(
        stem="small", width=0.125, classes=3, input_shape=(64, 64, 3), aux=False, weights=None
    )
    factors = dict(
        zip(
            (each.path for each in model.trainable_variables),
            learning_rate_factors(model, 0.5),
            strict=True,
        )
    )
    assert factors["logits/kernel"] == factors["logits/bias"] == 1
    of = {
        name: {factor for path, factor in factors.items() if path.startswith(name)}
        for name in ("mixed_5b", "mixed_6a", "mixed_7b", "mixed_7c")
    }
    assert all(len(found) == 1 for found in of.values())
    (last,), (before,), (reduction,), (first,) = (
        of[name] for name in ("mixed_7c", "mixed_7b", "mixed_6a", "mixed_5b")
    )
    # Between the classifier and mixed_7c lies the pool, an end point without variables.
    assert (last, before) == (0.25, 0.125)
    assert reduction == last / 2**7  # 6b to 6e, 7a, 7b, 7c
    assert first == reduction / 2**3
    assert min(factors.values()) == next(iter(factors.values())) < first
