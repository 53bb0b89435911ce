"""``keras-inception export``."""

from __future__ import annotations

import argparse
import dataclasses
import os
import typing
from pathlib import Path
from typing import Any

from inception_export.options import ExportOptions
from inception_serving.server.startup import load_tensorflow_quietly
from keras_inception.commands.arguments import add_command, positive
from keras_inception.commands.console import print_table
from keras_inception.commands.evaluate import describe_protocol


def add(commands: Any) -> None:
    """Declare it."""
    export = add_command(
        commands,
        "export",
        run,
        "write a network as a SavedModel that TF Serving loads",
        "Makes BASE/NAME/VERSION, checked against the Keras model before it appears.",
    )
    export.add_argument(
        "using",
        metavar="RUN|MODEL.keras|imagenet:NETWORK|WEIGHTS",
        nargs="?",
        help="a run's folder, a Keras model's file, published weights (imagenet:InceptionV4 or"
        " imagenet:SOURCE/NAME, as `models` lists them), or with --model a file of weights",
    )
    export.add_argument("base", metavar="BASE", nargs="?", help="the folder of all models")
    export.add_argument("--name", help="the model's name in requests")
    _add_options(export)
    export.add_argument(
        "--configs",
        metavar="FOLDER",
        help="also write TF Serving's configuration files for the model there",
    )
    export.add_argument(
        "--configs-base",
        default="/models",
        metavar="DIR",
        help="BASE as the server of these files sees it (%(default)s, as in serving/docker)",
    )
    export.add_argument("--show", metavar="DIR", help="print what an export says of itself")
    of_weights = export.add_argument_group("for a file of weights")
    of_weights.add_argument("--model", metavar="NETWORK", help="the network, as `models` lists it")
    of_weights.add_argument(
        "--preprocessing",
        choices=["default", "slim", "torchvision", "tf-hub"],
        help="how the images were made that they were trained on, where they don't tell: default"
        " is Keras's, [-1, 1]",
    )
    of_weights.add_argument(
        "--ema", action="store_true", help="take the moving averages of the weights"
    )
    _add_options_of_keras(export)


def _add_options_of_keras(export: argparse.ArgumentParser) -> None:
    of_keras = export.add_argument_group("for a MODEL.keras, which tells none of these")
    of_keras.add_argument(
        "--labels", metavar="FILE", help="the class names, one a line, in the order of the outputs"
    )
    of_keras.add_argument(
        "--crop",
        type=float,
        help="the fraction of the shorter side that the centre crop keeps (0.875)",
    )
    of_keras.add_argument(
        "--resize",
        choices=["shorter_side", "stretch"],
        help="keep an image's shape and cut (shorter_side), or stretch it to the model's input."
        " What Keras's image_dataset_from_directory trains on: --resize stretch --crop 1"
        " --no-antialias",
    )
    of_keras.add_argument(
        "--antialias",
        action=argparse.BooleanOptionalAction,
        help="smooth what is made smaller (it is, unless --no-antialias says otherwise)",
    )
    of_keras.add_argument(
        "--input-range",
        nargs=2,
        type=float,
        metavar=("LOW", "HIGH"),
        help="what black and white are to the model: -1 1 for keras.applications's Inceptions;"
        " 0 255 is pixels as they are, which a model gets that begins with a Rescaling or"
        " Normalization of its own. Of any other it has to be said",
    )
    for name, about, example in (
        ("--mean", "or: what is subtracted of each channel", "0.485 0.456 0.406"),
        ("--std", "and what it is divided by then", "0.229 0.224 0.225"),
    ):
        of_keras.add_argument(
            name,
            nargs=3,
            type=float,
            metavar=("R", "G", "B"),
            help=f"{about}, in units of pixels / 255, as torchvision says them: {example}",
        )
    of_keras.add_argument(
        "--alpha",
        choices=["drop", "white", "black"],
        help="the ground beneath transparent PNG and WebP; drop: the colours that are kept beneath"
        " (drop)",
    )
    of_keras.add_argument(
        "--exif-orientation",
        choices=["ignore", "apply"],
        help="EXIF orientation of JPEGs: ignore, or apply, which turns them upright (ignore)",
    )


_IMAGES = ("samples", "calibration")  # options that are image files and folders of them


def _add_options(command: argparse.ArgumentParser) -> None:
    """A flag for every field of ``ExportOptions``."""
    hints = typing.get_type_hints(ExportOptions)
    for option in dataclasses.fields(ExportOptions):
        if option.name == "sample_classes":
            continue  # the folders' names tell
        flag, about = "--" + option.name.replace("_", "-"), option.metadata["doc"]
        if option.name in _IMAGES:
            command.add_argument(flag, nargs="+", default=[], metavar="IMAGE_OR_FOLDER", help=about)
            continue
        if hints[option.name] is bool:
            command.add_argument(flag, action="store_true", help=about)
            continue
        default = "" if option.default is None else " (%(default)s)"
        if typing.get_origin(hints[option.name]) is typing.Literal:
            kind: dict[str, Any] = {"choices": typing.get_args(hints[option.name])}
        elif hints[option.name] is float:
            kind = {"type": float, "metavar": "X"}
        else:
            kind = {"type": positive, "metavar": "N"}
        command.add_argument(flag, default=option.default, help=about + default, **kind)


