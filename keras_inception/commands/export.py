"""``keras-inception export``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

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
    export.add_argument("using", metavar="RUN|MODEL.keras", nargs="?")
    export.add_argument("base", metavar="BASE", nargs="?", help="the folder of all models")
    export.add_argument("--name", help="the model's name in requests")
    export.add_argument(
        "--version", type=positive, help="a whole number; the next free one if not given"
    )
    export.add_argument(
        "--top", type=positive, default=5, help="classes in an answer, at most (%(default)s)"
    )
    export.add_argument(
        "--precision",
        choices=["float32", "bfloat16", "float16"],
        default="float32",
        help="of weights and arithmetic; answers are float32 all the same",
    )
    export.add_argument(
        "--max-batch-size",
        type=positive,
        default=8,
        help="the largest batch that will be served, to warm up with (%(default)s)",
    )
    export.add_argument(
        "--samples",
        nargs="+",
        default=[],
        metavar="IMAGE_OR_FOLDER",
        help="compare on these images instead of made-up ones",
    )
    export.add_argument(
        "--configs",
        metavar="FOLDER",
        help="also write TF Serving's configuration files for the model there",
    )
    export.add_argument("--show", metavar="DIR", help="print what an export says of itself")
    of_keras = export.add_argument_group("for a MODEL.keras, which says neither of these")
    of_keras.add_argument("--labels", metavar="FILE", help="the class names, one a line")
    of_keras.add_argument(
        "--crop",
        type=float,
        default=0.875,
        help="fraction of the shorter side kept (%(default)s); pixels are scaled to [-1, 1]",
    )


def run(options: argparse.Namespace) -> int:
    """Export, which says what it does; or show an export."""
    if options.show:
        _show(Path(options.show))
        return 0
    missing = [
        name
        for name, value in (
            ("RUN|MODEL.keras", options.using),
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

    choices = {
        "version": options.version,
        "top": options.top,
        "precision": options.precision,
        "max_batch_size": options.max_batch_size,
        "samples": [
            Path(path).read_bytes() for path in (options.samples and list_images(options.samples))
        ],
    }
    if Path(options.using).is_file():
        model, labels, preprocessing = _read_model(options)
        record = {"source": str(Path(options.using).resolve())}
        target = export_saved_model(
            model,
            options.base,
            options.name,
            labels=labels,
            preprocessing=preprocessing,
            record=record,
            **choices,
        )
    else:
        target = export_run(options.using, options.base, options.name, **choices)
    if options.configs:
        from inception_export.serving_configs import write_serving_configs

        for path in write_serving_configs(options.configs, target, options.max_batch_size):
            print(f"Written {path}")
    return 0


def _read_model(options: argparse.Namespace) -> tuple[Any, list[str], Any]:
    import keras

    from keras_inception.data.preprocessing import Preprocessing
    from keras_inception.runs.run import read_labels

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
    return model, read_labels(options.labels), Preprocessing(size=size, crop=options.crop)


def _show(saved_model: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from inception_export.versions import read_manifest
    from keras_inception.inference.predictors import find_saved_model

    found = find_saved_model(saved_model)
    manifest = read_manifest(found) if found else {}
    if found is None or not manifest:
        raise ValueError(
            f"{saved_model} is no export of ours: it has no assets.extra/keras_inception.json."
        )
    table = Table(title=str(found), show_header=False)
    labels = (found / "assets" / "labels.txt").read_text("utf-8").split("\n")[:-1]
    shown = ", ".join(labels[:8])
    more = f" and {len(labels) - 8} more" if len(labels) > 8 else ""
    table.add_row("labels", shown + more)
    for name, value in manifest.items():
        if isinstance(value, dict):
            for inner, each in value.items():
                table.add_row(f"{name}: {inner}", _text(each))
        else:
            table.add_row(name, _text(value))
    Console().print(table)


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
