"""``keras-inception export``."""

from __future__ import annotations

import argparse
import dataclasses
import typing
from pathlib import Path
from typing import Any

from inception_export.options import ExportOptions
from inception_serving.startup import load_tensorflow_quietly
from keras_inception.commands.arguments import add_command, positive


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
    of_keras = export.add_argument_group("for a MODEL.keras, which tells none of these")
    of_keras.add_argument(
        "--labels", metavar="FILE", help="the class names, one a line, in the order of the outputs"
    )
    of_keras.add_argument(
        "--crop",
        type=float,
        default=0.875,
        help="the fraction of the shorter side that the centre crop keeps (%(default)s); pixels are"
        " scaled to [-1, 1]",
    )
    of_keras.add_argument(
        "--alpha",
        choices=["drop", "white", "black"],
        default="drop",
        help="the ground beneath transparent PNG and WebP; drop: the colours that are kept beneath"
        " (%(default)s)",
    )
    of_keras.add_argument(
        "--exif-orientation",
        choices=["ignore", "apply"],
        default="ignore",
        help="EXIF orientation of JPEGs: ignore, or apply, which turns them upright (%(default)s)",
    )


def _add_options(command: argparse.ArgumentParser) -> None:
    """A flag for every field of ``ExportOptions``."""
    hints = typing.get_type_hints(ExportOptions)
    for option in dataclasses.fields(ExportOptions):
        flag, about = "--" + option.name.replace("_", "-"), option.metadata["doc"]
        if option.name == "samples":
            command.add_argument(flag, nargs="+", default=[], metavar="IMAGE_OR_FOLDER", help=about)
            continue
        default = "" if option.default is None else " (%(default)s)"
        if typing.get_origin(hints[option.name]) is typing.Literal:
            kind: dict[str, Any] = {"choices": typing.get_args(hints[option.name])}
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
        if value is None
    ]
    if missing:
        raise ValueError(f"An export needs {', '.join(missing)}; see --help.")
    load_tensorflow_quietly()
    from inception_export.publish import export_run, export_saved_model
    from keras_inception.inference.predict import list_images

    chosen = {
        field.name: getattr(options, field.name) for field in dataclasses.fields(ExportOptions)
    }
    if options.samples:
        chosen["samples"] = [
            Path(path).read_bytes() for path in list_images(options.samples, print)
        ]
    if options.model or options.using.partition(":")[0] == "imagenet":
        target = _export_published(options, ExportOptions(**chosen))
    elif Path(options.using).is_file() or Path(f"{options.using}.index").is_file():
        model, labels, preprocessing = _read_model(options)
        target = export_saved_model(
            model,
            options.base,
            options.name,
            labels=labels,
            preprocessing=preprocessing,
            options=ExportOptions(**chosen),
            record={"source": str(Path(options.using).resolve())},
        )
    else:
        target = export_run(
            options.using, options.base, options.name, options=ExportOptions(**chosen)
        )
    if options.configs:
        from inception_export.serving_configs import write_serving_configs

        for path in write_serving_configs(options.configs, target, options.max_batch_size):
            print(f"Written {path}")
    return 0


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


def _read_model(options: argparse.Namespace) -> tuple[Any, tuple[str, ...], Any]:
    import keras

    from keras_inception.data.class_names import read_class_names
    from keras_inception.data.preprocessing import Preprocessing

    if not options.using.endswith((".keras", ".h5")):
        raise ValueError(
            f"{options.using} is neither a run nor a MODEL.keras. If it holds weights, say of which"
            " network: --model NETWORK."
        )
    if not options.labels:
        raise ValueError(
            f"{options.using} does not name its classes: give --labels FILE, one name a line."
        )
    model = keras.models.load_model(options.using, compile=False)
    size = model.input_shape[1]
    if size is None or size != model.input_shape[2]:
        raise ValueError(
            "The network's input must have one fixed size, height equal to width. Received: input"
            f" {model.input_shape[1:]}"
        )
    # A model of several outputs is refused by the export, which says why.
    classes = model.output_shape[-1] if len(model.outputs) == 1 else None
    labels = read_class_names(options.labels, classes)
    preprocessing = Preprocessing(
        size=size,
        crop=options.crop,
        alpha=options.alpha,
        exif_orientation=options.exif_orientation,
    )
    return model, labels, preprocessing


def _show(path: Path) -> None:
    from rich.console import Console
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
    Console().print(table)


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