def run(options: argparse.Namespace) -> int:
    """Export, which says what it does; or show an export."""
    if options.show:
        _show(Path(options.show))
        return 0
    missing = [
        name
        for name, value in (
            ("RUN, MODEL.keras or imagenet:NETWORK", options.using),
            ("BASE", options.base),
            ("--name", options.name),
        )
        if not value
    ]
    if missing:
        raise ValueError(f"An export needs {', '.join(missing)}; see --help.")
    _check_options(options)
    load_tensorflow_quietly()
    from inception_export.publish import check_place, export_run, export_saved_model

    check_place(options.base, options.name, options.version)
    if options.configs:
        _check_configs(Path(options.configs))
    if _of_published(options):
        target = _export_published(options, _chosen(options))
    elif _of_file(options):
        model, of_model = _read_model(options)  # before the samples, which may be many
        target = export_saved_model(
            model, options.base, options.name, options=_chosen(options), **of_model
        )
    else:
        if options.labels:
            raise ValueError(
                f"--labels is of a MODEL.keras or of weights: {options.using} is a run, and has its"
                " class names."
            )
        _check_run(options.using)
        target = export_run(options.using, options.base, options.name, options=_chosen(options))
    if options.configs:
        from inception_export.serving_configs import write_serving_configs

        for path in write_serving_configs(
            options.configs, target, options.max_batch_size, options.configs_base
        ):
            print(f"Written {path}")
    return 0


def _check_run(using: str) -> None:
    """Say of what is no run what it is, where that can be seen.

    Raises:
        ValueError: it is not there, or is an export.
    """
    from inception_export.export import find_export

    if not Path(using).exists():
        raise ValueError(
            f"There is no file or folder {using}. What is exported is a run, a MODEL.keras,"
            " imagenet:NETWORK or, with --model, a file of weights."
        )
    if find_export(using) is not None:
        raise ValueError(
            f"{using} is a SavedModel already, and served as it is: keras-inception serve BASE,"
            " where it lies as BASE/NAME/VERSION"
        )


def _check_configs(folder: Path) -> None:
    """Refuse, before any work, a place where no files can be written."""
    above = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise ValueError(
            f"--configs {folder} can't be made: {above} is no folder to be written to."
        )


_GEOMETRY = ("crop", "resize", "antialias")


def _of_published(options: argparse.Namespace) -> bool:
    return bool(options.model) or options.using.partition(":")[0] == "imagenet"


def _of_file(options: argparse.Namespace) -> bool:
    return Path(options.using).is_file() or Path(f"{options.using}.index").is_file()


def _check_options(options: argparse.Namespace) -> None:
    """Refuse what breaks a rule, and what only a MODEL.keras takes where it is none."""
    chosen = ExportOptions(**_given(options) | {"samples": ()})
    if chosen.precision == "int8":
        from inception_export.int8.support import check_machine

        check_machine()
        if not chosen.calibration and (_of_published(options) or _of_file(options)):
            raise ValueError(
                "int8 takes the ranges of its tensors from images as the model will see, some"
                " hundred of them: --calibration FOLDER. (A run's training images are taken by"
                f" themselves.) Received: {options.using}"
            )
    given = [
        name
        for name in (*_GEOMETRY, "input_range", "mean", "std", "alpha", "exif_orientation")
        if getattr(options, name) is not None
    ]
    if given and (_of_published(options) or not _of_file(options)):
        flags = ", ".join("--" + name.replace("_", "-") for name in given)
        raise ValueError(
            f"{flags}: only of a MODEL.keras, since a run and published weights tell this"
            f" themselves (of a file of weights: --preprocessing). Received: {options.using}"
        )
    if options.configs and options.format != "saved_model":
        raise ValueError(
            "--configs are of TF Serving, which serves a SavedModel: leave out --format."
        )
    if (options.mean is None) != (options.std is None) or (options.mean and options.input_range):
        raise ValueError("Give --input-range, or both of --mean and --std.")


def _given(options: argparse.Namespace) -> dict[str, Any]:
    fields = dataclasses.fields(ExportOptions)
    return {each.name: getattr(options, each.name) for each in fields if each.name in options}


def _chosen(options: argparse.Namespace) -> ExportOptions:
    """The options of the export, the samples read."""
    from inception_export.samples import read_samples
    from inception_serving.predictions.image_files import list_images

    chosen = _given(options)
    for name in _IMAGES:
        places = getattr(options, name)
        if places:
            found = [(place, path) for place in places for path in list_images([place], print)]
            read = read_samples(found, print, "samples" if name == "samples" else f"{name} images")
            chosen |= read if name == "samples" else {name: read["samples"]}
    return ExportOptions(**chosen)


def _export_published(options: argparse.Namespace, chosen: ExportOptions) -> Path:
    from inception_export.published import export_published
    from keras_inception.data.class_names import read_class_names

    return export_published(
        options.using,
        options.base,
        options.name,
        network=options.model,
        labels=read_class_names(options.labels) if options.labels else None,
        preprocessing=options.preprocessing,
        ema=options.ema,
        options=chosen,
    )


