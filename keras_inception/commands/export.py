"""``keras-inception export``."""

from __future__ import annotations

import argparse
from typing import Any

from inception_serving.startup import load_tensorflow_quietly
from keras_inception.commands.arguments import add_command, positive


def add(commands: Any) -> None:
    """Declare it."""
    export = add_command(
        commands,
        "export",
        run,
        "write a run as a SavedModel that TF Serving loads",
        "Makes BASE/NAME/VERSION, checked against the Keras model before it appears.",
    )
    export.add_argument("using", metavar="RUN")
    export.add_argument("base", metavar="BASE", help="the folder of all models")
    export.add_argument("--name", required=True, help="the model's name in requests")
    export.add_argument(
        "--version", type=positive, help="a whole number; the next free one if not given"
    )
    export.add_argument(
        "--top", type=positive, default=5, help="classes in an answer, at most (%(default)s)"
    )


def run(options: argparse.Namespace) -> int:
    """Export, which says what it does."""
    load_tensorflow_quietly()
    from inception_export.publish import export_run

    export_run(options.using, options.base, options.name, version=options.version, top=options.top)
    return 0
