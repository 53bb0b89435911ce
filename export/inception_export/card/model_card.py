"""The model card, ``assets.extra/model_card.md``: an export's manifest told to people.

Its headings follow Mitchell et al., *Model Cards for Model Reporting*
([arXiv:1810.03993](https://arxiv.org/abs/1810.03993)). Nothing in it is guessed: what the manifest
does not say is said to be unknown, so that its owner can add it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inception_export.card.asking import how_to_ask, signatures
from inception_export.card.markdown import cell, number, table
from inception_export.export import Export
from keras_inception.evaluation.intervals import DEFINITION, wilson
from keras_inception.runs.recipe import Recipe

CARD = Path("assets.extra", "model_card.md")

# More classes than these are counted, not listed.
_LISTED = 100
_FEW = 30  # images of a class, below which the card names it

_MEASURES = {
    "accuracy": "accuracy: images whose best class is the true one",
    "top5_accuracy": "top 5: images whose true class is among the five best",
    "balanced_accuracy": "balanced accuracy: the mean recall of the classes",
    "macro_f1": "macro F1: the mean F1 of the classes",
    "mean_roc_auc": "ROC AUC: the mean of the classes, each against the rest",
    "mean_average_precision": "mean average precision of the classes",
    "exact_match": "images of which every class is right",
    "loss": "loss",
    "ece": "expected calibration error, 15 bins",
}
# Shares of images, of which Wilson's interval follows from the number of images alone.
_SHARES = ("accuracy", "top5_accuracy", "exact_match")


def write_model_card(folder: Path, name: str, version: int) -> Path:
    """Write the model card of an export whose other files are all there.

    Args:
        folder: of these files.
        name: the model's name in requests.
        version: the number that the folder gets.
    """
    path = folder / CARD
    path.write_text(model_card(Export(folder), name, version), "utf-8")
    return path


def model_card(export: Export, name: str, version: int) -> str:
    """The model card of an export, as Markdown.

    Raises:
        ExportError: the manifest is damaged.
    """
    manifest, labels = export.manifest, export.labels or ()
    sections = {
        "": _details(manifest, name, version),
        "Training data": _data(manifest, labels),
        "Training": _training(manifest),
        "Accuracy": _accuracy(manifest),
        "This export beside its Keras model": _parity(manifest),
        "Input": _preprocessing(manifest),
        "Signatures": signatures(export.path),
        "How to ask it": how_to_ask(manifest, name),
        "Limits": _limits(manifest, labels),
        "Software": _software(manifest),
    }
    return "\n".join(
        f"\n## {title}\n\n{text}\n" if title else text + "\n" for title, text in sections.items()
    )


def _details(manifest: dict[str, Any], name: str, version: int) -> str:
    one = manifest["activation"] == "softmax"
    mirror = ", the mean of the image's and its mirror image's" if manifest.get("mirror") else ""
    facts = [
        ("network", _network(manifest)),
        ("parameters", f"{manifest['parameters']:,}"),
        ("classes", f"{manifest['classes']:,}"),
        (
            "answers",
            ("scores that add up to 1, of one class an image" if one else
             f"a score for each class by itself ({manifest['activation']})") + mirror,
        ),
        ("precision", manifest["precision"]),
        ("weights", _weights(manifest)),
        ("fingerprint", _code(manifest["fingerprint"]["graph_def_program_hash"])),
    ]  # fmt: skip
    return "\n".join(
        [
            f"# {cell(name)}, version {version}",
            "",
            "An image classifier as a SavedModel. `keras-inception export` wrote this card from"
            " what the export and its run recorded, which stands in `keras_inception.json` beside"
            " it. Its owner may go on writing: no program reads this file.",
            "",
            table(("", ""), facts),
        ]
    )


def _network(manifest: dict[str, Any]) -> str:
    title = manifest.get("recipe", {}).get("model") or manifest.get("weights", {}).get("network")
    return f"{title} ({_code(manifest['model'])})" if title else _code(manifest["model"])


def _weights(manifest: dict[str, Any]) -> str:
    weights = manifest.get("weights", {})
    if not weights:
        return f"those of {_code(manifest['source'])}" if "source" in manifest else "unknown"
    told = weights.get("name") or Path(weights["file"]).name
    return f"{_code(told)}, SHA-256 {_code(weights['sha256'])}"


def _data(manifest: dict[str, Any], labels: Sequence[str]) -> str:
    data = manifest.get("data")
    if not data:
        return (
            "Unknown: the network was exported from weights, not from a run, which would tell what"
            f" it was trained on. The classes: {_classes(labels)}."
        )
    source = data.get("training")
    facts = [
        ("source", _code(source) if source else "arrays in memory"),
        ("training images", f"{data['training_images']:,}"),
        ("validation images", f"{data['validation_images']:,}{_split(manifest)}"),
        ("left out, since they can't be read", f"{data.get('left_out', 0):,}"),
        ("hash of the training images' names and classes", _code(data.get("fingerprint"))),
    ]
    counts = data.get("training_counts", ())
    listed = (
        table(("class", "training images"), zip(map(cell, labels), counts, strict=True))
        if len(counts) == len(labels) <= _LISTED
        else f"The classes: {_classes(labels)}."
    )
    unknown = (
        "Unknown: who made the images, when and where, by whom and how they were labelled, under"
        " which licence and with whose consent."
    )
    return "\n\n".join([table(("", ""), facts), listed, unknown])


def _split(manifest: dict[str, Any]) -> str:
    data = manifest["data"]
    if not data["validation_images"]:
        return ""
    if data.get("validation_source") == data.get("training"):
        return ", set apart from the same source"
    return f", from {_code(data.get('validation_source') or 'arrays in memory')}"


def _classes(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - _LISTED:,} more (`assets/labels.txt`)"
    return ", ".join(map(cell, labels[:_LISTED])) + (more if len(labels) > _LISTED else "")


def _training(manifest: dict[str, Any]) -> str:
    recipe = manifest.get("recipe")
    if not recipe:
        return "Unknown, as the data are."
    fields = {each.name: each for each in dataclasses.fields(Recipe)}
    rows = [
        (_code(name), _code(value), fields[name].metadata["doc"])
        for name, value in recipe.items()
        if name in fields and value != fields[name].default
    ]
    return (
        "The settings of the recipe that are not the default; all of them are in"
        f" `keras_inception.json`.\n\n{table(('setting', 'value', 'what it is'), rows)}"
    )


def _accuracy(manifest: dict[str, Any]) -> str:
    parts = []
    metrics = manifest.get("metrics") or {}
    images = manifest.get("data", {}).get("validation_images", 0)
    if metrics:
        parts += [_protocol(manifest, images), _measures(manifest, images)]
    samples = manifest.get("samples")
    if samples and "accuracy" in samples:
        low, high = wilson(samples["accuracy"] * samples["images"], samples["images"])
        which = "samples of known classes that were given to `export`"
        if samples.get("of_run"):
            which = f"of the run's {samples['of_run']}"
        parts.append(
            f"Of this export as it was written, on {samples['images']:,} {which}: accuracy"
            f" {number(samples['accuracy'])}"
            f" (95 % interval {number(low)} to {number(high)}).{_beside_keras(samples)}"
        )
    if not parts:
        return "Unknown: nothing was measured. `keras-inception evaluate` measures it."
    return "\n\n".join(parts)


def _beside_keras(samples: dict[str, Any]) -> str:
    """Of an export in int8, what it loses."""
    if "keras_accuracy" not in samples:
        return ""
    return (
        f" The Keras model's on the same: {number(samples['keras_accuracy'])};"
        f" {samples['changed_class']} of them got another best class."
    )


def _protocol(manifest: dict[str, Any], images: int) -> str:
    on = f"the run's {images:,} validation images" if images else "the run's validation images"
    thresholds = " and the thresholds fitted" if manifest.get("thresholds") else ""
    return (
        f"Of the Keras model at the end of its training, on {on}, one crop, the pixels as below."
        f" The epoch was chosen{thresholds} by the same images, so that other images may be"
        " answered a little worse; measure a test set of your own by `keras-inception evaluate`."
    )


def _measures(manifest: dict[str, Any], images: int) -> str:
    intervals = manifest.get("intervals") or {}

    def interval(name: str, value: float) -> str:
        if name in _SHARES and images:
            ends = wilson(value * images, images)
        elif name in intervals:
            ends = intervals[name]
        else:
            return "not recorded"
        return " to ".join(map(number, ends))

    rows = [
        (_MEASURES.get(name, name), number(value), interval(name, value))
        for name, value in manifest["metrics"].items()
    ]
    told = table(("measure", "value", "95 % interval"), rows)
    return f"{told}\n\nIntervals are {DEFINITION}."


def _parity(manifest: dict[str, Any]) -> str:
    parity = manifest["parity"]
    rows = [
        ("probabilities", f"{parity['probabilities']:.2e}", f"{parity['tolerance']:g} at most"),
        ("logits, in units of their standard deviation", f"{parity['logits']:.2e}", ""),
        ("features, likewise", f"{parity['features']:.2e}", ""),
        ("images with the same best class", f"{parity['top1']:.1%}", ""),
    ]
    about = manifest.get("int8")
    how = (
        ""
        if about is None
        else (
            f" {about['multiply_adds']:.1%} of the multiply-adds are in int8, ranges by"
            f" {about['method']} on {about['calibration_images']} images."
        )
    )
    return (
        f"The largest differences on {parity['images']} images, of both of TensorFlow's loaders,"
        f" in {manifest['precision']}.{how}\n\n{table(('of', 'difference', 'allowed'), rows)}"
    )


def _preprocessing(manifest: dict[str, Any]) -> str:
    how = manifest["preprocessing"]
    edge = f"{how['size'] / how['crop']:.4g}"
    resized = (
        f"the shorter side to {edge} pixels, the shape kept"
        if how["resize"] == "shorter_side"
        else f"to {edge} x {edge} pixels, whatever the shape"
    )
    antialias = "antialiased" if how["antialias"] else "not antialiased"
    rows = [
        ("decoded", "JPEG, PNG, GIF (its first frame), BMP or WebP, of any size, to RGB"),
        ("transparency", how.get("alpha", "drop")),
        ("EXIF orientation", how.get("exif_orientation", "ignore")),
        ("resized", f"{resized}; {how['interpolation']}, {antialias}"),
        ("cropped", f"the centre, {how['size']} x {how['size']}"),
        ("scaled", f"(pixel - {_triple(how['mean'])}) / {_triple(how['std'])}, pixels 0 to 255"),
    ]
    return f"All of this is in the graph: send the file as it is.\n\n{table(('', ''), rows)}"


def _triple(values: Sequence[float]) -> str:
    """One number where the channels have the same."""
    return f"{values[0]:g}" if len(set(values)) == 1 else f"[{', '.join(f'{v:g}' for v in values)}]"


def _limits(manifest: dict[str, Any], labels: Sequence[str]) -> str:
    limits = [
        "It knows its classes and no others: an image of something else gets scores as well, and"
        " they may be high."
        if manifest["activation"] == "softmax"
        else "An image of something that is none of its classes may get high scores as well."
    ]
    counts = manifest.get("data", {}).get("training_counts", ())
    few = [
        f"{cell(label)} ({count})"
        for label, count in zip(labels, counts, strict=False)
        if count < _FEW
    ]
    if few:
        more = f" and {len(few) - 10} more" if len(few) > 10 else ""
        limits.append(f"Fewer than {_FEW} training images: {', '.join(few[:10])}{more}.")
    if manifest["precision"] != "float32":
        limits.append(
            f"Its arithmetic is {manifest['precision']}: scores differ from the Keras model's as"
            " said above."
        )
    if manifest["precision"] == "int8":
        limits.append("It runs on x86 processors with VNNI alone, and fails elsewhere.")
    if manifest.get("temperature") is not None:
        limits.append(
            f"Its scores are calibrated: the logits are divided by {manifest['temperature']:.3g},"
            " fitted on the run's validation images, on which the calibration error is therefore"
            " smaller than on others."
        )
    if manifest.get("thresholds"):
        limits.append("Predict a class from its own threshold (`thresholds` in the manifest).")
    limits.append(
        "Not measured: how it does on groups of images (of people, places, cameras), on damaged or"
        " hostile ones, or over time."
    )
    return "\n".join(f"- {limit}" for limit in limits)


def _software(manifest: dict[str, Any]) -> str:
    rows = [(cell(name), cell(version)) for name, version in manifest["versions"].items()]
    return table(("exported with", "version"), rows)


def _code(value: object) -> str:
    return "unknown" if value is None else f"`{cell(str(value)).replace('`', chr(0x2019))}`"