def _read_model(options: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """A model out of its file, and what is exported with it: labels, preprocessing, record."""
    from keras_inception.data.class_names import read_class_names
    from keras_inception.runs.run import run_of

    if not options.using.endswith((".keras", ".h5")):
        raise ValueError(
            f"{options.using} is neither a run nor a MODEL.keras. If it holds weights, say of which"
            " network: --model NETWORK."
        )
    if not options.labels:
        raise ValueError(
            f"{options.using} does not name its classes: give --labels FILE, one name a line."
        )
    model = _load(options.using)
    # A model of several outputs is refused by the export, which says why.
    classes = model.output_shape[-1] if len(model.outputs) == 1 else None
    record: dict[str, Any] = {"source": str(Path(options.using).resolve())}
    run = run_of(options.using)
    if run is not None:
        record["metrics"] = run.record.get("validation", {})
        record["intervals"] = run.record.get("validation_intervals", {})
    labels = read_class_names(options.labels, None if classes == 1 else classes)
    if classes == 1 and len(labels) != 1:
        raise ValueError(
            f"{options.using} has one output, the score of one class: {options.labels} is to name"
            " that class alone, which of two is the second (of Keras's"
            f" image_dataset_from_directory by the alphabet). Received: {len(labels)} names"
        )
    return model, {
        "labels": labels,
        "preprocessing": _preprocessing(options, model, run),
        "record": record,
    }


def _load(path: str) -> Any:
    from keras_inception.models.keras_file import open_model

    model = open_model(path)
    inputs = getattr(model, "inputs", None) or []
    shapes = [tuple(each.shape[1:]) for each in inputs]
    if len(shapes) != 1 or len(shapes[0]) != 3 or shapes[0][2] != 3:
        raise ValueError(
            "A network that is exported takes one input, of images in colour: (height, width, 3)."
            f" Received: {path}, which takes {' and '.join(map(str, shapes)) or 'any'}"
        )
    height, width, _ = shapes[0]
    if height is None or height != width:
        fixed = (
            ". Give it one: model = keras.models.load_model(MODEL); image = keras.Input((299, 299,"
            " 3)); keras.Model(image, model(image)).save(FIXED)"
        )
        raise ValueError(
            "The network's input must have one fixed size, height equal to width. Received:"
            f" {shapes[0]}{fixed if None in (height, width) else ''}"
        )
    return model


def _preprocessing(options: argparse.Namespace, model: Any, run: Any) -> Any:
    """A model's input protocol: as given, else its run's, else what it tells of itself.

    Raises:
        ValueError: nothing says what range of pixels it was trained on.
    """
    from inception_export.pixel_range import (
        find_scaling,
        input_range,
        known_network,
        mean_and_std,
        raw,
    )
    from keras_inception.data.preprocessing import Preprocessing

    given = {
        name: getattr(options, name)
        for name in (*_GEOMETRY, "alpha", "exif_orientation")
        if getattr(options, name) is not None
    }
    size = model.input_shape[1]
    known = Preprocessing(size) if run is None else run.preprocessing
    preprocessing = dataclasses.replace(known, **given)
    if run is None:
        protocol = {"preprocessing": dataclasses.asdict(preprocessing), "crops": 1}
        print(f"{describe_protocol(protocol)}. It has to be that of the model's training")
    if options.input_range:
        return dataclasses.replace(preprocessing, **input_range(*options.input_range))
    if options.mean:
        return dataclasses.replace(preprocessing, **mean_and_std(options.mean, options.std))
    if run is not None:
        return preprocessing
    if find_scaling(model) is not None:
        print("Pixels go in as they are, 0 to 255: the model scales them itself")
        return raw(preprocessing)
    network = known_network(model)
    if network is None:
        raise ValueError(
            f"{options.using} scales no pixels itself, and does not tell the range that it was"
            " trained on; a wrong one gives wrong answers. Say it: --input-range LOW HIGH (-1 1 for"
            " keras.applications's Inceptions, 0 1, or 0 255), or --mean R G B --std R G B, in"
            " units of pixels / 255."
        )
    print(f"Pixels are scaled to -1 to 1, as {network} takes them; another: --input-range")
    return preprocessing


def _show(path: Path) -> None:
    from rich.table import Table

    from inception_export.export import MANIFEST, find_export

    export = find_export(path)
    if export is None or not export.manifest:
        raise ValueError(f"{path} is no export of ours: it has no {MANIFEST}.")
    table = Table(title=str(export.path), show_header=False)
    labels = export.labels or ()
    more = f" and {len(labels) - 8} more" if len(labels) > 8 else ""
    table.add_row("labels", ", ".join(labels[:8]) + more)
    for name, value in export.manifest.items():
        if isinstance(value, dict):
            for inner, each in value.items():
                table.add_row(f"{name}: {inner}", _text(each))
        else:
            table.add_row(name, _text(value))
    print_table(table)


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
